"""What ``port25lab probe`` does: check the options, measure a real network, say and write what was found."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from port25lab.cli.times import seconds_of
from port25lab.errors import InputError, MachineError, OutputError
from port25lab.kernel.patient_loop import PatientLoop
from port25lab.mail.message import build_message
from port25lab.model.addresses import IpVersion
from port25lab.probe import measure, repeated, share
from port25lab.probe.client_view import ClientView
from port25lab.probe.document import Probed, document, probed
from port25lab.probe.names import UnresolvedError
from port25lab.probe.page import page
from port25lab.probe.table import print_probe
from port25lab.probe.talk import Message
from port25lab.report import console as console_module
from port25lab.report import files
from port25lab.report.streams import print_problems

LEAST_SECONDS, MOST_SECONDS = 2.0, 120.0

MESSAGE_SIZE = 8_000
"""Bytes of the message that is sent: several full packets, so that a path that loses large packets shows."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)

HOSTS_AT_ONCE = 3

START_SECONDS = 0.5
"""Between the beginnings of the probes of two hosts."""

MOST_HOSTS = 100

LEAST_EVERY = 30.0
"""Seconds between two probes of a host: more often would be a burden to its server."""


_Views = list[tuple[ClientView, str]]


@dataclass(frozen=True)
class ProbeOptions:
    """What the user asked for, as the user wrote it."""

    hosts: Sequence[str]
    mx: bool
    ports: str
    only4: bool
    only6: bool
    control: str | None
    timeout: float
    """In seconds, for everything together."""
    json_file: Path | None
    html_file: Path | None
    share: bool
    every: str | None
    time_limit: str | None
    send_to: str | None
    sender: str | None
    user: str | None
    password: str | None


def run(options: ProbeOptions) -> int:
    """Check the options, probe, and write and print what was found. Returns the exit code.

    Raises InputError, MachineError, and UnresolvedError after the files were written.
    """
    requests = _requests(options)
    outputs = {"--json": options.json_file, "--html": options.html_file}
    named = {option: file for option, file in outputs.items() if file is not None}
    for file in named.values():
        files.require_writable(file)
    files.require_separate(named)
    console = console_module.open_console(stderr=any(map(files.is_stdout, named.values())))
    if options.every is not None:
        every = seconds_of("--every", options.every)
        if every < LEAST_EVERY:
            raise InputError(f"--every {options.every}", allowed=f"{LEAST_EVERY:.0f}s or more")
        whole = seconds_of("--for", options.time_limit) if options.time_limit is not None else None
        probes = _again_and_again(requests, console, every, whole, options)
    elif options.time_limit is not None:
        raise InputError("--for without --every", allowed="--every TIME --for TIME")
    else:
        probes = _once(requests, options)
    problems = _write(named, probes, many=len(requests) > 1 or options.every is not None)
    view = probes[0].view
    if len(requests) == 1 and options.every is None and view.unresolved is not None and not view.resolvers_silent:
        print_problems(problems, 0)
        raise UnresolvedError(view.unresolved)
    if options.every is None:
        try:
            for number, one in enumerate(probes):
                if number:
                    console_module.emit(console, "")
                print_probe(console, one)
        except OutputError as error:
            problems.append(error)
    last = {one.view.host: one for one in probes}
    return print_problems(problems, 0 if all(one.working for one in last.values()) else 1)


def _requests(options: ProbeOptions) -> list[measure.Request]:
    """What to probe. Raises InputError and MachineError for the first option that is wrong."""
    hosts = list(dict.fromkeys(map(_host, options.hosts)))
    if len(hosts) > MOST_HOSTS:
        raise InputError(f"{len(hosts)} hosts", allowed=f"allowed are {MOST_HOSTS} at a time")
    if options.send_to is not None and (len(hosts) > 1 or options.every is not None):
        raise InputError("--send-to with several hosts or --every", allowed="one message, to one host")
    return [
        measure.Request(
            host=host,
            ports=_ports(options.ports),
            ip_versions=_versions(options.only4, options.only6),
            seconds=_seconds(options.timeout),
            mx=options.mx,
            control=_host(options.control) if options.control else None,
            message=_message(options.send_to, options.sender, options.user, options.password),
            message_port=587 if options.user else 25,
        )
        for host in hosts
    ]


def _once(requests: Sequence[measure.Request], options: ProbeOptions) -> list[Probed]:
    """Probe each host once, a few at a time."""
    with _progress(requests):
        found = _run_to_its_end(lambda: _all(requests))
    made = [probed(view, when) for view, when in found]
    return [share.masked(one) for one in made] if options.share else made


