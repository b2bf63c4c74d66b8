"""Interfaces, addresses and routes: the outputs of ``ip addr`` and ``ip route``, as text or as JSON.

Both forms become drafts of the same kind, and drafts become the model's values. BusyBox prints what iproute2 prints.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from port25lab.errors import InputError
from port25lab.model.addresses import IPAddress, IPInterface, IPNetwork
from port25lab.model.snapshot import SnapshotInterface, SnapshotRoute
from port25lab.scenario.snapshot_parts import Part

# --- interfaces


@dataclass
class InterfaceDraft:
    """What parts of a snapshot say of one interface."""

    name: str
    file: str
    line: int
    index: int | None = None
    mac: str | None = None
    parent: str | None = None
    """What stands behind the @: the interface under a VLAN, the other end of a veth pair, or its index."""
    kind: str | None = None
    addresses: list[IPInterface] = field(default_factory=list)
    peer: IPAddress | None = None
    master: str | None = None
    up: bool | None = None
    mtu: int | None = None
    slave: bool = False
    unread: list[tuple[int, str]] = field(default_factory=list)
    """Line and text of addresses that are none, such as those of which somebody hid a part."""

    def same_as(self, other: InterfaceDraft) -> bool:
        """Whether both may be one interface of one router."""
        both = ((self.index, other.index), (self.mac, other.mac))
        return all(mine is None or its is None or mine == its for mine, its in both)

    def add(self, other: InterfaceDraft) -> None:
        """Take what another output says of this interface."""
        self.index, self.mac = self.index or other.index, self.mac or other.mac
        self.parent = self.parent or other.parent
        self.kind, self.peer = self.kind or other.kind, self.peer or other.peer
        self.master = self.master or other.master
        self.slave = self.slave or other.slave
        self.up = other.up if self.up is None else self.up
        self.mtu = self.mtu or other.mtu
        self.unread += other.unread
        self.addresses += [address for address in other.addresses if address not in self.addresses]


def add_interfaces(drafts: dict[str, InterfaceDraft], part: Part, file: str) -> None:
    """Add those of one ``ip addr`` output. Raises InputError for those of another router."""
    found = _from_json(part, file) if part.data is not None else _from_text(part, file)
    for draft in found:
        known = drafts.setdefault(draft.name, draft)
        if known is draft:
            continue
        if not known.same_as(draft):
            raise InputError(
                f"another interface {draft.name} than that of {known.file}:{known.line}: two routers",
                allowed="the files of one router",
                file=file,
                line=draft.line,
            )
        known.add(draft)


def interfaces_of(drafts: dict[str, InterfaceDraft]) -> tuple[SnapshotInterface, ...]:
    """The interfaces, each with its kind as far as it is known."""
    for draft in list(drafts.values()):
        if draft.master in drafts and not draft.slave:
            drafts[draft.master].kind = drafts[draft.master].kind or "bridge"
    return tuple(
        SnapshotInterface(
            name=draft.name,
            kind=draft.kind or _kind(draft, drafts),
            addresses=tuple(draft.addresses),
            peer=draft.peer,
            master=None if draft.slave else draft.master,
            up=draft.up,
            mtu=draft.mtu,
        )
        for draft in drafts.values()
    )


_LINK_TYPES = {"loopback": "loopback", "ppp": "ppp", "sit": "sit", "ipip": "ipip", "gre": "gre", "tunnel6": "ip6tnl"}
_NAMES = (
    (re.compile(r"(?:docker|virbr|vmbr|lxcbr|lxdbr|cni)\d+|br-\S+|br\d+|fwbr\S+"), "bridge"),
    (re.compile(r"ppp\d+|ppp-\S+|pppoe-\S+"), "ppp"),
    (re.compile(r"wg\d+|wg-\S+"), "wireguard"),
    (re.compile(r"(?:tun|tap)\d+\S*"), "tun"),
    (re.compile(r"veth\S*"), "veth"),
    (re.compile(r"bond\d+"), "bond"),
)
_DETAILS = frozenset(
    [
        "vlan",
        "bridge",
        "veth",
        "tun",
        "ppp",
        "bond",
        "wireguard",
        "dummy",
        "macvlan",
        "ipvlan",
        "vxlan",
        "gre",
        "sit",
        "ifb",
        "vrf",
        "xfrm",
    ]
)


def _kind_by_name(name: str) -> str | None:
    return next((kind for sign, kind in _NAMES if sign.fullmatch(name)), None)


def _kind(draft: InterfaceDraft, drafts: dict[str, InterfaceDraft]) -> str | None:
    """The kind of an interface, from its name and what it stands on."""
    name, parent = draft.name, draft.parent
    if parent is None:
        return _kind_by_name(name)
    if parent in drafts and drafts[parent].parent == name:
        return "veth"
    if re.fullmatch(r"if\d+", parent):
        return _kind_by_name(name) or "veth"
    return "vlan" if name.startswith("vlan") or re.fullmatch(r"\S+\.\d+", name) else _kind_by_name(name)


_LINK = re.compile(r"(\d+): ([^\s@]+?)(?:@(\S+?))?: <([^>]*)>(.*)")
_ONE_LINE = re.compile(r"(\d+): +(\S+) +((?:inet6?|link).*)")
_BRIEF = re.compile(r"([^\s@]+)(?:@(\S+))? +(UP|DOWN|UNKNOWN|LOWERLAYERDOWN|DORMANT)\b(.*)")


def _from_text(part: Part, file: str) -> Iterator[InterfaceDraft]:
    draft: InterfaceDraft | None = None
    for number, line in part.lines:
        if link := _LINK.match(line):
            if draft is not None:
                yield draft
            index, name, parent, flags, rest = link.groups()
            draft = InterfaceDraft(name, file, number, int(index), up="UP" in flags.split(","))
            draft.slave = "SLAVE" in flags.split(",")
            draft.parent = parent
            words = rest.split()
            draft.mtu = _number(_after(words, "mtu"))
            draft.master = _after(words, "master")
        elif one := _ONE_LINE.match(line):
            if draft is None or draft.name != one.group(2):
                if draft is not None:
                    yield draft
                draft = InterfaceDraft(one.group(2), file, number, int(one.group(1)))
            _detail(draft, one.group(3).replace("\\", " ").split(), number)
        elif brief := _BRIEF.match(line):
            if draft is not None:
                yield draft
            name, parent, state, rest = brief.groups()
            draft = InterfaceDraft(name, file, number, up={"UP": True, "DOWN": False}.get(state))
            draft.parent = parent
            _brief_addresses(draft, rest.split(), number)
        elif draft is not None and line.split():
            _detail(draft, line.split(), number)
    if draft is not None:
        yield draft


def _brief_addresses(draft: InterfaceDraft, words: list[str], number: int) -> None:
    place = 0
    while place < len(words) and words[place][0] not in "<":
        if re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", words[place]):
            return  # `ip -br link`
        peer = words[place + 1 : place + 3] if words[place + 1 : place + 2] == ["peer"] else []
        _add_address(draft, [words[place], *peer], number)
        place += 1 + len(peer)
        while place < len(words) and words[place] in ("metric",):
            place += 2


def _detail(draft: InterfaceDraft, words: list[str], number: int) -> None:
    """A line below an interface's first."""
    if words[0] in ("inet", "inet6"):
        _add_address(draft, words[1:], number)
    elif words[0].startswith("link/"):
        draft.kind = draft.kind or _LINK_TYPES.get(words[0][5:])
        if words[0] == "link/ether" and len(words) > 1:
            draft.mac = words[1]
    elif words[0] in _DETAILS:
        draft.kind = words[0]


