"""What a client concludes from what it sees, on views made up."""

import pytest

from client_view_factory import ADDRESS, CONTROL, HOST, ROUTERS, refused, reset, session, silent, trace, view
from port25lab.model.evidence import Stage
from port25lab.model.mechanism import Mechanism
from port25lab.probe.ambiguous import INDISTINGUISHABLE, explain
from port25lab.probe.case import Diagnosis
from port25lab.probe.causes import Cause
from port25lab.probe.classify import classify, diagnose
from port25lab.probe.client_view import Answer, Certificate, ClientView, Step, Trace, hops_of
from port25lab.probe.places import Place


def found(seen: ClientView, port: int = 25) -> Diagnosis:
    diagnosis = classify(seen, port, 4)
    assert diagnosis is not None
    return diagnosis


def verdict(seen: ClientView, port: int = 25) -> tuple[frozenset[Mechanism], int | None]:
    diagnosis = found(seen, port)
    return diagnosis.candidates, diagnosis.hop


def test_a_syn_that_vanishes_behind_the_second_router_is_dropped_there() -> None:
    seen = view(silent(), reset(587), traces=(trace(25, 2), CONTROL))
    assert verdict(seen) == ({Mechanism.SYN_DROP}, 2)
    assert found(seen).router == ROUTERS[1]


def test_silence_at_the_door_is_either_drop() -> None:
    seen = view(silent(), reset(587), traces=(trace(25, 5), CONTROL))
    assert verdict(seen) == ({Mechanism.SYN_DROP, Mechanism.ANSWER_DROP}, None)


@pytest.mark.parametrize(
    ("control", "likeliest"),
    [
        (session(host="mx.example.org", address="192.0.2.29"), Mechanism.SYN_DROP),
        (silent(host="mx.example.org", address="192.0.2.29"), Mechanism.ANSWER_DROP),
    ],
)
def test_another_host_says_which_drop_is_likelier(control: object, likeliest: Mechanism) -> None:
    seen = view(silent(), reset(587), traces=(trace(25, 5), CONTROL), control="mx.example.org", controls=(control,))
    assert found(seen).mechanism is likeliest


def test_routers_that_keep_silent_leave_it_open_where() -> None:
    mute = Trace(
        host=HOST,
        address=ADDRESS,
        port=587,
        ip_version=4,
        steps=(Step(ttl=1, answer=Answer.EXPIRED, sender=ROUTERS[0]), Step(ttl=6, answer=Answer.RESET)),
    )
    diagnosis = found(view(silent(), reset(587), traces=(trace(25, 1), mute)))
    assert (diagnosis.mechanism, diagnosis.hop, diagnosis.until) == (Mechanism.SYN_DROP, 1, 6)
    assert diagnosis.alternatives == (Mechanism.ANSWER_DROP,)


def test_a_host_of_which_nothing_answers_proves_nothing() -> None:
    seen = view(silent(), silent(587), traces=(trace(25, 3), trace(587, 3)))
    assert verdict(seen)[0] == {
        Mechanism.SYN_DROP,
        Mechanism.ANSWER_DROP,
        Mechanism.NO_ROUTE,
        Mechanism.NO_ANSWER,
    }


def test_no_traceroute_no_place() -> None:
    assert verdict(view(silent(), reset(587)))[0] == {
        Mechanism.SYN_DROP,
        Mechanism.ANSWER_DROP,
        Mechanism.RATE_LIMIT,
    }


def test_an_icmp_error_names_its_sender() -> None:
    seen = view(refused(25, ROUTERS[1], 3, 13), reset(587), traces=(trace(25, 2, Answer.REFUSED, ROUTERS[1]), CONTROL))
    assert verdict(seen) == ({Mechanism.REJECT_ICMP}, 2)


def test_no_way_whatever_the_port_may_be_a_rule_all_the_same() -> None:
    sessions = [refused(port, ROUTERS[4], 3, 0, "ENETUNREACH") for port in (25, 587)]
    seen = view(*sessions, traces=tuple(trace(port, 4, Answer.REFUSED, ROUTERS[4]) for port in (25, 587)))
    assert verdict(seen) == ({Mechanism.NO_ROUTE, Mechanism.REJECT_ICMP}, 5)


def test_no_ipv6_here_is_no_block() -> None:
    seen = view(session(25, Stage.CONNECT, errno="ENETUNREACH"))
    assert verdict(seen) == ({Mechanism.NO_ROUTE}, 0)


