"""Whether a match holds for a packet: yes, no, or not known.

One row for each option that a packet can answer. An option that has no row (a rate, a list, a time) is not known.
Options of one match all hold together; ``!`` turns one round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from port25lab.rules.addresses import interface_matches
from port25lab.rules.model import HEADER, Match, Option
from port25lab.rules.packet import Packet, Sets

Answer = bool | None
Test = Callable[[Any, Packet], Answer]


def answer(match: Match, packet: Packet, sets: Sets) -> Answer:
    """Whether a match holds; None if the packet does not tell."""
    if match.opaque:
        return None
    module = match.module
    if module == "set":
        return _in_set(match, packet, sets)
    tests = TESTS.get(module)
    if tests is None:
        return None
    if module in _FIRST_FRAGMENT and packet.fragment_offset:
        return False
    if module in _CONNECTION and packet.state in NO_CONNECTION:
        # Without a connection only its state is asked, and all else does not match, turned round or not.
        stated = match.option("ctstate") or match.option("state")
        return False if stated is None else _option(stated, tests, packet)
    result: Answer = True
    for option in match.options:
        one = _option(option, tests, packet)
        if one is False:
            return False
        if one is None:
            result = None
    return result


def _option(option: Option, tests: dict[str, Test], packet: Packet) -> Answer:
    test = tests.get(option.name)
    if test is None:
        return None
    one = test(option.value, packet)
    return one if one is None or not option.negated else not one


def _in_set(match: Match, packet: Packet, sets: Sets) -> Answer:
    tested = match.option("match-set")
    others = {option.name for option in match.options} - {"match-set", "update-counters", "update-subcounters"}
    if tested is None or others:
        return None
    found = sets(tested.value.name, tested.value.ends, packet)
    return found if found is None or not tested.negated else not found


def _within(field: str) -> Test:
    """The packet's field lies in the value: a network, a range, a masked number, a set of names."""

    def test(value: Any, packet: Packet) -> Answer:
        seen = getattr(packet, field)
        return None if seen is None else seen in value

    return test


def _equal(field: str) -> Test:
    def test(value: Any, packet: Packet) -> Answer:
        seen = getattr(packet, field)
        return None if seen is None else seen == value

    return test


def _below(field: str) -> Test:
    def test(value: Any, packet: Packet) -> Answer:
        seen = getattr(packet, field)
        return None if seen is None else seen < value

    return test


def _above(field: str) -> Test:
    def test(value: Any, packet: Packet) -> Answer:
        seen = getattr(packet, field)
        return None if seen is None else seen > value

    return test


def _interface(field: str) -> Test:
    def test(value: Any, packet: Packet) -> Answer:
        seen = getattr(packet, field)
        return None if seen is None else bool(seen) and interface_matches(value, seen)

    return test


def _in_any(field: str, *others: str) -> Test:
    def test(value: Any, packet: Packet) -> Answer:
        seen = [getattr(packet, name) for name in (field, *others)]
        if any(number is not None and any(number in one for one in value) for number in seen):
            return True
        return None if None in seen else False

    return test


def _protocol(value: Any, packet: Packet) -> Answer:
    return None if packet.protocol is None else packet.protocol == value


def _later_fragment(_: Any, packet: Packet) -> Answer:
    return packet.fragment_offset != 0


def _tcp_option(value: Any, packet: Packet) -> Answer:
    return None if packet.tcp_options is None else value in packet.tcp_options


def _icmp(value: Any, packet: Packet) -> Answer:
    if value.type == 255 and packet.family == "ip":
        return True
    if packet.icmp is None:
        return None
    return packet.icmp[0] == value.type and packet.icmp[1] in value.codes


def _mss(value: Any, packet: Packet) -> Answer:
    return None if packet.mss is None else packet.mss in value


def _state(value: Any, packet: Packet) -> Answer:
    if packet.state in value:
        return True
    translated = value & {"SNAT", "DNAT"}
    if translated and packet.status is None:
        return None
    if translated and packet.status is not None and translated & packet.status:
        return True
    return None if packet.state is None else False


