"""Whose stretch of the way a diagnosis is about."""

from __future__ import annotations

from typing import Any

from client_view_factory import ADDRESS, CONTROL, HOST, ROUTERS, refused, reset, session, silent, trace, view
from port25lab.model.evidence import IcmpError, Stage
from port25lab.model.mechanism import Mechanism
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import classify
from port25lab.probe.client_view import Answer, Certificate, OwnMachine, Session, Step, Trace
from port25lab.probe.places import Place

HOME = OwnMachine(addresses=("192.168.1.10",))
RENTED = OwnMachine(addresses=("198.51.100.9",))
CLOUD = OwnMachine(addresses=("10.0.1.30",), metadata=True)


def found(one: Session, way: Trace | None = None, own: OwnMachine = HOME, **more: Any) -> Diagnosis:
    more = {"traces": (*([way] if way else []), CONTROL)} | more
    diagnosis = classify(view(one, reset(587), own=own, **more), one.port, one.ip_version)
    assert diagnosis is not None
    return diagnosis


def places(diagnosis: Diagnosis) -> set[Place | None]:
    return {diagnosis.place, *diagnosis.places}


def test_what_works_has_no_place() -> None:
    assert places(found(session(), trace(25, 5, Answer.ACCEPTED))) == {None}


def test_the_kernel_proves_what_this_machine_does_itself() -> None:
    own = IcmpError(sender="192.168.1.10", ip_version=4, type=3, code=3)
    proven = {
        Mechanism.SYN_DROP: silent(unsent=True),
        Mechanism.ANSWER_DROP: silent(unsent=False, discarded=True),
        Mechanism.REJECT_RESET: reset(local_answer=True),
        Mechanism.REJECT_ICMP: reset(icmp=own),
        Mechanism.INTERCEPTION: session(local_peer=True),
        Mechanism.REFUSING_GREETING: session(25, Stage.BANNER, smtp_code=554, reply="No", banner="No", local_peer=True),
    }
    for mechanism, one in proven.items():
        diagnosis = found(one, trace(25, 0, Answer.ACCEPTED if one.connected else Answer.SILENT))
        assert (diagnosis.mechanism, diagnosis.place, diagnosis.places) == (mechanism, Place.OWN_MACHINE, ())
        assert diagnosis.hop == 0
        assert diagnosis.place_reason


def test_a_proxy_of_this_machine_is_one_although_its_certificate_is_trusted() -> None:
    trusted = session(465, local_peer=True, certificate=Certificate(sha256="0" * 64))
    assert found(trusted, trace(465, 0, Answer.ACCEPTED)).place is Place.OWN_MACHINE


def test_who_probes_itself_is_not_intercepted() -> None:
    itself = OwnMachine(addresses=(ADDRESS,))
    assert found(session(local_peer=True), trace(25, 0, Answer.ACCEPTED), own=itself).mechanism is Mechanism.NONE


def test_silence_at_the_first_router_may_begin_on_this_machine_unless_the_kernel_denies_it() -> None:
    assert Place.OWN_MACHINE in places(found(silent(), trace(25, 0)))
    assert Place.OWN_MACHINE not in places(found(silent(unsent=False, discarded=False), trace(25, 0)))
    assert Place.OWN_ROUTER in places(found(silent(unsent=False, discarded=False), trace(25, 0)))


def test_the_first_router_is_ones_own_or_a_platforms() -> None:
    way = trace(25, 1, Answer.REFUSED, ROUTERS[0])
    assert found(refused(25, ROUTERS[0], 3, 13), way).place is Place.OWN_ROUTER
    assert places(found(refused(25, ROUTERS[0], 3, 13), way)) == {Place.OWN_ROUTER, Place.PLATFORM}
    assert found(refused(25, ROUTERS[0], 3, 13), way, own=RENTED).place is Place.PLATFORM
    assert places(found(refused(25, ROUTERS[0], 3, 13), way, own=CLOUD)) == {Place.PLATFORM}


def test_around_a_real_machine_at_home_there_is_no_platform() -> None:
    own = OwnMachine(addresses=("192.168.1.10",), physical=True)
    first = found(refused(25, ROUTERS[0], 3, 13), trace(25, 1, Answer.REFUSED, ROUTERS[0]), own=own)
    second = found(silent(), trace(25, 2), own=own)
    assert (first.place, first.places) == (Place.OWN_ROUTER, ())
    assert (second.place, second.places) == (Place.ACCESS_NETWORK, ())
    assert Place.PLATFORM not in places(found(silent(), trace(25, 5), own=own))
    rented = OwnMachine(addresses=("198.51.100.9",), physical=True)
    assert Place.PLATFORM in places(found(silent(), trace(25, 2), own=rented))


def test_a_router_that_filters_as_packets_come_in_is_the_next_one() -> None:
    assert places(found(silent(), trace(25, 1))) == {Place.OWN_ROUTER, Place.PLATFORM, Place.ACCESS_NETWORK}


def test_routers_that_keep_silent_leave_every_place_between_open() -> None:
    mute = Trace(
        host=HOST,
        address=ADDRESS,
        port=587,
        ip_version=4,
        steps=(Step(ttl=2, answer=Answer.EXPIRED, sender=ROUTERS[1]), Step(ttl=6, answer=Answer.RESET)),
    )
    diagnosis = found(silent(), trace(25, 0), traces=(trace(25, 0), mute))
    assert places(diagnosis) == {Place.OWN_MACHINE, Place.OWN_ROUTER, Place.PLATFORM, Place.ACCESS_NETWORK}


