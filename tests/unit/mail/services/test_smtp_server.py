import base64

import pytest

from loopback_services import USERS, in_loop, node, plan, running
from port25lab.model.evidence import Stage
from port25lab.model.path import Security
from port25lab.model.plan import Plan

ALICE = ("alice", "alice-secret")
WRONG = ("alice", "guess")


def world() -> Plan:
    return plan(
        node("mx", 25, {"kind": "mx", "domains": ["example.net"]}),
        node(
            "provider",
            81,
            {"kind": "mx", "domains": ["provider.example"], "users": USERS},
            {"kind": "submission", "users": USERS},
            {"kind": "submissions", "users": USERS},
        ),
        node("isp", 26, {"kind": "relay", "networks": ["127.0.1.4/32"], "domains": ["isp.example"], "users": USERS}),
        node("pc", 10),
        node("stranger", 11),
        node("service", 89, {"kind": "relay-service", "users": USERS}),
        node("open", 97, {"kind": "open-relay"}),
        node("small", 98, {"kind": "relay", "networks": ["127.0.0.0/8"]}),
    )


@pytest.mark.parametrize("version", [4, 6])
@in_loop
async def test_an_mx_takes_mail_for_its_own_domain(version: int) -> None:
    async with running(world()) as lab:
        seen = await lab.send("pc", "mx", token="ab01", version=version)
        assert (seen.stage, seen.smtp_code, seen.enhanced_code) == (Stage.DONE, 250, "2.0.0")
        (message,) = lab.arrived
        assert (message.node, message.rcpt_tos) == ("mx", ("recipient@example.net",))
        assert message.mail_from == "sender@example.org"
        assert message.raw.startswith(b"Received: from pc.example.test")
        assert lab.services.mailboxes.delivery("ab01").delivered_to == "mx"


@in_loop
async def test_an_mx_does_not_relay() -> None:
    async with running(world()) as lab:
        seen = await lab.send("pc", "mx", recipient="x@example.com")
        assert (seen.stage, seen.smtp_code, seen.enhanced_code) == (Stage.RCPT, 550, "5.7.1")
        assert "relay access denied" in (seen.reply or "")


@in_loop
async def test_an_mx_offers_starttls_and_no_auth() -> None:
    async with running(world()) as lab:
        seen = await lab.send("pc", "mx", security=Security.STARTTLS)
        assert (seen.stage, seen.tls) == (Stage.DONE, "TLSv1.3")
        assert (await lab.send("pc", "mx", auth=ALICE)).missing == "AUTH"


@in_loop
async def test_a_provider_relays_for_its_user_on_25_587_and_465() -> None:
    async with running(world()) as lab:
        for port, security in ((25, Security.NONE), (587, Security.STARTTLS), (465, Security.IMPLICIT)):
            seen = await lab.send("pc", "provider", port, security=security, auth=ALICE, recipient="x@example.com")
            assert seen.stage is Stage.DONE, (port, seen)


@pytest.mark.parametrize(("port", "security"), [(587, Security.STARTTLS), (465, Security.IMPLICIT)])
@in_loop
async def test_submission_requires_the_right_password(port: int, security: Security) -> None:
    async with running(world()) as lab:
        nobody = await lab.send("pc", "provider", port, security=security)
        assert (nobody.stage, nobody.smtp_code, nobody.enhanced_code) == (Stage.MAIL, 530, "5.7.0")
        wrong = await lab.send("pc", "provider", port, security=security, auth=WRONG)
        assert (wrong.stage, wrong.smtp_code, wrong.enhanced_code) == (Stage.AUTH, 535, "5.7.8")


@in_loop
async def test_587_wants_tls_before_it_hears_a_password() -> None:
    plain = base64.b64encode(b"\0alice\0alice-secret").decode()
    async with running(world()) as lab:
        replies = await lab.talk("pc", "provider", 587, "EHLO pc", f"AUTH PLAIN {plain}", "MAIL FROM:<a@b.example>")
        assert replies[2].startswith("538 5.7.11 ")
        assert replies[3] == "530 5.7.0 Authentication required"


@in_loop
async def test_auth_login_works_too() -> None:
    async with running(world()) as lab:
        words = (base64.b64encode(word.encode()).decode() for word in ALICE)
        replies = await lab.talk("pc", "provider", 25, "EHLO pc", "AUTH LOGIN", *words)
        assert replies[-1].startswith("235 2.7.0 ")


@in_loop
async def test_a_relay_knows_its_customers_by_their_address() -> None:
    async with running(world()) as lab:
        assert (await lab.send("pc", "isp", recipient="x@example.com")).stage is Stage.DONE
        refused = await lab.send("stranger", "isp", recipient="x@example.com")
        assert (refused.smtp_code, refused.enhanced_code) == (550, "5.7.1")
        assert (await lab.send("stranger", "isp", recipient="x@isp.example", token="ab02")).stage is Stage.DONE
        assert lab.services.mailboxes.delivery("ab02").delivered_to == "isp"


@in_loop
async def test_a_relay_without_users_has_no_submission_ports() -> None:
    async with running(world()) as lab:
        assert (await lab.send("pc", "small", 587)).errno == "ECONNREFUSED"


@in_loop
async def test_a_relay_service_listens_on_2525_and_not_on_25() -> None:
    async with running(world()) as lab:
        seen = await lab.send("pc", "service", 2525, security=Security.STARTTLS, auth=ALICE)
        assert seen.stage is Stage.DONE
        assert (await lab.send("pc", "service", 25)).errno == "ECONNREFUSED"


@in_loop
async def test_an_open_relay_relays_for_everybody() -> None:
    async with running(world()) as lab:
        assert (await lab.send("stranger", "open", recipient="x@example.com")).stage is Stage.DONE


@in_loop
async def test_errors_have_enhanced_status_codes() -> None:
    async with running(world()) as lab:
        replies = await lab.talk("pc", "mx", 25, "EHLO pc", "RCPT TO:<a@b>", "BOGUS", "MAIL FROM:<", "NOOP", "QUIT")
        assert [reply[:9] for reply in replies[2:]] == [
            "503 5.5.1",
            "500 5.5.2",
            "553 5.1.3",
            "250 2.0.0",
            "221 2.0.0",
        ]
        assert lab.services.failures == {}


@in_loop
async def test_a_message_that_goes_round_in_circles_is_refused() -> None:
    received = ["Received: from somewhere"] * 21
    async with running(world()) as lab:
        lines = ("EHLO pc", "MAIL FROM:<>", "RCPT TO:<x@example.net>", "DATA", "\r\n".join((*received, "", ".")))
        assert (await lab.talk("pc", "mx", 25, *lines))[-1].startswith("554 5.4.6 ")


@in_loop
async def test_the_empty_sender_is_accepted() -> None:
    async with running(world()) as lab:
        lines = ("EHLO pc", "MAIL FROM:<>", "RCPT TO:<x@example.net>", "DATA", "Subject: x\r\n\r\n.")
        assert (await lab.talk("pc", "mx", 25, *lines))[-1].startswith("250 2.0.0 ")
        assert lab.arrived[0].mail_from == ""
