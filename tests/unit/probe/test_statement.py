"""What a probe says in words, and on a console."""

from __future__ import annotations

import io

import pytest

from client_view_factory import CONTROL, HOST, ROUTERS, refused, reset, session, silent, trace, view
from port25lab.model.evidence import Stage
from port25lab.model.mechanism import Mechanism
from port25lab.probe.advice import WHERE, what_to_do
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import diagnose
from port25lab.probe.client_view import Answer, Certificate, ClientView
from port25lab.probe.counted import counted
from port25lab.probe.document import probed
from port25lab.probe.places import Place
from port25lab.probe.table import observed, print_probe
from port25lab.probe.ways_out import in_words
from port25lab.report.console import open_console

OP25B = view(
    silent(),
    session(587, keywords_tls=("AUTH", "SIZE"), tls="TLSv1.3"),
    reset(465),
    traces=(trace(25, 2), trace(587, 5, Answer.ACCEPTED)),
)


WHEN = "2026-11-27T00:00:00Z"


def told(shown: ClientView) -> str:
    return " ".join(" ".join((one.what, one.where or "", one.sure, *one.do)) for one in probed(shown, WHEN).says)


def ways(shown: ClientView) -> list[str]:
    found = probed(shown, WHEN)
    return in_words(shown, found.findings, found.ways_out)


def test_op25b_in_the_words_of_those_who_meet_it() -> None:
    words = told(OP25B)
    assert f"hop 2 ({ROUTERS[1]})" in words
    assert "mail that works from elsewhere" in words
    assert "inbound open says nothing about outbound" in words
    assert "connect to mx.example.net[192.0.2.25]:25: Connection timed out` with dsn=4.4.1, status=deferred" in words
    assert "needs the provider to lift the block" in words


def test_a_block_nearer_to_the_server_is_not_put_on_the_clients_network_alone() -> None:
    words = told(view(silent(), reset(587), traces=(trace(25, 4), CONTROL)))
    assert f"or in the receiver's network, before the server, hop 4 ({ROUTERS[3]})" in words
    assert "works from elsewhere" not in words


def test_a_control_that_answers_clears_the_clients_network() -> None:
    control = session(host="mx.example.org", address="192.0.2.29")
    words = told(
        view(silent(), reset(587), traces=(trace(25, 5), CONTROL), control="mx.example.org", controls=(control,))
    )
    assert "Port 25 of mx.example.org answers, so this network's way out is open" in words


def test_doubts_are_told_with_their_reason() -> None:
    words = told(view(silent(), reset(587), traces=(trace(25, 5), CONTROL)))
    assert "or else syn-drop: a SYN that is dropped at the destination's door" in words


def test_a_reset_on_the_way_is_no_server_that_is_down() -> None:
    words = told(view(reset(), reset(587), traces=(trace(25, 0, Answer.RESET), CONTROL)))
    assert "at your own router" in words
    assert ", hop 1" in words
    assert "looks as if the server were down; it has not even seen the connection" in words
    assert "a list of allowed mail servers" in words


def test_no_listener_is_no_block() -> None:
    closed = view(reset(ttl=59), reset(587, ttl=59), traces=(trace(25, 5, Answer.RESET), CONTROL))
    assert "That is no block" in told(closed)
    assert ways(closed) == []


def test_only_a_certificate_proves_a_way_out() -> None:
    proof = Certificate(sha256="0" * 64, names=(HOST,))
    name = "Hostname mismatch"
    sessions = {
        "proven from here, its certificate is that of mx.example.net": {"certificate": proof, "tls": "TLSv1.3"},
        f"open, not proven from here, its certificate proves nothing: {name}": {
            "certificate": proof.model_copy(update={"problem": name}),
            "tls": "TLSv1.3",
        },
        "open, not proven from here, it offers no TLS": {},
    }
    for words, more in sessions.items():
        usable = session(587, keywords=("AUTH", "STARTTLS"), keywords_tls=("AUTH",), **more)
        first, *_ = ways(view(silent(), usable, traces=(trace(25, 2), trace(587, 5, Answer.ACCEPTED))))
        assert words in first


def test_an_intercepted_port_is_no_way_out() -> None:
    taken = session(587, keywords_tls=("AUTH",), tls="TLSv1.3")
    traces = (trace(25, 2), trace(587, 2, Answer.ACCEPTED), trace(465, 5, Answer.RESET))
    found = ways(view(silent(), taken, traces=traces))
    assert not any("587" in line for line in found)


def test_whom_to_ask_and_what_to_write() -> None:
    (first, *_) = probed(OP25B, WHEN).says
    assert first.whom == "your access provider's support"
    assert first.letter is not None
    assert "TCP port 25 of mx.example.net (192.0.2.25) cannot be used over IPv4" in first.letter
    assert f"It ends at hop 2 ({ROUTERS[1]})." in first.letter
    assert WHEN in first.letter


def test_the_servers_words_decide_the_advice() -> None:
    refusing = view(session(25, Stage.RCPT, smtp_code=550, reply="5.7.25 no PTR record for your address"))
    assert "a PTR record whose name leads back to it" in told(refusing)
    assert "The server's own words" not in told(refusing)


@pytest.mark.parametrize("place", Place)
def test_every_place_has_advice_for_a_block(place: Place) -> None:
    diagnosis = Diagnosis(port=25, ip_version=4, mechanism=Mechanism.SYN_DROP, place=place, reason="x")
    assert what_to_do(diagnosis)
    assert WHERE[place]


def test_the_servers_own_firewall_on_other_ports_is_not_worth_a_word() -> None:
    mail = view(session(), silent(587), traces=(trace(25, 5, Answer.ACCEPTED), trace(587, 5)))
    assert "587" not in told(mail)


def test_a_machine_without_ipv6_is_not_blocked_there() -> None:
    lacking = session(25, Stage.CONNECT, errno="ENETUNREACH", address="2001:db8::25", ip_version=6)
    both = view(session(), lacking)
    assert [diagnosis.ip_version for diagnosis in counted(both, diagnose(both))] == [4]
    assert "the machine has no such connectivity" in told(both)


def test_what_was_seen_in_a_few_words() -> None:
    assert observed(silent()) == "no answer (ETIMEDOUT, 3.2 s)"
    assert observed(reset()) == "reset (ECONNREFUSED)"
    assert observed(refused(25, "198.51.100.130", 3, 13)) == "ICMP 3/13 from 198.51.100.130 (EHOSTUNREACH)"
    assert observed(session(25, Stage.BANNER, smtp_code=554, banner="5.7.1 No")) == "554 5.7.1 No"
    assert observed(session(25, Stage.BANNER, reply="the connection was closed")) == "taken, the connection was closed"


def test_into_a_pipe_goes_plain_text() -> None:
    out = io.StringIO()
    print_probe(open_console(out), probed(OP25B, WHEN))
    text = out.getvalue()
    assert text.isascii()
    assert "\x1b" not in text
    lines = [line.split() for line in text.splitlines()]
    assert ["25", "4", "192.0.2.25", "no", "answer", "(ETIMEDOUT,", "3.2", "s)", "syn-drop", "2"] in lines
    assert ["3", "198.51.100.5", "silence", "passes"] in lines


def test_a_hostile_banner_does_not_reach_the_terminal() -> None:
    out = io.StringIO()
    hostile = view(session(banner="\x1b[2Jevil [bold]x[/bold]"))
    print_probe(open_console(out), probed(hostile, WHEN))
    assert "\x1b" not in out.getvalue()
    assert "[bold]x[/bold]" in out.getvalue()