def _again_and_again(
    requests: Sequence[measure.Request], console: Console, every: float, whole: float | None, options: ProbeOptions
) -> list[Probed]:
    """Probe again and again, until the time is over or Ctrl-C; say at once what changes, and at the end what stayed."""
    probes: list[Probed] = []
    before: dict[str, Probed] = {}
    end = None if whole is None else time.monotonic() + whole
    try:
        while True:
            begun = time.monotonic()
            for one in _once(requests, options):
                name = one.view.host
                probes.append(one)
                if name not in before:
                    print_probe(console, one)
                else:
                    changed = list(repeated.changes(before[name], one))
                    text = "; ".join(changed) or "as before"
                    console_module.emit(console, f"{one.probed} {one.view.target}: {text}")
                before[name] = one
            pause = begun + every - time.monotonic()
            if end is not None and begun + every > end:
                break
            sys.stdout.flush()
            time.sleep(max(0.0, pause))
    except KeyboardInterrupt:
        if not probes:
            raise
    console_module.emit(console, "")
    for name in before:
        for line in repeated.summary([one for one in probes if one.view.host == name]):
            console_module.emit(console, line)
    return probes


async def _all(requests: Sequence[measure.Request]) -> list[tuple[ClientView, str]]:
    """The view of each host, and when it was made. One that does not resolve has a view that says so."""
    places = asyncio.Semaphore(HOSTS_AT_ONCE)

    async def one(number: int, request: measure.Request) -> tuple[ClientView, str]:
        await asyncio.sleep(number * START_SECONDS)
        async with places:
            when = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            try:
                return await measure.probe(request), when
            except UnresolvedError as error:
                return await measure.without_address(request, error), when

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number, request)) for number, request in enumerate(requests)]
    return [task.result() for task in tasks]


@contextmanager
def _progress(requests: Sequence[measure.Request]) -> Iterator[None]:
    """Say on a terminal what is waited for."""
    if not sys.stderr.isatty():
        yield
        return
    names = ", ".join(request.host for request in requests[:3]) + ("…" if len(requests) > 3 else "")
    with Console(stderr=True).status(f"probing {names}: at most {requests[0].seconds:g} s each"):
        yield


def _run_to_its_end(begin: Callable[[], Coroutine[Any, Any, _Views]]) -> _Views:
    """Run a coroutine in an event loop. A signal that ends the command is raised again after the loop has ended.

    An exception that a signal handler raises in the middle of a loop's step would count as a failure of that step.
    """
    received: list[int] = []

    async def until_signalled() -> _Views:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            received.append(number)
            task.cancel()

        for number in ENDING_SIGNALS:
            loop.add_signal_handler(number, end, number)
        return await begin()

    handlers = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    found = None
    try:
        with asyncio.Runner(loop_factory=PatientLoop) as runner:
            found = runner.run(until_signalled())
    except asyncio.CancelledError:
        if not received:
            raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])
    assert found is not None, "a signal that ends the command was ignored"
    return found


def _write(named: dict[str, Path], probes: Sequence[Probed], *, many: bool) -> list[OutputError]:
    """Write the files that the user named. Returns what could not be written."""
    problems = []
    for option, file in named.items():
        if option == "--json":
            data = document(probes, many=many).model_dump(mode="json")
            text = f"{json.dumps(data, indent=2, ensure_ascii=True)}\n"
        else:
            text = page(probes)
        try:
            files.write(file, text.encode("utf-8", "backslashreplace"))
        except OutputError as error:
            problems.append(error)
    return problems


def _host(text: str) -> str:
    host = text.strip().rstrip(".").removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"[^\s/@,;\x00-\x20\x7f]{1,253}", host):
        raise InputError(f"{text!r} is no host", allowed="allowed is a name such as mail.example.com, or an address")
    return host


def _ports(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,5}", part) and 0 < int(part) < 65536 for part in parts) or len(parts) > 8:
        raise InputError(f"--ports {text!r}", allowed="allowed are up to 8 numbers from 1 to 65535, such as 25,587")
    return tuple(dict.fromkeys(map(int, parts)))


def _versions(only4: bool, only6: bool) -> tuple[IpVersion, ...]:
    versions: tuple[IpVersion, ...] = (4, 6) if only4 == only6 else (4,) if only4 else (6,)
    if versions == (6,) and not socket.has_dualstack_ipv6():
        raise MachineError("this machine has no IPv6", "see the setting net.ipv6.conf.all.disable_ipv6")
    return versions


def _seconds(value: float) -> float:
    if not LEAST_SECONDS <= value <= MOST_SECONDS:
        raise InputError(f"--timeout {value:g}", allowed=f"allowed are {LEAST_SECONDS:g} to {MOST_SECONDS:g} seconds")
    return value


def _message(send_to: str | None, sender: str | None, user: str | None, password: str | None) -> Message | None:
    if send_to is None:
        for name, value in (("--from", sender), ("--user", user)):
            if value is not None:
                raise InputError(f"{name} without --send-to", allowed="no mail is sent without --send-to")
        return None
    if sender is None:
        raise InputError("--send-to without --from", allowed="say whose message it is: --from ADDRESS")
    if user is not None and password is None:
        raise InputError("--user without --password", allowed="or set PORT25LAB_PASSWORD")
    for address in (send_to, sender):
        if not re.fullmatch(r"[^\s<>@\x00-\x20\x7f]+@[^\s<>@\x00-\x20\x7f]+", address):
            raise InputError(f"{address!r} is no mail address", allowed="allowed is an address such as you@example.com")
    content = build_message(secrets.token_hex(8), sender, send_to, MESSAGE_SIZE)
    return Message(sender, send_to, content, user, password)