def test_a_reset_from_half_way_is_none_of_the_destination() -> None:
    seen = view(reset(), reset(587), traces=(trace(25, 2, Answer.RESET), CONTROL))
    assert verdict(seen) == ({Mechanism.REJECT_RESET}, 2)


def test_a_reset_from_the_last_router_shows_in_its_ttl_alone() -> None:
    traces = (trace(25, 5, Answer.RESET), CONTROL)
    assert verdict(view(reset(), reset(587), traces=traces))[0] == {Mechanism.NO_LISTENER, Mechanism.REJECT_RESET}
    seen = view(reset(ttl=60), reset(587, ttl=59), traces=traces, raw=True)
    assert verdict(seen) == ({Mechanism.REJECT_RESET}, 5)
    assert verdict(view(reset(ttl=59), reset(587, ttl=59), traces=traces))[0] == {Mechanism.NO_LISTENER}


def test_connections_that_are_lost_after_the_first_one_meet_a_limit() -> None:
    seen = view(session(), reset(587), traces=(trace(25, 2), CONTROL), again=(silent(), silent()))
    assert verdict(seen) == ({Mechanism.RATE_LIMIT}, 2)


def test_one_lost_packet_is_no_limit() -> None:
    seen = view(session(), reset(587), traces=(trace(25, 5, Answer.ACCEPTED), CONTROL), again=(silent(), session()))
    assert verdict(seen)[0] == {Mechanism.NONE}


NEARER = (trace(25, 1, Answer.ACCEPTED), CONTROL)
"""Somebody at hop 2 takes connections to port 25."""

AS_FAR = (trace(25, 5, Answer.ACCEPTED), CONTROL)

GREETED = {
    Mechanism.REFUSING_GREETING: session(25, Stage.BANNER, smtp_code=554, reply="5.7.1 No", banner="5.7.1 No"),
    Mechanism.ACCEPT_CLOSE: session(25, Stage.BANNER, reply="the connection was closed"),
    Mechanism.TARPIT: session(25, Stage.BANNER, errno="ETIMEDOUT", heard=9, banner="220-Pleas", seconds=9.4),
    Mechanism.INTERCEPTION: session(),
}


@pytest.mark.parametrize("mechanism", GREETED)
def test_who_answers_from_nearer_by_is_not_the_server(mechanism: Mechanism) -> None:
    assert verdict(view(GREETED[mechanism], reset(587), traces=NEARER)) == ({mechanism}, 2)


@pytest.mark.parametrize(
    ("mechanism", "innocent"),
    [
        (Mechanism.REFUSING_GREETING, Mechanism.SERVER_REFUSAL),
        (Mechanism.ACCEPT_CLOSE, Mechanism.SERVER_REFUSAL),
        (Mechanism.TARPIT, Mechanism.NONE),
    ],
)
def test_from_where_the_server_is_it_may_be_the_server(mechanism: Mechanism, innocent: Mechanism) -> None:
    assert verdict(view(GREETED[mechanism], reset(587), traces=AS_FAR))[0] == {mechanism, innocent}


@pytest.mark.parametrize(
    ("mechanism", "innocent"),
    [
        (Mechanism.REFUSING_GREETING, Mechanism.SERVER_REFUSAL),
        (Mechanism.ACCEPT_CLOSE, Mechanism.SERVER_REFUSAL),
        (Mechanism.TARPIT, Mechanism.NONE),
        (Mechanism.INTERCEPTION, Mechanism.NONE),
    ],
)
def test_one_hop_before_the_server_it_may_be_its_own_front(mechanism: Mechanism, innocent: Mechanism) -> None:
    seen = view(GREETED[mechanism], reset(587), traces=(trace(25, 4, Answer.ACCEPTED), CONTROL))
    assert verdict(seen) == ({mechanism, innocent}, 5)


def test_a_certificate_proves_who_answers_from_wherever() -> None:
    proof = session(certificate=Certificate(sha256="0" * 64, names=(HOST,)))
    assert verdict(view(proof, reset(587), traces=NEARER))[0] == {Mechanism.NONE}


def test_a_forwarded_port_is_no_interception() -> None:
    """A home router's address is dialled: it resets 587, and the server stands behind it."""
    steps = [Step(ttl=hop, answer=Answer.EXPIRED, sender=ROUTERS[hop - 1]) for hop in range(1, 5)]
    steps += [Step(ttl=5, answer=Answer.EXPIRED, sender=ADDRESS), Step(ttl=6, answer=Answer.ACCEPTED)]
    behind = Trace(host=HOST, address=ADDRESS, port=25, ip_version=4, steps=tuple(steps))
    seen = view(session(), reset(587), traces=(behind, trace(587, 4, Answer.RESET)))
    assert verdict(seen)[0] == {Mechanism.NONE}
    assert verdict(seen, 587)[0] == {Mechanism.NO_LISTENER, Mechanism.REJECT_RESET}


