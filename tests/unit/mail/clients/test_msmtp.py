"""msmtp: what is read from what it says, and what it is told. The transcripts are real ones, of msmtp 1.8.23."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from port25lab.mail.clients.base import Target
from port25lab.mail.clients.msmtp import configuration, read_transcript
from port25lab.mail.smtp_session import Submission
from port25lab.model.evidence import Stage
from port25lab.model.path import Security
from transcripts import transcript


def read(name: str, after_connecting: Stage = Stage.BANNER) -> dict[str, Any]:
    found = transcript("msmtp", name)
    return read_transcript(found.stdout, found.stderr, 4, after_connecting)


def test_a_delivered_message_leaves_all_that_msmtp_tells() -> None:
    assert read("delivered") == {
        "stage": Stage.DONE,
        "errno": None,
        "smtp_code": 250,
        "enhanced_code": "2.0.0",
        "reply": "2.0.0 OK: message accepted",
        "address": None,
        "banner": "mx.example.net ESMTP port25lab",
        "tls": None,
        "missing": None,
        "keywords": ("8BITMIME", "ENHANCEDSTATUSCODES", "HELP", "SIZE", "STARTTLS"),
        "certificate": None,
        "timed_out": False,
    }


@pytest.mark.parametrize(("name", "first"), [("starttls", Stage.BANNER), ("implicit", Stage.TLS)])
def test_under_tls_its_version_and_the_certificate_are_told(name: str, first: Stage) -> None:
    seen = read(name, first)
    assert (seen["stage"], seen["tls"], seen["banner"]) == (
        Stage.DONE,
        "TLSv1.3",
        "mail.provider.example ESMTP port25lab",
    )
    assert len(bytes.fromhex(seen["certificate"])) == 32


@pytest.mark.parametrize(
    ("name", "errno"), [("dropped", "ETIMEDOUT"), ("rejected", "EHOSTUNREACH"), ("closed", "ECONNREFUSED")]
)
def test_without_a_connection_the_kernels_words_tell_why(name: str, errno: str) -> None:
    seen = read(name)
    assert (seen["stage"], seen["errno"]) == (Stage.CONNECT, errno)


def test_msmtps_own_timer_is_a_timeout_as_well() -> None:
    complaint = "msmtp: cannot connect to mx.example.net, port 25: the operation timed out"
    assert read_transcript([], [complaint], 4)["errno"] == "ETIMEDOUT"


@pytest.mark.parametrize(
    ("name", "stage", "code", "status"),
    [
        ("greeting-554", Stage.BANNER, 554, "5.7.1"),
        ("starttls-454", Stage.STARTTLS, 454, "4.7.0"),
        ("wrong-password", Stage.AUTH, 535, "5.7.8"),
        ("no-credentials", Stage.MAIL, 530, "5.7.0"),
        ("relay-denied", Stage.RCPT, 550, "5.7.1"),
        ("spam", Stage.DATA, 554, "5.6.0"),
    ],
)
def test_a_refusal_is_the_last_word(name: str, stage: Stage, code: int, status: str) -> None:
    seen = read(name)
    assert (seen["stage"], seen["smtp_code"], seen["enhanced_code"]) == (stage, code, status)


@pytest.mark.parametrize(
    ("name", "stage", "errno", "reply"),
    [
        ("closed-at-once", Stage.BANNER, None, "the server closed the connection"),
        ("closed-at-ehlo", Stage.EHLO, None, "the server closed the connection"),
        ("reset-at-banner", Stage.BANNER, "ECONNRESET", "Connection reset by peer"),
        ("reset-at-ehlo", Stage.EHLO, "ECONNRESET", "Connection reset by peer"),
        ("reset-at-starttls", Stage.TLS, None, "Error in the pull function."),
        ("silent", Stage.BANNER, None, "no reply within 4 s"),
        ("silent-at-ehlo", Stage.EHLO, None, "no reply within 4 s"),
        ("unknown-name", Stage.RESOLVE, None, "cannot locate host mail.nowhere.example: Name or service not known"),
    ],
)
def test_an_end_without_a_reply_has_a_stage_and_words(name: str, stage: Stage, errno: str | None, reply: str) -> None:
    seen = read(name)
    assert (seen["stage"], seen["errno"], seen["smtp_code"], seen["reply"]) == (stage, errno, None, reply)
    assert seen["timed_out"] == name.startswith("silent")


def test_a_handshake_fails_before_the_banner_where_tls_comes_first() -> None:
    assert read("reset-at-tls", Stage.TLS)["stage"] is Stage.TLS
    seen = read("bad-certificate", Stage.TLS)
    assert (seen["stage"], seen["reply"]) == (
        Stage.TLS,
        "The certificate is NOT trusted. The certificate issuer is unknown.",
    )


@pytest.mark.parametrize(("name", "what"), [("no-starttls", "STARTTLS"), ("no-auth", "AUTH")])
def test_what_the_server_does_not_offer_is_noted(name: str, what: str) -> None:
    seen = read(name)
    assert (seen["stage"], seen["missing"]) == (Stage[what], what)


def test_a_complaint_that_is_not_known_shows_an_open_connection() -> None:
    seen = read_transcript([], ["msmtp: the server sent an invalid reply", "msmtp: could not send mail"], 4)
    assert (seen["stage"], seen["reply"]) == (Stage.BANNER, "the server sent an invalid reply")


def submission(security: Security, username: str | None = None) -> Submission:
    return Submission(
        security=security,
        server_name="smtp.relay.example",
        tls=ssl.create_default_context(),
        username=username,
        password="alice-secret" if username else None,
        mail_from="owner@home.example",
        rcpt_to="recipient@example.net",
        message=b"",
        timeout=5.0,
        local_hostname="mail.home.example",
    )


def test_msmtp_dials_an_address_under_the_name_of_the_certificate() -> None:
    target = Target("smtp.relay.example", ("192.0.2.89",), 587, 4)
    assert configuration(target, submission(Security.STARTTLS, "alice"), Path("/run/ca.pem")).splitlines() == [
        "account default",
        "host 192.0.2.89",
        "port 587",
        "domain mail.home.example",
        "from owner@home.example",
        "timeout 5",
        "tls on",
        "tls_starttls on",
        "tls_trust_file /run/ca.pem",
        "tls_host_override smtp.relay.example",
        "auth plain",
        "user alice",
        'password "alice-secret"',
    ]


def test_left_to_pick_an_address_msmtp_gets_the_name() -> None:
    target = Target("mx.example.net", ("2001:db8:25::25", "192.0.2.25"), 25, None)
    lines = configuration(target, submission(Security.NONE), Path("/run/ca.pem")).splitlines()
    assert "host mx.example.net" in lines
    assert not any(line.startswith(("tls", "auth", "user", "password")) for line in lines)
