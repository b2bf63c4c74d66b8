"""The prober with servers on loopback: well-behaved ones, and those that are anything but."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from port25lab.cli.probe import _host, _message, _ports
from port25lab.errors import InputError
from port25lab.model.evidence import Stage
from port25lab.model.mechanism import Mechanism
from port25lab.probe import names
from port25lab.probe.classify import classify
from port25lab.probe.client_view import ClientView, Session
from port25lab.probe.measure import Request, probe
from port25lab.probe.talk import Message

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SECONDS = 1.6
PATIENT = 30.0
"""For probes that end by themselves, however slow the machine is."""


async def endless_banner(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"220-You are welcome\r\n" * 1000)
        await writer.drain()


async def endless_line(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def megabyte(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 " + b"x" * 1_000_000 + b"\r\n")
    await reader.read()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(random.Random(25).randbytes(4096) + b"\0\x1b[2J\r\n")
    await reader.read()


async def never_closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 in your own time\r\n")
    while await reader.read(1000):
        pass


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220-Please wait.\r\n")
    for byte in itertools.cycle(b"220-Please wait.\r\n"):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.04)


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def no_handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await scripted({"EHLO": "250-x\r\n250 STARTTLS", "STARTTLS": "220 go"}, reader, writer, silent_after="STARTTLS")


async def scripted(
    answers: dict[str, str],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    silent_after: str = "",
    heard: list[str] | None = None,
) -> None:
    writer.write(b"220 mx.example.net ESMTP\r\n")
    while line := (await reader.readline()).decode(errors="replace").strip():
        if heard is not None:
            heard.append(line)
        verb = line.split()[0].upper()
        writer.write(f"{answers.get(verb, '500 5.5.1 What?')}\r\n".encode())
        if verb == silent_after:
            await reader.read()


async def _probed(serve: Serve, seconds: float = SECONDS, message: Message | None = None) -> ClientView:
    async def safely(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(safely, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        return await probe(
            Request("127.0.0.1", ports=(port,), ip_versions=(4,), seconds=seconds, message=message, message_port=port)
        )
    finally:
        server.close()


def probed(serve: Serve, **more: object) -> Session:
    return asyncio.run(_probed(serve, **more)).sessions[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "serve", [endless_banner, endless_line, megabyte, garbage, never_closing, drip, hang_up, no_handshake]
)
def test_a_hostile_server_has_an_outcome_in_time_and_memory(serve: Serve) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    view = asyncio.run(_probed(serve))
    assert time.monotonic() - started < SECONDS + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert view.sessions[0].stage is not Stage.DONE
    diagnosis = classify(view, view.sessions[0].port, 4)
    assert diagnosis is not None and diagnosis.mechanism is not Mechanism.NONE
    assert len(view.model_dump_json()) < 100_000


def test_what_each_of_them_looks_like() -> None:
    assert probed(endless_banner, seconds=PATIENT).reply == "a reply of more than 65536 bytes"
    long = probed(megabyte, seconds=PATIENT)
    assert (long.reply, long.endless) == ("a reply of more than 65536 bytes", True)
    no_reply = probed(garbage, seconds=PATIENT)
    assert (no_reply.reply or "").startswith("no SMTP reply")
    assert "\x1b" not in no_reply.model_dump_json().encode().decode("unicode_escape")
    slow = probed(drip)
    assert (slow.stage, slow.errno, (slow.banner or "")[:6]) == (
        Stage.BANNER,
        "ETIMEDOUT",
        "Please",
    )
    closed = probed(hang_up, seconds=PATIENT)
    assert (closed.stage, closed.heard, closed.closed, closed.reply) == (
        *(Stage.BANNER, 0, True),
        "the connection was closed",
    )
    assert (probed(never_closing).stage, probed(never_closing).errno) == (Stage.EHLO, "ETIMEDOUT")
    assert (probed(no_handshake).stage, probed(no_handshake).errno) == (Stage.TLS, "ETIMEDOUT")


def test_a_probe_goes_as_far_as_ehlo_and_sends_no_mail() -> None:
    heard: list[str] = []
    answers = {"EHLO": "250-mx.example.net\r\n250-SIZE 1000\r\n250 8BITMIME", "QUIT": "221 2.0.0 Bye"}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await scripted(answers, reader, writer, heard=heard)

    seen = probed(serve, seconds=PATIENT)
    assert (seen.stage, seen.banner, seen.keywords) == (Stage.DONE, "mx.example.net ESMTP", ("8BITMIME", "SIZE"))
    assert heard == ["EHLO [127.0.0.1]", "STARTTLS", "QUIT"]
    assert seen.starttls == 500


def test_helo_where_the_server_knows_no_ehlo() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await scripted({"HELO": "250 hello", "QUIT": "221 Bye"}, reader, writer)

    assert probed(serve, seconds=PATIENT).stage is Stage.DONE


def test_a_message_goes_only_where_it_is_asked_for_and_no_password_goes_in_clear() -> None:
    heard: list[str] = []
    answers = {"EHLO": "250-x\r\n250 AUTH PLAIN", "MAIL": "250 ok", "RCPT": "450 4.2.0 later", "QUIT": "221 Bye"}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await scripted(answers, reader, writer, heard=heard)

    message = Message("me@home.example", "you@example.net", b"Subject: x\r\n\r\n.x\r\n")
    view = asyncio.run(_probed(serve, PATIENT, message))
    assert (view.deliveries[0].stage, view.deliveries[0].smtp_code, view.deliveries[0].second_try) == (
        Stage.RCPT,
        450,
        450,
    )
    heard.clear()
    secret = Message("me@home.example", "you@example.net", b"", "alice", "secret")
    view = asyncio.run(_probed(serve, PATIENT, secret))
    assert "in clear" in (view.deliveries[0].reply or "")
    assert not any(line.startswith(("AUTH", "MAIL")) for line in heard)


def test_nothing_listens() -> None:
    with_free_port = asyncio.run(probe(Request("127.0.0.1", ports=(1,), ip_versions=(4,), seconds=SECONDS)))
    assert (with_free_port.sessions[0].errno, with_free_port.sessions[0].icmp) == ("ECONNREFUSED", None)


def test_the_traceroute_of_loopback_ends_at_once() -> None:
    (trace,) = asyncio.run(_probed(hang_up)).traces
    assert (trace.answered_at, trace.last_hop) == (1, 0)


def test_names_that_do_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> None:
        import socket

        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def ask() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fails)
        await names.addresses("no-such.example", (4, 6))

    with pytest.raises(InputError, match=r"'no-such.example' cannot be resolved: Name or service not known; allowed"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: _host("a@b.example"), "'a@b.example' is no host; allowed is a name"),
        (lambda: _host(""), "'' is no host"),
        (lambda: _ports("25,x"), "--ports '25,x'; allowed are up to 8 numbers"),
        (lambda: _ports("0"), "--ports '0'"),
        (lambda: _message("you@example.net", None, None, None), "--send-to without --from"),
        (lambda: _message(None, "me@example.net", None, None), "--from without --send-to"),
        (lambda: _message("you@example.net", "me@example.net", "alice", None), "--user without --password"),
        (lambda: _message("you@example.net>\r\nRSET", "me@example.net", None, None), "is no mail address"),
    ],
)
def test_bad_usage_says_what_is_allowed(call: Callable[[], object], text: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(text) or text in str(caught.value)


def test_ctrl_c_ends_it_cleanly() -> None:
    async def interrupted() -> tuple[int, bytes, float]:
        in_the_middle = asyncio.Event()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            in_the_middle.set()
            await drip(reader, writer)

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        command = (sys.executable, "-m", "port25lab", "probe", "127.0.0.1", "--ports", str(port), "--timeout", "60")
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
        )
        await in_the_middle.wait()
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        server.close()
        return process.returncode or 0, errors, time.monotonic() - started

    code, errors, seconds = asyncio.run(interrupted())
    assert code == 130
    assert errors.decode().strip() == "port25lab: interrupted; nothing is left behind"
    assert seconds < 2