def _add_address(draft: InterfaceDraft, words: list[str], number: int) -> None:
    try:
        peer = words[words.index("peer") + 1] if "peer" in words else None
        draft.addresses.append(ipaddress.ip_interface(words[0]))
        if peer is not None:
            draft.peer = draft.peer or ipaddress.ip_interface(peer).ip
    except (ValueError, IndexError):
        draft.unread.append((number, " ".join(words[:3])))


def _from_json(part: Part, file: str) -> Iterator[InterfaceDraft]:
    number = part.lines[0][0]
    for entry in part.data or []:
        flags = _strings(entry.get("flags"))
        info = entry.get("linkinfo")
        draft = InterfaceDraft(str(entry["ifname"]), file, number, _number(entry.get("ifindex")))
        draft.up, draft.slave = ("UP" in flags if flags else None), "SLAVE" in flags
        draft.mtu, draft.master = _number(entry.get("mtu")), _text(entry.get("master"))
        draft.kind = _text(info.get("info_kind")) if isinstance(info, dict) else None
        parent = _text(entry.get("link"))
        draft.kind = draft.kind or _LINK_TYPES.get(str(entry.get("link_type")))
        draft.parent = parent or (f"if{entry['link_index']}" if "link_index" in entry else None)
        draft.mac = _text(entry.get("address")) if entry.get("link_type") == "ether" else None
        for said in entry.get("addr_info") or []:
            if isinstance(said, dict) and "local" in said:
                peer = ["peer", str(said["address"])] if "address" in said else []
                _add_address(draft, [f"{said['local']}/{said.get('prefixlen', '')}".rstrip("/"), *peer], number)
        yield draft


def _after(words: list[str], key: str) -> str | None:
    """The word behind a key."""
    return words[words.index(key) + 1] if key in words[:-1] else None


def _number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _strings(value: object) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


# --- routes