def _status(value: Any, packet: Packet) -> Answer:
    if packet.status is None:
        return None
    return bool(value & packet.status) if value else not packet.status - {"NONE", "SNAT", "DNAT"}


def _dscp(value: Any, packet: Packet) -> Answer:
    return None if packet.tos is None else packet.tos >> 2 == value


def _ect(value: Any, packet: Packet) -> Answer:
    return None if packet.tos is None else packet.tos & 3 == value


def _source_type(value: Any, packet: Packet) -> Answer:
    return None if packet.source_type is None else packet.source_type in value


def _destination_type(value: Any, packet: Packet) -> Answer:
    return None if packet.destination_type is None else packet.destination_type in value


def _bridged(_: Any, packet: Packet) -> Answer:
    if packet.bridge_in is None or packet.bridge_out is None:
        return None
    return bool(packet.bridge_in and packet.bridge_out)


def _there(field: str) -> Test:
    def test(_: Any, packet: Packet) -> Answer:
        seen = getattr(packet, field)
        return None if seen is None else bool(seen)

    return test


def _pattern(value: Any, packet: Packet) -> Answer:
    return None if packet.payload is None else value in packet.payload


def _always(_: Any, packet: Packet) -> Answer:
    return True


NO_CONNECTION = frozenset({"INVALID", "UNTRACKED"})
"""States of packets that belong to no connection."""

_CONNECTION = frozenset({"conntrack", "state", "connmark"})
_PORTS: dict[str, Test] = {"sport": _within("source_port"), "dport": _within("destination_port")}
_FIRST_FRAGMENT = frozenset({"tcp", "udp", "sctp", "dccp", "icmp", "icmp6", "multiport", "tcpmss"})

TESTS: dict[str, dict[str, Test]] = {
    HEADER: {
        "source": _within("source"), "destination": _within("destination"), "protocol": _protocol,
        "in-interface": _interface("in_interface"), "out-interface": _interface("out_interface"),
        "fragments": _later_fragment,
    },
    "tcp": {**_PORTS, "tcp-flags": _within("tcp_flags"), "tcp-option": _tcp_option},
    "udp": _PORTS,
    "sctp": _PORTS,
    "dccp": _PORTS,
    "multiport": {
        "sports": _in_any("source_port"), "dports": _in_any("destination_port"),
        "ports": _in_any("source_port", "destination_port"),
    },
    "tcpmss": {"mss": _mss},
    "icmp": {"icmp-type": _icmp},
    "icmp6": {"icmpv6-type": _icmp},
    "conntrack": {"ctstate": _state, "ctstatus": _status, "ctdir": _equal("direction"), "ctproto": _protocol},
    "state": {"state": _state},
    "mark": {"mark": _within("mark")},
    "connmark": {"mark": _within("connmark")},
    "iprange": {"src-range": _within("source"), "dst-range": _within("destination")},
    "ttl": {"ttl-eq": _equal("ttl"), "ttl-lt": _below("ttl"), "ttl-gt": _above("ttl")},
    "hl": {"hl-eq": _equal("ttl"), "hl-lt": _below("ttl"), "hl-gt": _above("ttl")},
    "tos": {"tos": _within("tos")},
    "dscp": {"dscp": _dscp},
    "ecn": {"ecn-ip-ect": _ect},
    "length": {"length": _within("length")},
    "mac": {"mac-source": _equal("mac_source")},
    "owner": {"uid-owner": _within("user"), "gid-owner": _within("group")},
    "pkttype": {"pkt-type": _equal("packet_type")},
    "addrtype": {"src-type": _source_type, "dst-type": _destination_type},
    "physdev": {
        "physdev-in": _interface("bridge_in"), "physdev-out": _interface("bridge_out"),
        "physdev-is-in": _there("bridge_in"), "physdev-is-out": _there("bridge_out"), "physdev-is-bridged": _bridged,
    },
    "string": {"string": _pattern, "hex-string": _pattern, "algo": _always},
    "comment": {"comment": _always},
}  # fmt: skip
"""For each module the options that a packet can answer."""