def test_a_router_that_speaks_with_the_dialled_address_has_translated_it() -> None:
    steps = [Step(ttl=1, answer=Answer.EXPIRED, sender=ROUTERS[0])]
    steps += [Step(ttl=hop, answer=Answer.EXPIRED, sender=ADDRESS) for hop in (2, 3, 4, 5)]
    diverted = Trace(
        host=HOST,
        address=ADDRESS,
        port=25,
        ip_version=4,
        steps=(*steps, Step(ttl=6, answer=Answer.ACCEPTED)),
    )
    assert verdict(view(session(), reset(587), traces=(diverted, CONTROL))) == ({Mechanism.INTERCEPTION}, 2)


def test_two_hosts_of_one_greeting_are_suspect() -> None:
    twin = session(host="mx.example.org", address="192.0.2.29")
    seen = view(session(), reset(587), traces=AS_FAR, control="mx.example.org", controls=(twin,))
    assert verdict(seen)[0] == {Mechanism.INTERCEPTION, Mechanism.NONE}


def test_masks_are_seen_as_such() -> None:
    both = found(view(session(banner="*" * 30, keywords=("SIZE", "XXXXXXXA"), starttls=500)))
    assert (both.mechanism, both.also) == (Mechanism.STARTTLS_STRIPPING, (Mechanism.BANNER_MASKING,))
    assert found(view(session(banner="*" * 30))).mechanism is Mechanism.BANNER_MASKING


def test_starttls_that_works_unoffered_was_stripped() -> None:
    assert found(view(session(keywords=("SIZE",), starttls=220))).mechanism is Mechanism.STARTTLS_STRIPPING
    assert found(view(session(keywords=("SIZE",), starttls=502))).mechanism is Mechanism.NONE


def cut_trace(port: int, passed: int) -> Trace:
    return trace(port, passed, Answer.RESET)


def test_a_handshake_that_works_without_the_name_was_reset_for_the_name() -> None:
    broken = session(465, Stage.TLS, errno="ECONNRESET", nameless_tls=True)
    seen = view(broken, traces=(trace(465, 5, Answer.ACCEPTED),), cut_traces=(cut_trace(465, 2),))
    assert verdict(seen, 465) == ({Mechanism.SNI_RESET}, 2)


def test_a_session_is_cut_by_whom_the_words_reach() -> None:
    broken = session(587, Stage.EHLO, errno="ECONNRESET")
    traces = (trace(587, 5, Answer.ACCEPTED),)
    seen = view(broken, traces=traces, cut_traces=(cut_trace(587, 2),))
    assert verdict(seen, 587) == ({Mechanism.SESSION_CUT}, 2)
    seen = view(broken, traces=traces, cut_traces=(cut_trace(587, 5),))
    assert verdict(seen, 587)[0] == {Mechanism.SESSION_CUT, Mechanism.SERVER_REFUSAL}


def test_a_message_that_passes_in_small_packets_only() -> None:
    hung = session(25, Stage.DATA, errno="ETIMEDOUT", unacknowledged=True)
    small = hung.model_copy(update={"small_segments": "passed"})
    assert verdict(view(session(), deliveries=(small,)))[0] == {Mechanism.MTU_BLACK_HOLE}
    assert verdict(view(session(), deliveries=(hung,)))[0] == {Mechanism.SESSION_CUT, Mechanism.MTU_BLACK_HOLE}


@pytest.mark.parametrize(
    ("code", "words", "second", "mechanisms"),
    [
        (450, "4.7.1 Greylisted, come back later", 250, {Mechanism.GREYLISTING}),
        (450, "4.7.1 Greylisted, come back later", 450, {Mechanism.GREYLISTING, Mechanism.SERVER_REFUSAL}),
        (554, "5.7.1 Listed by dnsbl.example", None, {Mechanism.DNSBL_LISTING, Mechanism.SERVER_REFUSAL}),
        (550, "5.7.1 relay access denied", None, {Mechanism.SERVER_REFUSAL}),
    ],
)
def test_a_refused_recipient(code: int, words: str, second: int | None, mechanisms: set[Mechanism]) -> None:
    told = session(25, Stage.RCPT, smtp_code=code, reply=words, second_try=second)
    assert verdict(view(session(), deliveries=(told,)))[0] == mechanisms


