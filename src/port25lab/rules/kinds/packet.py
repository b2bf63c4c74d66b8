"""Kinds of values in the packet's headers: TCP flags and options, ICMP types, service classes, extension headers."""

from __future__ import annotations

from typing import NamedTuple

from port25lab.rules.addresses import address_text, host, network
from port25lab.rules.services import protocol_name, protocol_number
from port25lab.rules.values import U8, U32, Context, Masked, Range, Read, RefusedError, bounded, masked

TCP_FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32}


def tcp_flags(text: str, _: Context) -> Read:
    """``MASK COMPARE``: of the flags in the first list exactly those in the second are set."""
    mask_text, _space, compare_text = text.partition(" ")
    mask, compare = _flags(mask_text), _flags(compare_text)
    return Read(Masked(compare, mask), f"{_flag_names(mask)} {_flag_names(compare)}")


def _flags(text: str) -> int:
    value = 0
    for name in filter(None, text.split(",")):
        upper = name.upper()
        if upper == "ALL":
            value |= 0x3F
        elif upper in TCP_FLAGS:
            value |= TCP_FLAGS[upper]
        elif upper != "NONE":
            raise RefusedError(f"Unknown TCP flag `{name}'")
    return value


def _flag_names(value: int) -> str:
    return ",".join(name for name, bit in TCP_FLAGS.items() if value & bit) or "NONE"


TOS_NAMES = {
    "minimize-delay": 0x10,
    "maximize-throughput": 0x08,
    "maximize-reliability": 0x04,
    "minimize-cost": 0x02,
    "normal-service": 0x00,
}


def tos(text: str, _: Context) -> Read:
    """``VALUE[/MASK]`` of the type-of-service byte; names leave the two ECN bits alone."""
    named = TOS_NAMES.get(text.lower())
    value = masked(text, U8) if named is None else Masked(named, 0x3F)
    return Read(value, f"0x{value.value:02x}/0x{value.mask:02x}")


DSCP_CLASSES = {
    **{f"cs{number}": number * 8 for number in range(8)},
    "be": 0,
    **{f"af{row}{column}": row * 8 + column * 2 for row in range(1, 5) for column in range(1, 4)},
    "ef": 0x2E,
}


def dscp_class(text: str, _: Context) -> Read:
    """A name of a DSCP class, printed as its number."""
    for name, value in DSCP_CLASSES.items():
        if text.lower().startswith(name):
            return Read(value, f"0x{value:02x}")
    raise RefusedError(f"Invalid DSCP value `{text}'")


class IcmpType(NamedTuple):
    """A type of ICMP and its codes."""

    type: int
    codes: Range


def _icmp(text: str, names: dict[str, tuple[int, int | None]]) -> IcmpType:
    hits = [value for name, value in names.items() if text and name.startswith(text.lower())]
    exact = names.get(text.lower())
    if exact or len(set(hits)) == 1:
        kind, code = exact or hits[0]
        return IcmpType(kind, Range(0, U8) if code is None else Range(code, code))
    if hits:
        raise RefusedError(f"Ambiguous ICMP type `{text}'")
    kind_text, slash, code_text = text.partition("/")
    kind = bounded(kind_text, 0, U8)
    if not slash:
        return IcmpType(kind, Range(0, U8))
    low_text, colon, high_text = code_text.partition(":")
    low = bounded(low_text, 0, U8)
    return IcmpType(kind, Range(low, bounded(high_text, 0, U8) if colon else low))


def _codes(kind: int, *names: str) -> dict[str, tuple[int, int | None]]:
    return {name: (kind, code) for code, name in enumerate(names) if name}


ICMP_TYPES: dict[str, tuple[int, int | None]] = {
    "any": (255, None), "echo-reply": (0, None), "pong": (0, None), "destination-unreachable": (3, None),
    **_codes(
        3, "network-unreachable", "host-unreachable", "protocol-unreachable", "port-unreachable",
        "fragmentation-needed", "source-route-failed", "network-unknown", "host-unknown", "", "network-prohibited",
        "host-prohibited", "TOS-network-unreachable", "TOS-host-unreachable", "communication-prohibited",
        "host-precedence-violation", "precedence-cutoff",
    ),
    "source-quench": (4, None), "redirect": (5, None),
    **_codes(5, "network-redirect", "host-redirect", "TOS-network-redirect", "TOS-host-redirect"),
    "echo-request": (8, None), "ping": (8, None), "router-advertisement": (9, None),
    "router-solicitation": (10, None), "time-exceeded": (11, None), "ttl-exceeded": (11, None),
    **_codes(11, "ttl-zero-during-transit", "ttl-zero-during-reassembly"),
    "parameter-problem": (12, None), **_codes(12, "ip-header-bad", "required-option-missing"),
    "timestamp-request": (13, None), "timestamp-reply": (14, None), "address-mask-request": (17, None),
    "address-mask-reply": (18, None),
}  # fmt: skip

