"""Stand-ins, the interceptor and the proxy, on loopback."""

import asyncio
import errno
import socket
import struct
from pathlib import Path

import pytest

from loopback_services import Lab, in_loop, node, plan, running
from port25lab.errors import InputError
from port25lab.mail.middleboxes import proxy
from port25lab.mail.middleboxes import proxy as proxying
from port25lab.model import service_kinds
from port25lab.model.evidence import Observation, Stage
from port25lab.model.plan import Plan
from port25lab.scenario.policy import load_policy


def world(*box: dict[str, object]) -> Plan:
    return plan(node("box", 1, *box), node("mx", 25, {"kind": "mx", "domains": ["example.net"]}), node("pc", 10))


async def dial(lab: Lab, port: int = 2500, **more: object) -> Observation:
    return await lab.send("pc", "box", port, **more)


@in_loop
async def test_554_waits_for_quit_and_421_does_not() -> None:
    kinds = [{"kind": "greeting", "port": 2500, "reply": "554 5.7.1 No"}]
    kinds += [{"kind": "greeting", "port": 2501, "reply": "421 4.3.2 Later"}]
    async with running(world(*kinds)) as lab:
        said = await lab.talk("pc", "box", 2500, "EHLO pc.example", "QUIT")
        assert said == ["554 5.7.1 No", "503 5.5.1 Bad sequence of commands", "221 2.0.0 Bye"]
        assert await lab.talk("pc", "box", 2501, "EHLO pc.example") == ["421 4.3.2 Later", ""]
        seen = await dial(lab)
        assert (seen.stage, seen.smtp_code, seen.enhanced_code) == (Stage.BANNER, 554, "5.7.1")
        assert lab.services.failures == {}


@in_loop
async def test_a_stand_in_is_who_answered() -> None:
    async with running(world({"kind": "hang-up", "port": 2500})) as lab:
        port = lab.hosts["pc"].source_port()
        seen = await dial(lab, source_port=port)
        assert (seen.stage, seen.reply) == (Stage.BANNER, "the server closed the connection")
        assert lab.answered_by(port) == "box"


@pytest.mark.parametrize("kind", ["tarpit", "endless-banner", "long-line", "garbage", "never-closing"])
def test_every_client_comes_to_an_end_with_it(kind: str) -> None:
    @in_loop
    async def attempt() -> None:
        async with running(world({"kind": kind, "port": 2500})) as lab:
            seen = await dial(lab)
            assert seen.stage in (Stage.BANNER, Stage.EHLO)
            assert len(seen.reply or "") <= 4096
            assert lab.services.failures == {}

    attempt()


@in_loop
async def test_an_interceptor_relays_for_everybody() -> None:
    async with running(world({"kind": "interceptor", "port": 2500})) as lab:
        seen = await dial(lab, token="a1")
        assert seen.stage is Stage.DONE
        await lab.services.mailboxes.delivery("a1").settled(5)
        assert lab.services.mailboxes.delivery("a1").delivered_to == "mx"
        assert [record.hop.node for record in lab.services.mailboxes.delivery("a1").tries] == ["box"]


@in_loop
async def test_an_interceptor_refuses_everybody() -> None:
    async with running(world({"kind": "interceptor", "port": 2500, "refusal": "550 5.7.1 Not from here"})) as lab:
        seen = await dial(lab)
        assert (seen.stage, seen.smtp_code, seen.reply) == (Stage.RCPT, 550, "5.7.1 Not from here")


def leading_to(monkeypatch: pytest.MonkeyPatch, address: str, port: int) -> None:
    monkeypatch.setattr(proxying, "original_destination", lambda _: (address, port))


def test_a_proxy_masks_and_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    leading_to(monkeypatch, "192.0.2.25", 25)

    @in_loop
    async def attempt() -> None:
        async with running(world({"kind": "smtp-fixup", "port": 2500})) as lab:
            seen = await dial(lab, source_port=lab.hosts["pc"].source_port(), token="a1")
            assert seen.stage is Stage.DONE
            assert set(seen.banner or "") == {"*"}
            assert "STARTTLS" not in seen.keywords
            assert "SIZE" in seen.keywords
            assert {node for node, _, _ in lab.services._answered} <= {"mx", "dns"}
            assert lab.services.mailboxes.delivery("a1").delivered_to == "mx"
            assert await lab.talk("pc", "box", 2500, "STARTTLS") == [
                "220 " + "*" * len("mx.example.test ESMTP port25lab"),
                '500 5.5.2 Error: command "XXXXXXXX" not recognized',
            ]
            assert lab.services.failures == {}

    attempt()


