import errno

import pytest

from loopback_services import Lab, in_loop, node, plan, running
from port25lab.mail.services import relay_queue
from port25lab.mail.services.mailbox import DeliveryLog
from port25lab.model.evidence import Stage
from port25lab.model.plan import Plan

TOKEN = "abcdef0123456789"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_queue, "FIRST_RETRY_SECONDS", 0.01)


def world() -> Plan:
    return plan(
        node("mx", 25, {"kind": "mx", "domains": ["example.net"]}),
        node("mx-org", 29, {"kind": "mx", "domains": ["example.org"]}),
        node("first", 33, {"kind": "mx", "domains": ["twice.example"]}),
        node("second", 34, {"kind": "mx", "domains": ["twice.example"]}),
        node("relay", 26, {"kind": "relay", "networks": ["127.0.0.0/8"], "domains": ["isp.example"]}),
        node("smart", 27, {"kind": "open-relay"}),
        node("pc", 10),
    )


async def send(lab: Lab, recipient: str) -> DeliveryLog:
    delivery = lab.services.mailboxes.delivery(TOKEN)
    assert (await lab.send("pc", "relay", recipient=recipient, token=TOKEN)).stage is Stage.DONE
    await delivery.settled(2)
    assert lab.services.failures == {}
    return delivery


def tries(delivery: DeliveryLog) -> list[tuple[str, str | None, Stage, str | int | None]]:
    """Of each hop: to whom, at which address, how far it came, and why it ended."""
    return [
        (hop.to, hop.observation.address, hop.observation.stage, hop.observation.errno or hop.observation.smtp_code)
        for hop in (record.hop for record in delivery.tries)
    ]


@in_loop
async def test_a_relay_delivers_to_the_mx_over_tls_from_its_own_host() -> None:
    async with running(world()) as lab:
        delivery = await send(lab, "x@example.net")
        assert delivery.delivered_to == "mx"
        (record,) = delivery.tries
        assert (record.hop.node, record.hop.to) == ("relay", "mx.example.test")
        assert (record.hop.observation.stage, record.hop.observation.tls) == (Stage.DONE, "TLSv1.3")
        assert lab.answered_by(record.source_port) == "mx"
        (message,) = lab.arrived
        assert message.raw.count(b"Received:") == 2


@in_loop
async def test_each_address_is_tried_in_order() -> None:
    async with running(world()) as lab:
        lab.net.broken["2001:db8::25", 25] = errno.ETIMEDOUT
        delivery = await send(lab, "x@example.net")
        assert delivery.delivered_to == "mx"
        assert tries(delivery) == [
            ("mx.example.test", "2001:db8::25", Stage.CONNECT, "ETIMEDOUT"),
            ("mx.example.test", "192.0.2.25", Stage.DONE, 250),
        ]


@in_loop
async def test_the_next_exchanger_is_tried_when_the_first_is_down() -> None:
    async with running(world()) as lab:
        lab.net.broken |= {(address, 25): errno.ECONNREFUSED for address in ("192.0.2.33", "2001:db8::33")}
        delivery = await send(lab, "x@twice.example")
        assert delivery.delivered_to == "second"
        assert [to for to, *_ in tries(delivery)] == ["first.example.test", "first.example.test", "second.example.test"]


@in_loop
async def test_a_blocked_message_is_deferred_after_its_first_retry_and_delivered_when_the_block_ends() -> None:
    async with running(world()) as lab:
        lab.net.broken |= {(address, 25): errno.ETIMEDOUT for address in ("192.0.2.25", "2001:db8::25")}
        delivery = await send(lab, "x@example.net")
        assert delivery.delivered_to is None
        assert [why for *_, why in tries(delivery)] == ["ETIMEDOUT"] * 4
        assert len({record.source_port for record in delivery.tries}) == 4
        lab.net.broken.clear()
        await lab.arrival("mx")
        assert delivery.delivered_to == "mx"


