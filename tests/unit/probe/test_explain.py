"""What a probe says in words, and on a console."""

from __future__ import annotations

import io

from client_view_factory import CONTROL, ROUTERS, refused, reset, session, silent, trace, view
from port25lab.model.evidence import Stage
from port25lab.probe.classify import diagnose
from port25lab.probe.client_view import Answer, ClientView
from port25lab.probe.explain import counted, story
from port25lab.probe.table import observed, print_probe
from port25lab.report.console import open_console

OP25B = view(
    silent(),
    session(587, keywords_tls=("AUTH", "SIZE"), tls="TLSv1.3"),
    reset(465),
    traces=(trace(25, 2), trace(587, 5, Answer.ACCEPTED)),
)


def told(shown: ClientView) -> str:
    return " ".join(story(shown, diagnose(shown)))


def test_op25b_in_the_words_of_those_who_meet_it() -> None:
    words = told(OP25B)
    assert f"Your host firewall is clean: the block is upstream, 2 hops away ({ROUTERS[1]})." in words
    assert "works from the office, not from home" in words
    assert "inbound open says nothing about outbound" in words
    assert "connect to mx.example.net[192.0.2.25]:25: Connection timed out` with dsn=4.4.1, status=deferred" in words
    assert "Ways out: port 587 with AUTH: open from here at mx.example.net" in words


def test_a_block_nearer_to_the_server_is_not_put_on_the_clients_network() -> None:
    words = told(view(silent(), reset(587), traces=(trace(25, 4), CONTROL)))
    assert f"That is hop 4 of 6: `whois {ROUTERS[3]}` says whose network it is." in words
    assert "from the office" not in words


def test_a_control_that_answers_clears_the_clients_network() -> None:
    control = session(host="mx.example.org", address="192.0.2.29")
    words = told(
        view(silent(), reset(587), traces=(trace(25, 5), CONTROL), control="mx.example.org", controls=(control,))
    )
    assert "Port 25 of mx.example.org answers, so this network's way out is open" in words


def test_doubts_are_told_with_their_reason() -> None:
    words = told(view(silent(), reset(587), traces=(trace(25, 5), CONTROL)))
    assert "This may also be syn-drop: a SYN that is dropped at the destination's door" in words


def test_a_reset_on_the_way_is_no_server_that_is_down() -> None:
    words = told(view(reset(), reset(587), traces=(trace(25, 1, Answer.RESET), CONTROL)))
    assert "at the first router (192.168.1.1): at home your own box" in words
    assert "looks as if the server were down; it has not even seen the connection" in words


def test_no_listener_is_no_block() -> None:
    words = told(view(reset(ttl=59), reset(587, ttl=59), traces=(trace(25, 5, Answer.RESET), CONTROL)))
    assert "That is no block" in words
    assert "Ways out" not in words


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
    print_probe(open_console(out), OP25B, diagnose(OP25B))
    text = out.getvalue()
    assert text.isascii()
    assert "\x1b" not in text
    lines = [line.split() for line in text.splitlines()]
    assert ["25", "4", "192.0.2.25", "no", "answer", "(ETIMEDOUT,", "3.2", "s)", "syn-drop", "2"] in lines
    assert ["3", "198.51.100.5", "silence", "passes"] in lines


def test_a_hostile_banner_does_not_reach_the_terminal() -> None:
    out = io.StringIO()
    hostile = view(session(banner="\x1b[2Jevil [bold]x[/bold]"))
    print_probe(open_console(out), hostile, diagnose(hostile))
    assert "\x1b" not in out.getvalue()
    assert "[bold]x[/bold]" in out.getvalue()