_ANY: dict[int, IPNetwork] = {4: ipaddress.IPv4Network("0.0.0.0/0"), 6: ipaddress.IPv6Network("::/0")}
_BLACKHOLES = frozenset({"blackhole", "unreachable", "prohibit"})
_NOT_MAIN = frozenset({"local", "broadcast", "anycast", "multicast", "throw", "nat"})
_MAIN_TABLES = ("main", "254", "all", "0")
_MADE_BY_ADDRESSES = (ipaddress.ip_network("fe80::/10"), ipaddress.ip_network("ff00::/8"))


@dataclass
class _RouteDraft:
    """A route in words: the same from text and from JSON."""

    line: int
    to: str
    kind: str = "unicast"
    via: str | None = None
    interface: str | None = None
    table: str | None = None
    metric: int = 0
    version: int | None = None
    """Where the entry tells it without an address."""


def routes_of(part: Part, file: str) -> list[SnapshotRoute]:
    """The routes of the main table in one ``ip route`` output, without those to link-local and multicast addresses.

    Of several next hops, the first is taken.

    Raises: InputError where a destination or a gateway is no address.
    """
    words = part.command.split()
    if _after(words, "table") not in (None, *_MAIN_TABLES):
        return []
    drafts = list(_json_routes(part) if part.data is not None else _text_routes(part))
    told = 6 if " -6" in part.command or part.command.startswith("ip -6") else 4 if "-4" in part.command else None
    versions = {version for draft in drafts if (version := _version(draft)) is not None}
    fallback = told or (versions.pop() if len(versions) == 1 else 4)
    routes = []
    for draft in drafts:
        if draft.kind in _NOT_MAIN or draft.table not in (None, *_MAIN_TABLES):
            continue
        try:
            route = _route(draft, fallback)
        except ValueError:
            raise InputError(
                f"the route to {draft.to!r} is none", allowed="what ip route prints", file=file, line=draft.line
            ) from None
        if not any(route.to.version == made.version and route.to.subnet_of(made) for made in _MADE_BY_ADDRESSES):  # type: ignore[arg-type]
            routes.append(route)
    return routes


def _version(draft: _RouteDraft) -> int | None:
    if draft.version is not None:
        return draft.version
    for text in (draft.to, draft.via):
        if text is not None and text != "default":
            return 6 if ":" in text else 4
    return None


def _route(draft: _RouteDraft, fallback: int) -> SnapshotRoute:
    version = _version(draft) or fallback
    to = _ANY[version] if draft.to == "default" else ipaddress.ip_network(draft.to, strict=False)
    return SnapshotRoute(
        to=to,
        via=ipaddress.ip_address(draft.via) if draft.via else None,
        interface=None if draft.kind in _BLACKHOLES else draft.interface,
        blackhole=draft.kind in _BLACKHOLES,
        metric=draft.metric,
    )


def _text_routes(part: Part) -> Iterator[_RouteDraft]:
    drafts: list[_RouteDraft] = []
    for number, line in part.lines:
        words = line.split()
        if line[0].isspace():
            if words[0] == "nexthop" and drafts and drafts[-1].via is None and drafts[-1].interface is None:
                _hop(drafts[-1], words)
            continue
        kind = words.pop(0) if words[0] not in ("default",) and not _numeric(words[0]) else "unicast"
        draft = _RouteDraft(number, words[0] if words else "", kind, table=_after(words, "table"))
        draft.metric = _number(_after(words, "metric")) or 0
        if "pref" in words or _after(words, "proto") == "ra":
            draft.version = 6
        _hop(draft, words)
        drafts.append(draft)
    return iter(drafts)


def _hop(draft: _RouteDraft, words: Iterable[str]) -> None:
    said = list(words)
    via = _after(said, "via")
    draft.via = _after(said, via) if via in ("inet", "inet6") else via
    draft.interface = _after(said, "dev")


def _numeric(word: str) -> bool:
    return word[0].isdigit() or ":" in word


def _json_routes(part: Part) -> Iterator[_RouteDraft]:
    number = part.lines[0][0]
    for entry in part.data or []:
        draft = _RouteDraft(number, str(entry["dst"]), str(entry.get("type", "unicast")))
        hops = [hop for hop in entry.get("nexthops") or [] if isinstance(hop, dict)]
        draft.via, draft.interface = _json_hop(entry if not hops else {**entry, **hops[0]})
        draft.table = str(entry["table"]) if "table" in entry else None
        draft.metric = _number(entry.get("metric")) or 0
        if "pref" in entry:
            draft.version = 6
        yield draft


def _json_hop(entry: dict[str, Any]) -> tuple[str | None, str | None]:
    via = entry.get("via")
    gateway = via.get("host") if isinstance(via, dict) else entry.get("gateway")
    return _text(gateway), _text(entry.get("dev"))