def test_no_mail_server_at_all() -> None:
    odd = session(25, Stage.BANNER, heard=80, reply="no SMTP reply: 'SSH-2.0-OpenSSH'")
    assert verdict(view(odd))[0] == {Mechanism.UNKNOWN}


def test_a_name_that_does_not_resolve() -> None:
    assert verdict(ClientView(host="x.example", target="x.example", unresolved="no such name"))[0] == {
        Mechanism.NO_NAME
    }


def test_ports_that_were_not_probed_have_no_diagnosis() -> None:
    seen = view(session(), reset(587), traces=AS_FAR)
    assert classify(seen, 465, 4) is None
    assert [(diagnosis.port, diagnosis.ip_version) for diagnosis in diagnose(seen)] == [(25, 4), (587, 4)]


def test_how_far_a_packet_has_come() -> None:
    assert [hops_of(ttl) for ttl in (64, 59, 128, 120, 255, 250)] == [1, 6, 1, 9, 1, 6]


def test_every_doubt_has_a_reason_and_a_remedy() -> None:
    assert explain(frozenset({Mechanism.SYN_DROP, Mechanism.REJECT_RESET})) is None
    assert all(len(row.mechanisms) > 1 and row.when and row.reason and row.remedy for row in INDISTINGUISHABLE)


def test_a_reset_from_further_away_than_the_others_is_no_rule() -> None:
    """As root: what resets the other ports is nearer, and its TTL is not that of the destination."""
    seen = view(
        reset(ttl=59), reset(587, ttl=62), traces=(trace(25, 5, Answer.RESET), trace(587, 2, Answer.RESET)), raw=True
    )
    assert Mechanism.NO_LISTENER in found(seen).candidates
    assert found(seen).mechanism is not Mechanism.REJECT_RESET


def test_where_all_probed_ports_are_taken_at_one_hop_a_neutral_one_shows_the_distance() -> None:
    taken = tuple(trace(port, 1, Answer.ACCEPTED) for port in (25, 587))
    assert verdict(view(session(), session(587), traces=taken))[0] == {Mechanism.NONE}
    far = (trace(61025, 5, Answer.RESET),)
    assert verdict(view(session(), session(587), traces=taken, neutral_traces=far)) == ({Mechanism.INTERCEPTION}, 2)


def test_routers_behind_a_box_prove_that_it_is_not_the_server() -> None:
    """The neutral port is dropped at the destination: the routers on the way there are enough."""
    mute = (trace(61025, 5),)
    seen = view(session(), traces=(trace(25, 1, Answer.ACCEPTED),), neutral_traces=mute)
    assert verdict(seen) == ({Mechanism.INTERCEPTION}, 2)


def test_where_tcp_is_taken_on_every_port_datagrams_show_the_distance() -> None:
    taken = (trace(25, 1, Answer.ACCEPTED),)
    neutral = (trace(61025, 1, Answer.RESET),)
    far = (trace(33475, 5, Answer.REFUSED, ADDRESS),)
    seen = view(session(), traces=taken, neutral_traces=neutral, datagram_traces=far)
    assert verdict(seen) == ({Mechanism.INTERCEPTION}, 2)
    seen = view(
        reset(),
        traces=(trace(25, 2, Answer.RESET),),
        neutral_traces=(trace(61025, 2, Answer.RESET),),
        datagram_traces=far,
    )
    assert verdict(seen) == ({Mechanism.REJECT_RESET}, 2)


def test_a_server_under_another_name_is_suspect_where_nothing_shows_its_distance() -> None:
    other = session(
        banner="relay.isp.example ESMTP", certificate=Certificate(sha256="0" * 64, problem="Hostname mismatch")
    )
    seen = view(other, traces=(trace(25, 5, Answer.ACCEPTED),))
    assert found(seen).candidates == {Mechanism.NONE, Mechanism.INTERCEPTION}
    elsewhere = view(other, traces=seen.traces, banner_names={"relay.isp.example": ("198.51.100.25",)})
    assert found(elsewhere).mechanism is Mechanism.INTERCEPTION
    same = view(other, traces=seen.traces, banner_names={"relay.isp.example": (ADDRESS,)})
    assert found(same).candidates == {Mechanism.NONE}
    far = view(other, traces=seen.traces, neutral_traces=(trace(61025, 5, Answer.RESET),))
    assert found(far).candidates == {Mechanism.NONE}


