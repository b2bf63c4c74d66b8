"""``port25lab probe``: the client-only prober as a command for a real network. Registered in ``cli``."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from port25lab.errors import InputError, MachineError, OutputError
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import diagnose
from port25lab.probe.client_view import ClientView, IpVersion
from port25lab.probe.explain import blocked, counted
from port25lab.probe.names import UnresolvedError
from port25lab.report import console, files
from port25lab.report.streams import print_problems

SCHEMA_VERSION = 1

LEAST_SECONDS, MOST_SECONDS = 2.0, 120.0

MESSAGE_SIZE = 8_000
"""Some packets full."""

ENDING = (signal.SIGINT, signal.SIGTERM)

EPILOG = "\n\n".join(
    [
        "Examples:",
        "[bold]port25lab probe mail.example.com[/bold]  [dim]what of 25, 465, 587 and 2525 is open from here[/dim]",
        "[bold]port25lab probe --mx example.com[/bold]  [dim]its MX: can a mail server here send to it?[/dim]",
        "[bold]port25lab probe mx1.example.com --control mx.example.org[/bold]  [dim]that host, or port 25?[/dim]",
        "[bold]port25lab probe mx.example.com --json -[/bold]  [dim]all that was seen, for programs[/dim]",
        "[bold]port25lab probe mx.example.com --send-to you@example.com --from me@example.org[/bold]  "
        "[dim]sends one message[/dim]",
        "No mail is sent without --send-to. Root (CAP_NET_RAW) adds the TTL of answers, and nothing else.",
        "Exit codes: 0 port 25 works; 1 it does not; 2 bad usage, or a name that does not resolve; "
        "3 this machine lacks something; 4 the results could not be written.",
    ]
)


def probe_command(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A name or an address; with --mx a mail domain.")],
    mx: Annotated[bool, typer.Option("--mx", help="HOST is a mail domain: probe its MX.")] = False,
    ports: Annotated[str, typer.Option("--ports", metavar="PORTS", help="Which ports, by commas.")] = "25,465,587,2525",
    only4: Annotated[bool, typer.Option("-4", help="IPv4 alone.")] = False,
    only6: Annotated[bool, typer.Option("-6", help="IPv6 alone.")] = False,
    control: Annotated[
        str | None, typer.Option("--control", metavar="HOST", help="Another host whose port 25 is tried beside.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For everything together.")] = 10.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all that was seen as JSON; -: to stdout.")
    ] = None,
    send_to: Annotated[
        str | None, typer.Option("--send-to", metavar="ADDRESS", help="Send a message to this address.")
    ] = None,
    sender: Annotated[str | None, typer.Option("--from", metavar="ADDRESS", help="The sender of that message.")] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Log in, on port 587; over verified TLS alone.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option("--password", metavar="WORD", envvar="PORT25LAB_PASSWORD", help="The password that goes with it."),
    ] = None,
) -> None:
    """What keeps mail from its way, as seen from this machine: open, blocked, or altered, where, and the ways out."""
    from port25lab.probe import measure
    from port25lab.probe.table import print_probe

    request = measure.Request(
        host=_host(host),
        ports=_ports(ports),
        ip_versions=_versions(only4, only6),
        seconds=_seconds(timeout),
        mx=mx,
        control=_host(control) if control else None,
        message=_message(send_to, sender, user, password),
        message_port=587 if user else 25,
    )
    if json_file:
        files.require_writable(json_file)
        files.require_separate({"--json": json_file})
    try:
        view = _to_its_end(measure.probe(request))
    except UnresolvedError as error:
        print_problems(
            _write(json_file, ClientView(host=request.host, target=request.host, unresolved=error.what), []), 0
        )
        raise
    found = diagnose(view)
    problems = _write(json_file, view, found)
    try:
        print_probe(console.open_console(stderr=json_file is not None and files.is_stdout(json_file)), view, found)
    except OutputError as error:
        problems.append(error)
    raise typer.Exit(print_problems(problems, 1 if any(map(blocked, counted(view, found))) else 0))


def _to_its_end(work: Coroutine[Any, Any, ClientView]) -> ClientView:
    """Run this in an event loop. A signal to end is handed on when the loop has ended.

    What a signal handler raises in the middle of a loop's step, asyncio takes for a failure of that step.
    """
    told: list[int] = []

    async def until_told() -> ClientView:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            told.append(number)
            task.cancel()

        for number in ENDING:
            loop.add_signal_handler(number, end, number)
        return await work

    known = {number: signal.getsignal(number) for number in ENDING}
    view = None
    try:
        view = asyncio.run(until_told())
    except asyncio.CancelledError:
        if not told:
            raise
    finally:
        for number, handler in known.items():
            signal.signal(number, handler)
    if told:
        signal.raise_signal(told[0])
    assert view is not None, "a signal to end was ignored"
    return view


def _write(file: Path | None, view: ClientView, found: list[Diagnosis]) -> list[OutputError]:
    """Write the file, where one is wanted; what could not be written."""
    if file is None:
        return []
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "view": view.model_dump(mode="json"),
        "findings": [diagnosis.model_dump(mode="json") for diagnosis in found],
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
    import socket

    wanted: tuple[IpVersion, ...] = (4, 6) if only4 == only6 else (4,) if only4 else (6,)
    if wanted == (6,) and not socket.has_dualstack_ipv6():
        raise MachineError("this machine has no IPv6", "see the setting net.ipv6.conf.all.disable_ipv6")
    return wanted


def _seconds(value: float) -> float:
    if not LEAST_SECONDS <= value <= MOST_SECONDS:
        raise InputError(f"--timeout {value:g}", allowed=f"allowed are {LEAST_SECONDS:g} to {MOST_SECONDS:g} seconds")
    return value


def _message(send_to: str | None, sender: str | None, user: str | None, password: str | None) -> Any:
    if send_to is None:
        for name, value in (("--from", sender), ("--user", user)):
            if value is not None:
                raise InputError(f"{name} without --send-to", allowed="no mail is sent without --send-to")
        return None
    if sender is None:
        raise InputError("--send-to without --from", allowed="say whose message it is: --from ADDRESS")
    if user is not None and password is None:
        raise InputError("--user without --password", allowed="or set PORT25LAB_PASSWORD")
    import secrets

    from port25lab.mail.message import build_message
    from port25lab.probe.talk import Message

    for address in (send_to, sender):
        if not re.fullmatch(r"[^\s<>@\x00-\x20\x7f]+@[^\s<>@\x00-\x20\x7f]+", address):
            raise InputError(f"{address!r} is no mail address", allowed="allowed is an address such as you@example.com")
    content = build_message(secrets.token_hex(8), sender, send_to, MESSAGE_SIZE)
    return Message(sender, send_to, content, user, password)