def test_a_proxy_that_does_not_get_through_resets_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    leading_to(monkeypatch, "192.0.2.77", 25)

    @in_loop
    async def attempt() -> None:
        async with running(world({"kind": "smtp-fixup", "port": 2500})) as lab:
            seen = await dial(lab)
            assert (seen.stage, seen.errno) == (Stage.BANNER, errno.errorcode[errno.ECONNRESET])
            assert lab.services.failures == {}

    attempt()


def test_a_proxy_does_not_dial_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    leading_to(monkeypatch, "192.0.2.1", 2500)

    @in_loop
    async def attempt() -> None:
        async with running(world({"kind": "smtp-fixup", "port": 2500})) as lab:
            assert (await dial(lab)).stage is Stage.BANNER
            assert lab.net.dialled.count(("192.0.2.1", 2500)) == 1

    attempt()


def test_the_original_destination_is_read_for_both_ip_versions() -> None:
    class Redirected:
        def __init__(self, family: int, answer: bytes) -> None:
            self.family, self._answer = family, answer

        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            assert (option, size) == (80, len(self._answer))
            return self._answer

    four = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 25, socket.inet_aton("192.0.2.25"))
    six = struct.pack("=H", socket.AF_INET6)
    six += struct.pack(">HI16sI", 25, 0, socket.inet_pton(socket.AF_INET6, "2001:db8::25"), 0)
    assert proxy.original_destination(Redirected(socket.AF_INET, four)) == ("192.0.2.25", 25)
    assert proxy.original_destination(Redirected(socket.AF_INET6, six)) == ("2001:db8::25", 25)


@in_loop
async def test_a_line_without_end_goes_in_pieces() -> None:
    reader = asyncio.StreamReader(limit=16)
    reader.feed_data(b"x" * 40 + b"\r\nlast")
    reader.feed_eof()
    pieces = []
    while piece := await proxy._line(reader):
        pieces.append(piece)
    assert b"".join(pieces) == b"x" * 40 + b"\r\nlast"
    assert len(pieces) > 2


@pytest.mark.parametrize(
    ("service", "place", "text"),
    [
        ("{kind: tarpit}", "2:5", "service 'tarpit' needs 'port'; allowed is a whole number from 1 to 65535, as in "),
        ("{kind: tarpit, port: 70000}", "2:26", "'port' of service 'tarpit' is 70000; allowed is a whole number "),
        ("{kind: tarpit, port: '25'}", "2:26", "'port' of service 'tarpit' is '25'; allowed is a whole number "),
        ("{kind: tarpit, port: true}", "2:26", "'port' of service 'tarpit' is True; allowed is a whole number "),
        (
            "{kind: tarpit, port: 25, seconds: -1}",
            "2:39",
            "'seconds' of service 'tarpit' is -1; allowed are seconds from a byte to the next one, more than 0 and ",
        ),
        (
            "{kind: greeting, port: 25, reply: 220 hello}",
            "2:39",
            "'reply' of service 'greeting' is '220 hello'; allowed is one line with a 4xx or 5xx code, such as '554 ",
        ),
        ("{kind: greeting, port: 25}", "2:5", "service 'greeting' needs 'reply'; allowed is one line with a 4xx or "),
        (
            "{kind: interceptor, port: 25, refusal: no}",
            "2:44",
            "'refusal' of service 'interceptor' is 'no'; allowed is one line with a 4xx or 5xx code, such as '550 ",
        ),
        (
            "{kind: smtp-fixup-inline, queue: 0x10000}",
            "2:38",
            "'queue' of service 'smtp-fixup-inline' is 65536; allowed is a whole number from 1 to 65535, as in `NFQ",
        ),
        ("{kind: smtp-fixup, queue: 1}", "2:31", "unknown parameter 'queue' of service 'smtp-fixup'; known: port"),
        ("{kind: tarpitt, port: 25}", "2:12", "unknown kind of service 'tarpitt'; did you mean 'tarpit'? known: "),
        ("{port: 25}", "2:5", "service {'port': 25} has no kind; known: banner-mask, dns, "),
    ],
)
def test_a_middlebox_that_makes_no_sense_is_refused(tmp_path: Path, service: str, place: str, text: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(f"services:\n  - {service}\ntitle: x\n")
    with pytest.raises(InputError) as refused:
        load_policy(str(tmp_path))
    assert str(refused.value).startswith(f"{file}:{place}: {text}")


def test_two_middleboxes_cannot_share_a_port() -> None:
    with pytest.raises(InputError, match="services 'tarpit' and 'smtp-fixup' both want port 25; one service for each"):
        service_kinds.check(world({"kind": "tarpit", "port": 25}, {"kind": "smtp-fixup", "port": 25}))
