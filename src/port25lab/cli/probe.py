"""What ``port25lab probe`` does: check the options, measure a real network, write and print the diagnoses."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
import socket
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from port25lab.errors import InputError, MachineError, OutputError
from port25lab.kernel.patient_loop import PatientLoop
from port25lab.mail.message import build_message
from port25lab.model.addresses import IpVersion
from port25lab.probe import measure
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import diagnose
from port25lab.probe.client_view import ClientView
from port25lab.probe.explain import blocked, counted
from port25lab.probe.names import UnresolvedError
from port25lab.probe.table import print_probe
from port25lab.probe.talk import Message
from port25lab.report import console, files
from port25lab.report.streams import print_problems

SCHEMA_VERSION = 1

LEAST_SECONDS, MOST_SECONDS = 2.0, 120.0

MESSAGE_SIZE = 8_000
"""Bytes of the message that is sent: several full packets, so that a path that loses large packets shows."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class ProbeOptions:
    """What the user asked for, as the user wrote it."""

    host: str
    mx: bool
    ports: str
    only4: bool
    only6: bool
    control: str | None
    timeout: float
    """In seconds, for everything together."""
    json_file: Path | None
    send_to: str | None
    sender: str | None
    user: str | None
    password: str | None


def run(options: ProbeOptions) -> int:
    """Check the options, probe, and write and print what was found. Returns the exit code.

    Raises InputError, MachineError, and UnresolvedError after the file was written.
    """
    request = measure.Request(
        host=_host(options.host),
        ports=_ports(options.ports),
        ip_versions=_versions(options.only4, options.only6),
        seconds=_seconds(options.timeout),
        mx=options.mx,
        control=_host(options.control) if options.control else None,
        message=_message(options.send_to, options.sender, options.user, options.password),
        message_port=587 if options.user else 25,
    )
    json_file = options.json_file
    if json_file:
        files.require_writable(json_file)
        files.require_separate({"--json": json_file})
    try:
        view = _run_to_its_end(measure.probe(request))
    except UnresolvedError as error:
        print_problems(
            _write(json_file, ClientView(host=request.host, target=request.host, unresolved=error.what), []), 0
        )
        raise
    diagnoses = diagnose(view)
    problems = _write(json_file, view, diagnoses)
    try:
        print_probe(console.open_console(stderr=json_file is not None and files.is_stdout(json_file)), view, diagnoses)
    except OutputError as error:
        problems.append(error)
    return print_problems(problems, 1 if any(map(blocked, counted(view, diagnoses))) else 0)


def _run_to_its_end(work: Coroutine[Any, Any, ClientView]) -> ClientView:
    """Run a coroutine in an event loop. A signal that ends the command is raised again after the loop has ended.

    An exception that a signal handler raises in the middle of a loop's step would count as a failure of that step.
    """
    received: list[int] = []

    async def until_signalled() -> ClientView:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            received.append(number)
            task.cancel()

        for number in ENDING_SIGNALS:
            loop.add_signal_handler(number, end, number)
        return await work

    handlers = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    view = None
    try:
        with asyncio.Runner(loop_factory=PatientLoop) as runner:
            view = runner.run(until_signalled())
    except asyncio.CancelledError:
        if not received:
            raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])
    assert view is not None, "a signal that ends the command was ignored"
    return view


def _write(file: Path | None, view: ClientView, diagnoses: list[Diagnosis]) -> list[OutputError]:
    """Write the JSON file, if there is to be one. Returns what could not be written."""
    if file is None:
        return []
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "view": view.model_dump(mode="json"),
        "findings": [diagnosis.model_dump(mode="json") for diagnosis in diagnoses],
    }
    text = json.dumps(document, indent=2, ensure_ascii=True)
    try:
        files.write(file, f"{text}\n".encode())
    except OutputError as error:
        return [error]
    return []


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