ICMP_TYPES = {name.lower(): value for name, value in ICMP_TYPES.items()}

ICMPV6_TYPES: dict[str, tuple[int, int | None]] = {
    "destination-unreachable": (1, None),
    **_codes(1, "no-route", "communication-prohibited", "beyond-scope", "address-unreachable", "port-unreachable",
             "failed-policy", "reject-route"),
    "packet-too-big": (2, None), "time-exceeded": (3, None), "ttl-exceeded": (3, None),
    **_codes(3, "ttl-zero-during-transit", "ttl-zero-during-reassembly"),
    "parameter-problem": (4, None), **_codes(4, "bad-header", "unknown-header-type", "unknown-option"),
    "echo-request": (128, None), "ping": (128, None), "echo-reply": (129, None), "pong": (129, None),
    "router-solicitation": (133, None), "router-advertisement": (134, None), "neighbour-solicitation": (135, None),
    "neighbor-solicitation": (135, None), "neighbour-advertisement": (136, None),
    "neighbor-advertisement": (136, None), "redirect": (137, None),
}  # fmt: skip


def icmp_type(text: str, _: Context) -> Read:
    """A type of ICMP, with a code or all; type 255 stands for every type."""
    value = _icmp(text, ICMP_TYPES)
    if value.type == U8:
        return Read(value, "any")
    shown = f"{value.type}" if value.codes == (0, U8) else f"{value.type}/{value.codes.low}"
    return Read(value, shown)


def icmpv6_type(text: str, _: Context) -> Read:
    """A type of ICMPv6, with a code or all."""
    value = _icmp(text, ICMPV6_TYPES)
    shown = f"{value.type}" if value.codes == (0, U8) else f"{value.type}/{value.codes.low}"
    return Read(value, shown)


class AddressRange(NamedTuple):
    """From one address to another, both included."""

    version: int
    low: int
    high: int

    def __contains__(self, address: object) -> bool:
        return self.low <= int(address) <= self.high  # type: ignore[call-overload,no-any-return]


def address_range(text: str, context: Context) -> Read:
    """``FROM-TO``; one address is both."""
    first, dash, last = text.partition("-")
    low = host(first, context).value
    high = host(last, context).value if dash else low
    version = low.version
    return Read(
        AddressRange(version, int(low), int(high)),
        f"{address_text(int(low), version)}-{address_text(int(high), version)}",
    )


SCTP_CHUNKS = {
    "DATA": (0, "----IUBE"), "INIT": (1, ""), "INIT_ACK": (2, ""), "SACK": (3, ""), "HEARTBEAT": (4, ""),
    "HEARTBEAT_ACK": (5, ""), "ABORT": (6, "-------T"), "SHUTDOWN": (7, ""), "SHUTDOWN_ACK": (8, ""),
    "ERROR": (9, ""), "COOKIE_ECHO": (10, ""), "COOKIE_ACK": (11, ""), "ECN_ECNE": (12, ""), "ECN_CWR": (13, ""),
    "SHUTDOWN_COMPLETE": (14, "-------T"), "I_DATA": (64, "----IUBE"), "RE_CONFIG": (130, ""), "PAD": (132, ""),
    "ASCONF": (193, ""), "ASCONF_ACK": (128, ""), "FORWARD_TSN": (192, ""), "I_FORWARD_TSN": (194, ""),
}  # fmt: skip


def sctp_chunks(text: str, _: Context) -> Read:
    """``any|all|only CHUNK[:flags][,…]``."""
    how, _space, listed = text.partition(" ")
    if how.lower() not in ("any", "all", "only"):
        raise RefusedError('--chunk-types requires "any", "all" or "only"')
    if listed.upper() in ("ALL", "NONE"):
        return Read((how.lower(), listed.upper()), f"{how.lower()} {listed.upper()}")
    shown: dict[int, str] = {}
    for part in listed.split(","):
        name, colon, flags = part.partition(":")
        if name.upper() not in SCTP_CHUNKS:
            raise RefusedError(f"Unknown sctp chunk `{name}'")
        code, valid = SCTP_CHUNKS[name.upper()]
        kept = "".join(flag for place in valid for flag in flags if flag.upper() == place)
        shown[code] = name.upper() + (f":{kept}" if colon and kept else "")
    words = ",".join(shown[code] for code in sorted(shown))
    return Read((how.lower(), words), f"{how.lower()} {words}")