def test_near_the_server_it_is_the_receivers() -> None:
    refusal = refused(25, ROUTERS[4], 3, 13)
    assert places(found(refusal, trace(25, 5, Answer.REFUSED, ROUTERS[4]))) == {Place.BEFORE_THE_SERVER}
    by_itself = refused(25, ADDRESS, 3, 3)
    assert places(found(by_itself, trace(25, 5, Answer.REFUSED, ADDRESS))) == {Place.SERVER}


def test_behind_silent_routers_it_may_be_the_server_as_well() -> None:
    far = Trace(
        host=HOST,
        address=ADDRESS,
        port=587,
        ip_version=4,
        steps=(Step(ttl=3, answer=Answer.EXPIRED, sender=ROUTERS[2]), Step(ttl=6, answer=Answer.RESET)),
    )
    diagnosis = found(silent(), trace(25, 3), traces=(trace(25, 3), far))
    assert places(diagnosis) >= {Place.ACCESS_NETWORK, Place.BEFORE_THE_SERVER, Place.SERVER}


def test_in_the_middle_it_may_be_either_sides_unless_the_way_to_the_control_has_the_same_router() -> None:
    refusal, way = refused(25, ROUTERS[3], 3, 13), trace(25, 4, Answer.REFUSED, ROUTERS[3])
    assert places(found(refusal, way)) == {Place.ACCESS_NETWORK, Place.PLATFORM, Place.BEFORE_THE_SERVER}
    twin = session(host="mx.example.org", address="192.0.2.29")
    there = trace(25, 5, Answer.ACCEPTED, host="mx.example.org")
    more = {"traces": (way, CONTROL, there), "controls": (twin,), "control": twin.host}
    assert places(found(refusal, way, **more)) == {Place.ACCESS_NETWORK, Place.PLATFORM}


def test_silence_at_the_door_may_be_anybodys_and_likelier_the_receivers_where_the_control_answers() -> None:
    alone = found(silent(unsent=False, discarded=False), trace(25, 5))
    assert places(alone) == set(Place) - {Place.RESOLVER, Place.OWN_MACHINE}
    twin = session(host="mx.example.org", address="192.0.2.29")
    beside = found(silent(), trace(25, 5), control=twin.host, controls=(twin,))
    assert beside.place is Place.BEFORE_THE_SERVER


def test_a_server_that_closes_is_the_server_or_what_stands_before_it() -> None:
    closed = session(25, Stage.BANNER, errno="ECONNRESET")
    diagnosis = found(closed, trace(25, 5, Answer.ACCEPTED))
    assert (diagnosis.place, diagnosis.places) == (Place.SERVER, (Place.BEFORE_THE_SERVER,))
    refusal = session(25, Stage.RCPT, smtp_code=550, reply="5.7.1 No PTR")
    assert found(session(), trace(25, 5, Answer.ACCEPTED), deliveries=(refusal,)).place is Place.SERVER


def test_a_machine_with_ipv4_alone_has_no_fault() -> None:
    six = session(25, Stage.CONNECT, errno="ENETUNREACH", address="2001:db8:25::25", ip_version=6)
    four = session()
    diagnosis = classify(view(four, six, own=HOME), 25, 6)
    assert diagnosis is not None and (diagnosis.mechanism, diagnosis.place) == (Mechanism.NO_ROUTE, None)
    alone = classify(view(six, own=HOME), 25, 6)
    assert alone is not None and alone.place is Place.OWN_MACHINE


def test_a_gateway_that_does_not_answer_is_no_rule_of_this_machine() -> None:
    own = IcmpError(sender="192.168.1.10", ip_version=4, type=3, code=1)
    ways = [session(port, Stage.CONNECT, errno="EHOSTUNREACH", icmp=own) for port in (25, 587)]
    diagnosis = classify(view(*ways, own=HOME), 25, 4)
    assert diagnosis is not None
    assert diagnosis.mechanism is Mechanism.NO_ROUTE
    assert diagnosis.place is Place.OWN_ROUTER
    rule = classify(view(ways[0], reset(587), own=HOME), 25, 4)
    assert rule is not None and (rule.mechanism, rule.place) == (Mechanism.REJECT_ICMP, Place.OWN_MACHINE)


def test_as_root_rules_about_users_are_found() -> None:
    user = silent(unsent=True)
    diagnosis = found(session(), trace(25, 5, Answer.ACCEPTED), as_user=(user,))
    assert (diagnosis.mechanism, diagnosis.place, diagnosis.places) == (Mechanism.SYN_DROP, Place.OWN_MACHINE, ())
    far = silent(unsent=False)
    assert found(session(), trace(25, 5, Answer.ACCEPTED), as_user=(far,)).mechanism is Mechanism.NONE


def test_a_silent_host_beside_silent_routers_begins_at_the_first_router() -> None:
    seen = view(silent(), silent(587), own=HOME, traces=(trace(25, 0), trace(587, 0)))
    diagnosis = classify(seen, 25, 4)
    assert diagnosis is not None and Place.OWN_ROUTER in places(diagnosis)