@in_loop
async def test_a_refused_message_bounces_at_once() -> None:
    async with running(world()) as lab:
        lab.services._zones.add("stranger.example", "MX", "10 mx.example.test.")
        delivery = await send(lab, "x@stranger.example")
        assert delivery.delivered_to is None
        assert tries(delivery) == [("mx.example.test", "2001:db8::25", Stage.RCPT, 550)]


@in_loop
async def test_a_server_that_refuses_at_its_greeting_is_no_reason_to_bounce() -> None:
    refusing = node("first", 33, {"kind": "greeting", "port": 25, "reply": "554 5.7.1 No mail from you"})
    async with running(plan(*(refusing if one.name == "first" else one for one in world().nodes.values()))) as lab:
        lab.services._zones.add("backup.example", "MX", "5 first.example.test.")
        lab.services._zones.add("backup.example", "MX", "10 second.example.test.")
        delivery = await send(lab, "x@backup.example")
        refused = [(to, stage, why) for to, _, stage, why in tries(delivery) if to.startswith("first")]
        assert refused == [("first.example.test", Stage.BANNER, 554)] * 2
        assert "second.example.test" in [to for to, *_ in tries(delivery)]


@pytest.mark.parametrize(
    ("recipient", "code", "enhanced"), [("x@nobody.example", 550, "5.1.2"), ("x@silent.example", 556, "5.1.10")]
)
@in_loop
async def test_a_domain_without_mail_bounces(recipient: str, code: int, enhanced: str) -> None:
    async with running(world()) as lab:
        lab.services._zones.add("silent.example", "MX", "0 .")
        (record,) = (await send(lab, recipient)).tries
        seen = record.hop.observation
        assert (seen.stage, seen.smtp_code, seen.enhanced_code) == (Stage.RESOLVE, code, enhanced)
        assert (record.hop.to, record.source_port) == (recipient.partition("@")[2], None)


@in_loop
async def test_a_dns_that_fails_defers_and_leaves_its_hops() -> None:
    async with running(world()) as lab:
        lab.net.broken |= {("192.0.2.53", 53): errno.EHOSTUNREACH, ("2001:db8::53", 53): errno.EHOSTUNREACH}
        delivery = await send(lab, "x@example.net")
        assert tries(delivery) == [("example.net", None, Stage.RESOLVE, None)] * 2


@in_loop
async def test_each_recipient_has_a_copy_of_its_own() -> None:
    lines = ("EHLO pc", "MAIL FROM:<a@b.example>")
    to = ("x@example.net", "y@example.org", "z@isp.example", "w@example.net")
    data = f"X-Port25lab-Token: {TOKEN}\r\n\r\nHello\r\n."
    async with running(world()) as lab:
        delivery = lab.services.mailboxes.delivery(TOKEN)
        await lab.talk("pc", "relay", 25, *lines, *(f"RCPT TO:<{one}>" for one in to), "DATA", data)
        await delivery.settled(2)
        arrived = sorted((message.node, *message.rcpt_tos) for message in lab.arrived)
        assert arrived == [
            ("mx", "w@example.net"),
            ("mx", "x@example.net"),
            ("mx-org", "y@example.org"),
            ("relay", "z@isp.example"),
        ]
        assert len(delivery.tries) == 3


@in_loop
async def test_a_relay_goes_on_in_clear_where_tls_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(world()) as lab:
        tls = lab.services._servers["mx"].tls()
        tls.set_ciphers("AES128-SHA")
        tls.maximum_version = tls.minimum_version
        delivery = await send(lab, "x@example.net")
        assert delivery.delivered_to == "mx"
        assert [stage for _, _, stage, _ in tries(delivery)] == [Stage.TLS, Stage.DONE]


def test_retries_come_later_each_time_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_queue, "FIRST_RETRY_SECONDS", 0.3)
    pauses = relay_queue._pauses()
    assert [next(pauses) for _ in range(10)] == [0.3, 0.6, 1.2, 2.4, 4.8, 9.6, 19.2, 38.4, 60.0, 60.0]