MH_TYPES = {
    "binding-refresh-request": 0, "brr": 0, "home-test-init": 1, "hoti": 1, "careof-test-init": 2, "coti": 2,
    "home-test": 3, "hot": 3, "careof-test": 4, "cot": 4, "binding-update": 5, "bu": 5,
    "binding-acknowledgement": 6, "ba": 6, "binding-error": 7, "be": 7,
}  # fmt: skip


def mobility_type(text: str, _: Context) -> Read:
    """A type of mobility header, or a range of them, by number or name."""

    def one(part: str) -> int:
        hits = [kind for name, kind in MH_TYPES.items() if name.startswith(part.lower())]
        return MH_TYPES.get(part.lower(), hits[0] if hits else -1) if not part.isdigit() else bounded(part, 0, U8)

    first, colon, last = text.partition(":")
    low = one(first) if first else 0
    high = (one(last) if last else U8) if colon else low
    if not 0 <= low <= high:
        raise RefusedError(f"Invalid MH type `{text}'")
    return Read(Range(low, high), f"{low}" if low == high else f"{low}:{high}")


def header_options(text: str, _: Context) -> Read:
    """Options of an IPv6 extension header: ``TYPE[:LENGTH][,…]``."""
    shown = []
    for part in text.split(","):
        kind, colon, length = part.partition(":")
        low = bounded(kind, 0, U32) & U8
        if colon and not low:
            raise RefusedError("PAD0 hasn't got length")
        shown.append(f"{low}:{bounded(length, 0, U32) & U8}" if colon else f"{low}")
    return Read(tuple(shown), ",".join(shown))


def address_list(text: str, context: Context) -> Read:
    """Addresses of a routing header."""
    found = [host(part, context) for part in text.split(",")]
    return Read(tuple(one.value for one in found), ",".join(one.text for one in found))


EXTENSION_HEADERS = {"hop-by-hop": "hop", "protocol": "prot", "ipv6-opts": "dst", "ipv6-route": "route",
                     "ipv6-frag": "frag", "ipv6-nonxt": "none"}  # fmt: skip

_HEADER_NUMBERS = {0: "hop-by-hop", 255: "protocol", 60: "ipv6-opts", 43: "ipv6-route", 44: "ipv6-frag", 51: "ah",
                   50: "esp", 59: "ipv6-nonxt"}  # fmt: skip


def extension_headers(text: str, _: Context) -> Read:
    """IPv6 extension headers by name or number."""
    canonical = {**{short: name for name, short in EXTENSION_HEADERS.items()}, "auth": "ah", "proto": "protocol",
                 **{name: name for name in [*EXTENSION_HEADERS, "ah", "esp"]}}  # fmt: skip
    found = set()
    for part in text.split(","):
        name = _HEADER_NUMBERS.get(int(part), "") if part.isdigit() else canonical.get(part.lower(), "")
        if not name:
            raise RefusedError(f"unknown header `{part}' specified")
        found.add(name)
    order = ["hop-by-hop", "ipv6-opts", "ipv6-route", "ipv6-frag", "ah", "esp", "ipv6-nonxt", "protocol"]
    return Read(frozenset(found), ",".join(name for name in order if name in found))


TCP_OPTIONS = {"mss": 2, "wscale": 3, "sack-permitted": 4, "sack": 5, "timestamp": 8, "md5": 19}


def tcp_options(text: str, _: Context) -> Read:
    """Numbers or names of TCP options, printed as numbers in order."""
    if {"0", "1"} & set(text.split(",")):
        raise RefusedError("Option value may not be 0 or 1")
    found = sorted(
        {TCP_OPTIONS.get(part, -1) if part in TCP_OPTIONS else bounded(part, 0, U8) for part in text.split(",")}
    )
    return Read(frozenset(found), ",".join(map(str, found)))


def named_protocol(text: str, context: Context) -> Read:
    """A protocol that is printed by name where it has one."""
    value = protocol_number(text.lower())
    return Read(value, protocol_name(value) or str(value))


def full_network(text: str, context: Context) -> Read:
    """A network that is always printed with its length."""
    return network(text, context.family, True)[0]


def unmasked_network(text: str, context: Context) -> Read:
    """A network whose address keeps the bits behind its mask, always printed with its length."""
    value = network(text, context.family, True)[0]
    name, slash, _ = text.rpartition("/")
    shown = host(name if slash else text, context).text
    return Read(value.value, f"{shown}/{value.text.rpartition('/')[2]}")
