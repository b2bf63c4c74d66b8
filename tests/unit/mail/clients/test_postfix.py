"""Postfix: what is read from its log, and what main.cf tells it. The logs are real ones, of Postfix 3.7."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from port25lab.mail.clients.base import Target
from port25lab.mail.clients.postfix import configuration
from port25lab.mail.clients.postfix_log import LogLine, status, tries
from port25lab.mail.smtp_session import Submission
from port25lab.model.evidence import Hop, Stage
from port25lab.model.path import Security
from transcripts import FOLDER


def log_of(name: str) -> list[LogLine]:
    return [LogLine(line, 0.5) for line in (FOLDER / f"postfix-{name}.txt").read_text().splitlines()]


def read(name: str) -> list[Hop]:
    return tries(log_of(name), "home-server", "mx.example.net")


def test_under_op25b_each_address_is_a_try_and_the_message_is_deferred() -> None:
    hops = read("dropped")
    assert [(hop.to, hop.observation.address, hop.observation.errno) for hop in hops] == [
        ("mx.example.net", "192.0.2.25", "ETIMEDOUT"),
        ("mx.example.net", "2001:db8:25::25", "ETIMEDOUT"),
    ]
    assert hops[0].observation.stage is Stage.CONNECT
    assert hops[0].observation.reply == "connect to mx.example.net[192.0.2.25]:25: Connection timed out"
    end = status(log_of("dropped"))
    assert (end.queue_id, end.enhanced_code) == ("C2AD47B", "4.4.1")
    assert end.text == (
        "C2AD47B: to=<recipient@example.net>, relay=none, delay=4.1, delays=0.01/0/4.1/0, dsn=4.4.1, "
        "status=deferred (connect to mx.example.net[2001:db8:25::25]:25: Connection timed out)"
    )


def test_a_second_address_that_takes_the_message_is_the_last_try() -> None:
    first, last = read("v4only")
    assert (first.observation.stage, first.observation.errno) == (Stage.CONNECT, "ETIMEDOUT")
    assert (last.observation.stage, last.observation.smtp_code) == (Stage.DONE, 250)
    assert (last.observation.enhanced_code, last.observation.address) == ("2.0.0", "2001:db8:25::25")
    assert status(log_of("v4only")).enhanced_code == "2.0.0"


@pytest.mark.parametrize(
    ("name", "stage", "code", "enhanced"),
    [
        ("greeting-554", Stage.BANNER, 554, "5.7.1"),
        ("starttls-454", Stage.STARTTLS, 454, "4.7.0"),
        ("wrong-password", Stage.AUTH, 535, "5.7.8"),
        ("no-credentials", Stage.MAIL, 530, "5.7.0"),
        ("greylisted", Stage.RCPT, 450, "4.7.1"),
    ],
)
def test_what_the_server_said_is_the_last_word(name: str, stage: Stage, code: int, enhanced: str) -> None:
    (hop,) = read(name)
    seen = hop.observation
    assert (seen.stage, seen.smtp_code, seen.enhanced_code) == (stage, code, enhanced)


@pytest.mark.parametrize(
    ("name", "stage", "enhanced"),
    [
        ("closed-at-once", Stage.BANNER, "4.4.2"),
        ("reset-at-banner", Stage.BANNER, "4.4.2"),
        ("silent", Stage.BANNER, "4.4.2"),
        ("reset-at-ehlo", Stage.EHLO, "4.4.2"),
        ("silent-at-ehlo", Stage.EHLO, "4.4.2"),
        ("no-starttls", Stage.STARTTLS, "4.7.4"),
        ("reset-at-starttls", Stage.TLS, "4.7.5"),
        ("reset-at-tls", Stage.TLS, "4.7.5"),
        ("bad-certificate", Stage.TLS, "4.7.5"),
        ("closed-at-rcpt", Stage.RCPT, "4.4.2"),
        ("unknown-host", Stage.RESOLVE, "4.3.5"),
    ],
)
def test_without_a_reply_postfix_own_words_tell_the_stage(name: str, stage: Stage, enhanced: str) -> None:
    (hop,) = read(name)
    seen = hop.observation
    assert (seen.stage, seen.smtp_code, seen.enhanced_code) == (stage, None, enhanced)
    assert seen.timed_out == name.startswith("silent")


def test_what_the_server_does_not_offer_is_noted() -> None:
    assert read("no-starttls")[0].observation.missing == "STARTTLS"


@pytest.mark.parametrize(("name", "stage"), [("unknown-domain", Stage.RESOLVE), ("spam", Stage.MAIL)])
def test_a_message_that_postfix_gives_up_by_itself_has_bounced_for_good(name: str, stage: Stage) -> None:
    (hop,) = read(name)
    assert (hop.observation.stage, hop.observation.smtp_code) == (stage, 550)


def test_a_try_without_an_address_names_whom_it_was_for_and_took_its_time() -> None:
    (hop,) = read("unknown-host")
    assert (hop.node, hop.to, hop.observation.address, hop.observation.seconds) == (
        "home-server",
        "mx.example.net",
        None,
        0.5,
    )


def configured(target: Target, security: Security = Security.NONE, password: str | None = None) -> dict[str, str]:
    submission = Submission(
        security=security,
        server_name=target.host,
        tls=ssl.create_default_context(),
        username="alice" if password else None,
        password=password,
        mail_from="owner@home.example",
        rcpt_to="recipient@example.net",
        message=b"",
        timeout=5.0,
        local_hostname="mail.home.example",
    )
    return configuration("mail.home.example", target, submission, Path("/run/ca.pem"))


@pytest.mark.parametrize(
    ("target", "relayhost"),
    [
        (Target("mx.example.net", (), 25, None, domain="example.net"), ""),
        (Target("mx.example.org", (), 25, None, domain="example.org"), "example.org"),
        (Target("mx.example.net", (), 587, None, domain="example.net"), "[mx.example.net]:587"),
        (Target("smtp.relay.example", (), 587, None), "[smtp.relay.example]:587"),
        (Target("2001:db8::1", (), 25, 6), "[2001:db8::1]:25"),
    ],
)
def test_postfix_finds_the_recipients_mx_by_itself_and_everything_else_is_a_relayhost(
    target: Target, relayhost: str
) -> None:
    assert configured(target)["relayhost"] == relayhost


def test_submission_wants_tls_and_the_servers_right_name() -> None:
    settings = configured(Target("smtp.relay.example", (), 587, 4), Security.STARTTLS, "alice-$ecret")
    assert settings["smtp_tls_security_level"] == "secure"
    assert settings["smtp_tls_wrappermode"] == "no"
    assert settings["smtp_sasl_password_maps"] == "static:alice:alice-$$ecret"
    assert settings["inet_protocols"] == "ipv4"
    assert configured(Target("smtp.relay.example", (), 465, 6), Security.IMPLICIT)["smtp_tls_wrappermode"] == "yes"


def test_without_a_login_and_tls_postfix_does_neither() -> None:
    settings = configured(Target("relay.isp.example", (), 25, None))
    assert settings["smtp_tls_security_level"] == "none"
    assert settings["inet_protocols"] == "all"
    assert "smtp_sasl_auth_enable" not in settings