def test_a_reset_right_after_the_handshake_is_a_connection() -> None:
    seen = view(session(25, Stage.BANNER, errno="ECONNRESET"), reset(587), traces=AS_FAR)
    assert verdict(seen)[0] == {Mechanism.ACCEPT_CLOSE, Mechanism.SERVER_REFUSAL}


def test_an_icmp_error_of_other_ports_may_be_missing_here() -> None:
    seen = view(silent(), refused(587, ADDRESS, 3, 3), traces=(trace(25, 5), trace(587, 5, Answer.REFUSED, ADDRESS)))
    assert Mechanism.REJECT_ICMP in found(seen).candidates


def test_a_host_of_which_nothing_answers_is_likelier_off_where_its_other_address_answers() -> None:
    six = session(address="2001:db8:25::25", ip_version=6)
    seen = view(silent(), silent(587), six, traces=(trace(25, 5), trace(587, 5)))
    assert found(seen).mechanism is Mechanism.NO_ANSWER


def test_the_control_does_not_contradict_the_hop() -> None:
    twin = session(host="mx.example.org", address="192.0.2.29")
    seen = view(silent(), reset(587), traces=(trace(25, 2), CONTROL), control="mx.example.org", controls=(twin,))
    assert verdict(seen) == ({Mechanism.SYN_DROP}, 2)
    assert "mx.example.org arrive" in found(seen).reason
    door = view(silent(), reset(587), traces=(trace(25, 5), CONTROL), control="mx.example.org", controls=(twin,))
    assert found(door).hop is None


def test_a_multi_line_refusal_keeps_its_cause_and_loses_its_codes() -> None:
    text = "5.7.25 [192.0.2.7] The sending IP does not have a\n5.7.25 PTR record, or it does not point back to it"
    refusal = session(25, Stage.RCPT, smtp_code=550, enhanced_code="5.7.25", reply=text)
    diagnosis = found(view(session(), deliveries=(refusal,)))
    assert diagnosis.cause is Cause.NO_PTR
    assert diagnosis.reason.count("5.7.25") == 1
    assert "does not have a PTR record" in diagnosis.reason


def test_a_router_without_a_route_may_be_silent_on_some_ports() -> None:
    """ICMP errors are limited in rate: the first of 587 came for a SYN with a great TTL, and none for 25."""
    steps = [Step(ttl=hop, answer=Answer.EXPIRED, sender=ROUTERS[hop - 1]) for hop in (1, 2)]
    late = Trace(
        host=HOST,
        address=ADDRESS,
        port=587,
        ip_version=4,
        steps=(*steps, Step(ttl=7, answer=Answer.REFUSED, sender=ROUTERS[2])),
    )
    seen = view(silent(), refused(587, ROUTERS[2], 3, 0), traces=(trace(25, 2), late))
    assert {Mechanism.NO_ROUTE, Mechanism.REJECT_ICMP} <= found(seen).candidates
    assert (found(seen).hop, found(seen).until) == (2, 3)
    assert explain(found(seen).candidates)


def test_routers_that_datagrams_pass_are_before_the_destination() -> None:
    """The destination itself answers no datagram."""
    taken = (trace(25, 1, Answer.ACCEPTED),)
    neutral = (trace(61025, 1, Answer.RESET),)
    seen = view(session(), traces=taken, neutral_traces=neutral, datagram_traces=(trace(33475, 5),))
    assert verdict(seen) == ({Mechanism.INTERCEPTION}, 2)


def test_no_way_is_one_although_some_ports_get_no_icmp_error() -> None:
    way = trace(25, 2, Answer.REFUSED, ROUTERS[2])
    seen = view(refused(25, ROUTERS[2], 3, 1), silent(587), traces=(way, trace(587, 2)))
    assert {Mechanism.NO_ROUTE, Mechanism.REJECT_ICMP} <= found(seen).candidates


def test_a_resolver_that_does_not_answer_says_nothing_of_the_name() -> None:
    nowhere = ClientView(host="x.example", target="x.example", unresolved="no answer", resolvers_silent=True)
    diagnosis = classify(nowhere, 25, 4)
    assert diagnosis is not None
    assert diagnosis.candidates == {Mechanism.NO_NAME, Mechanism.NAME_SERVICE}
    assert Place.SERVER not in (diagnosis.place, *diagnosis.places)
