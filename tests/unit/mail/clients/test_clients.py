"""Client programs against a server that follows a script: all of them see the same, and write it down alike."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from port25lab.errors import LabError
from port25lab.mail.clients.swaks import read_transcript, read_version
from port25lab.model.evidence import Observation, Stage
from port25lab.model.path import Security
from scripted_smtp_server import CLOSE, SECONDS, SILENCE, WITH_AUTH, WITH_TLS, Script, free_port, stranger, submit
from swaks_version import is_new

CLIENTS = [
    "aiosmtplib",
    "smtplib",
    pytest.param("swaks", marks=pytest.mark.skipif(not shutil.which("swaks"), reason="no swaks on this machine")),
]

ALICE = ("alice", "secret")
STARTTLS, IMPLICIT = {"security": Security.STARTTLS}, {"security": Security.IMPLICIT}

# what is said, how the client goes about it, and how far it comes: stage, code, enhanced code, reply
SCRIPTS: dict[str, tuple[Script, dict[str, Any], tuple[Any, ...]]] = {
    "all goes well": (Script(), {}, ("done", 250, "2.0.0", "2.0.0 taken")),
    "a refusing greeting": (
        Script({"banner": "554 5.7.1 your address is dynamic"}),
        {},
        ("banner", 554, "5.7.1", "5.7.1 your address is dynamic"),
    ),
    "a shutdown for a greeting": (
        Script({"banner": "421 4.3.2 later"}),
        {},
        ("banner", 421, "4.3.2", "4.3.2 later"),
    ),
    "no greeting": (Script({"banner": SILENCE}), {}, ("banner", None, None, f"no reply within {SECONDS:g} s")),
    "closed before the greeting": (
        Script({"banner": CLOSE}),
        {},
        ("banner", None, None, "the server closed the connection"),
    ),
    "EHLO is not known, HELO is": (Script({"EHLO": "500 what?"}), {}, ("done", 250, "2.0.0", "2.0.0 taken")),
    "closed after EHLO": (Script({"EHLO": CLOSE}), {}, ("ehlo", None, None, "the server closed the connection")),
    "the sender is refused": (
        Script({"MAIL": "550 5.1.8 no such sender domain"}),
        {},
        ("mail", 550, "5.1.8", "5.1.8 no such sender domain"),
    ),
    "authentication first": (
        Script({"MAIL": "530 5.7.0 Authentication required"}),
        {},
        ("mail", 530, "5.7.0", "5.7.0 Authentication required"),
    ),
    "no relaying": (
        Script({"RCPT": "554 5.7.1 relay access denied"}),
        {},
        ("rcpt", 554, "5.7.1", "5.7.1 relay access denied"),
    ),
    "a greylist": (Script({"RCPT": "450 4.7.1 try again"}), {}, ("rcpt", 450, "4.7.1", "4.7.1 try again")),
    "words of a timeout": (
        Script({"RCPT": "451 no reply within 3 s"}),
        {},
        ("rcpt", 451, None, "no reply within 3 s"),
    ),
    "no enhanced code": (Script({"RCPT": "550 no such user"}), {}, ("rcpt", 550, None, "no such user")),
    "a reply of many lines": (
        Script({"RCPT": "550-5.7.1 not\r\n550 5.7.1 here"}),
        {},
        ("rcpt", 550, "5.7.1", "5.7.1 not\n5.7.1 here"),
    ),
    "DATA is refused": (Script({"DATA": "554 5.5.1 no"}), {}, ("data", 554, "5.5.1", "5.5.1 no")),
    "the message is refused": (Script({".": "552 5.3.4 too big"}), {}, ("data", 552, "5.3.4", "5.3.4 too big")),
    "closed after the message": (Script({".": CLOSE}), {}, ("data", None, None, "the server closed the connection")),
    "silence after the message": (Script({".": SILENCE}), {}, ("data", None, None, f"no reply within {SECONDS:g} s")),
    "closed instead of a goodbye": (Script({"QUIT": CLOSE}), {}, ("done", 250, "2.0.0", "2.0.0 taken")),
    "STARTTLS": (Script({"EHLO": WITH_TLS}), STARTTLS, ("done", 250, "2.0.0", "2.0.0 taken")),
    "STARTTLS is not ready": (
        Script({"EHLO": WITH_TLS, "STARTTLS": "454 4.7.0 no TLS now"}),
        STARTTLS,
        ("starttls", 454, "4.7.0", "4.7.0 no TLS now"),
    ),
    "STARTTLS is not offered": (Script(), STARTTLS, ("starttls", None, None, "the server does not offer STARTTLS")),
    "the certificate is for another name": (
        Script({"EHLO": WITH_TLS}, certificate=stranger),
        STARTTLS,
        ("tls", None, None, None),
    ),
    "implicit TLS": (Script(implicit=True), IMPLICIT, ("done", 250, "2.0.0", "2.0.0 taken")),
    "implicit TLS, and the server talks in clear": (Script(), IMPLICIT, ("tls", None, None, None)),
    "AUTH": (Script({"EHLO": WITH_AUTH}), {"auth": ALICE}, ("done", 250, "2.0.0", "2.0.0 taken")),
    "AUTH after STARTTLS": (
        Script({"EHLO": WITH_TLS}, after_tls={"EHLO": WITH_AUTH}),
        STARTTLS | {"auth": ALICE},
        ("done", 250, "2.0.0", "2.0.0 taken"),
    ),
    "AUTH is refused": (
        Script({"EHLO": WITH_AUTH, "AUTH": "535 5.7.8 wrong"}),
        {"auth": ALICE},
        ("auth", 535, "5.7.8", "5.7.8 wrong"),
    ),
    "AUTH is not offered": (Script(), {"auth": ALICE}, ("auth", None, None, "the server does not offer AUTH")),
}

PECULIAR: dict[tuple[str, str], tuple[Any, ...]] = {
    # Up to 2020 it verifies who signed a certificate, and not for whom.
    ("swaks", "the certificate is for another name"): ("done", 250, "2.0.0", "2.0.0 taken"),
}
if is_new():
    PECULIAR.clear()
"""What a program says in words of its own, and what it does in its own way."""


def seen(client: str, script: Script, folder: Path, **how: Any) -> Observation:
    return asyncio.run(submit(client, script, folder, **how))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_server_says_is_seen_alike_by_all_clients(name: str, client: str, tmp_path: Path) -> None:
    script, how, (stage, code, enhanced, reply) = SCRIPTS[name]
    if (client, name) in PECULIAR:
        stage, code, enhanced, reply = PECULIAR[client, name]
    observation = seen(client, script, tmp_path, **how)
    assert (observation.stage, observation.smtp_code, observation.enhanced_code) == (stage, code, enhanced)
    if reply is not None:
        assert observation.reply == reply
    assert observation.address == "127.0.0.1"
    assert observation.errno in (None, "ECONNRESET", "EPIPE")
    wants = "STARTTLS" if "STARTTLS is not offered" in name else "AUTH" if "AUTH is not offered" in name else None
    assert observation.missing == wants
    assert observation.timed_out == (SILENCE in script.says.values())


@pytest.mark.parametrize("client", CLIENTS)
def test_nobody_listens(client: str, tmp_path: Path) -> None:
    observation = seen(client, Script(), tmp_path, port=free_port())
    assert (observation.stage, observation.errno) == (Stage.CONNECT, "ECONNREFUSED")
    assert (observation.smtp_code, observation.banner) == (None, None)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_banner_and_the_tls_version_are_kept(client: str, tmp_path: Path) -> None:
    observation = seen(client, Script({"EHLO": WITH_TLS}), tmp_path, security=Security.STARTTLS)
    assert observation.banner == "mx.example.net ESMTP"
    assert observation.tls == "TLSv1.3"
    assert 0 < observation.seconds < 20


@pytest.mark.parametrize("client", ["aiosmtplib", "smtplib"])
def test_a_server_that_is_no_mail_server_is_no_failure_of_ours(client: str, tmp_path: Path) -> None:
    observation = seen(client, Script({"banner": "SSH-2.0-OpenSSH_9.2"}), tmp_path)
    assert observation.stage is Stage.BANNER
    assert observation.smtp_code in (None, 500)


@pytest.mark.parametrize(
    ("last", "code", "reply"),
    [
        ("<~  235 2.7.0 Authentication successful", None, "no reply within 9 s"),
        ("<~* 550 5.7.1 not from here", 550, "5.7.1 not from here"),
        ("", None, "no reply within 9 s"),
    ],
)
def test_a_swaks_that_was_killed_had_no_answer_but_a_refusal(last: str, code: int | None, reply: str) -> None:
    lines = ["=== Connected to 192.0.2.1.", " ~> AUTH PLAIN AGEA", last]
    killed = read_transcript(lines, killed_after=9.0)
    assert (killed["stage"], killed["smtp_code"], killed["reply"]) == (Stage.AUTH, code, reply)


def test_the_version_of_swaks_is_a_date() -> None:
    assert read_version("swaks version 20201014.0\n\nSwaks is …") == 20201014
    with pytest.raises(LabError, match="says no version"):
        read_version("Can't locate Net/SSLeay.pm")
