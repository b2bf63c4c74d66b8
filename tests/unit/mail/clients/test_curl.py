"""curl: what is read from what it says. The transcripts are real ones, of curl 7.88 in a lab and with rude servers."""

from __future__ import annotations

from typing import Any

import pytest

from port25lab.mail.clients.curl import read_transcript
from port25lab.model.evidence import Stage
from transcripts import transcript

MX4, MX6 = "192.0.2.25", "2001:db8:25::25"


def read(name: str, after_connecting: Stage = Stage.BANNER) -> dict[str, Any]:
    found = transcript("curl", name)
    return read_transcript(found.stderr, found.exit_code, after_connecting)


def test_a_delivered_message_leaves_all_that_curl_tells() -> None:
    assert read("delivered") == {
        "stage": Stage.DONE,
        "errno": None,
        "smtp_code": 250,
        "enhanced_code": "2.0.0",
        "reply": "2.0.0 OK: message accepted",
        "address": MX6,
        "banner": "mx.example.net ESMTP port25lab",
        "tls": None,
        "missing": None,
        "keywords": ("8BITMIME", "ENHANCEDSTATUSCODES", "HELP", "SIZE", "STARTTLS"),
        "certificate": None,
        "timed_out": False,
    }


@pytest.mark.parametrize(("name", "first"), [("starttls", Stage.BANNER), ("implicit", Stage.TLS)])
def test_under_tls_its_version_and_the_keywords_of_the_second_ehlo_count(name: str, first: Stage) -> None:
    seen = read(name, first)
    assert (seen["stage"], seen["tls"], seen["banner"]) == (
        Stage.DONE,
        "TLSv1.3",
        "mail.provider.example ESMTP port25lab",
    )
    assert seen["keywords"] == ("8BITMIME", "AUTH", "ENHANCEDSTATUSCODES", "HELP", "SIZE")


@pytest.mark.parametrize(
    ("name", "errno", "address"),
    [("dropped", "ETIMEDOUT", MX4), ("rejected", "EACCES", MX6), ("closed", "ECONNREFUSED", MX4)],
)
def test_of_addresses_dialled_side_by_side_the_last_to_fail_counts(name: str, errno: str, address: str) -> None:
    seen = read(name)
    assert (seen["stage"], seen["errno"], seen["address"]) == (Stage.CONNECT, errno, address)


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
        ("reset-at-starttls", Stage.TLS, "ECONNRESET", "Connection reset by peer"),
        ("silent", Stage.BANNER, None, "no reply within 4 s"),
        ("silent-at-ehlo", Stage.EHLO, None, "no reply within 4 s"),
        ("unknown-name", Stage.RESOLVE, None, "Could not resolve host: mail.nowhere.example"),
    ],
)
def test_an_end_without_a_reply_is_told_in_our_words_or_the_kernels(
    name: str, stage: Stage, errno: str | None, reply: str
) -> None:
    seen = read(name)
    assert (seen["stage"], seen["errno"], seen["smtp_code"], seen["reply"]) == (stage, errno, None, reply)
    assert seen["timed_out"] == name.startswith("silent")


def test_a_handshake_fails_before_the_banner_where_tls_comes_first() -> None:
    assert read("reset-at-tls", Stage.TLS)["stage"] is Stage.TLS
    seen = read("bad-certificate", Stage.TLS)
    assert (seen["stage"], seen["reply"]) == (Stage.TLS, "unable to get local issuer certificate")


def test_missing_starttls_is_noted() -> None:
    seen = read("no-starttls")
    assert (seen["stage"], seen["missing"]) == (Stage.STARTTLS, "STARTTLS")


def test_curl_goes_on_without_logging_in_where_a_server_offers_no_auth() -> None:
    seen = read("no-auth")
    assert (seen["stage"], seen["missing"]) == (Stage.DATA, None)


def test_words_of_newer_versions_of_curl() -> None:
    lines = [
        "*   Trying 192.0.2.25:25...",
        "* connect to 192.0.2.25 port 25 from 192.168.1.25 port 20000 failed: Connection refused",
        "* Failed to connect to mx.example.net port 25 after 1 ms: Could not connect to server",
    ]
    seen = read_transcript(lines, 7)
    assert (seen["stage"], seen["errno"], seen["address"]) == (Stage.CONNECT, "ECONNREFUSED", MX4)
    established = [
        "* Established connection to mx.example.net (192.0.2.25 port 25) from 192.168.1.25 port 20000",
        "< 220 hi",
    ]
    seen = read_transcript(established, 0)
    assert (seen["stage"], seen["address"], seen["banner"]) == (Stage.BANNER, MX4, "hi")


@pytest.mark.parametrize(
    ("exit_code", "stage", "errno"),
    [(28, Stage.CONNECT, "ETIMEDOUT"), (6, Stage.RESOLVE, None), (35, Stage.TLS, None), (60, Stage.TLS, None)],
)
def test_where_curl_says_little_its_exit_code_has_to_do(exit_code: int, stage: Stage, errno: str | None) -> None:
    seen = read_transcript([f"curl: ({exit_code}) something went wrong"], exit_code)
    assert (seen["stage"], seen["errno"], seen["reply"]) == (stage, errno, "something went wrong")
