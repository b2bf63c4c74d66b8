"""Mistakes in a topology that can be known before a lab starts: addresses, routes, and misspelt parameters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from port25lab.errors import InputError
from port25lab.model.addresses import IPAddress
from port25lab.model.plan import NOT_PUBLISHED, NodePlan, Plan

_ALIKE = 0.8
"""How like a known name another one is that is taken for a misspelt one. Mininet has parameters of its own."""


def require_spelt(names: Iterable[str], known: Iterable[str], where: str, file: Path) -> None:
    """Raise InputError for a parameter whose name is nearly a known one: Mininet would ignore it."""
    choices = sorted(known)
    for name in names:
        if name not in choices and (close := difflib.get_close_matches(name, choices, n=1, cutoff=_ALIKE)):
            raise InputError(f"{where}: unknown parameter {name!r}", allowed=f"did you mean '{close[0]}'?", file=file)


def require_prefix(address: object, where: str, file: Path) -> None:
    """Raise InputError for an address without the length of its network's prefix: it would be alone in its network."""
    if isinstance(address, str) and address and "/" not in address:
        length = 64 if ":" in address else 24
        raise InputError(
            f"{where}: the address {address} has no prefix", allowed=f"such as {address}/{length}", file=file
        )


def check_plan(plan: Plan) -> None:
    """Raise InputError for an address that two nodes have, and for a next hop that no link of a node leads to."""
    for group in _that_meet(plan):
        owners: dict[IPAddress, str] = {}
        for name, addresses in group:
            for address in addresses:
                other = owners.setdefault(address, name)
                if other != name:
                    what = f"nodes {other!r} and {name!r} have the address {address}"
                    raise InputError(what, allowed="an address for each", file=plan.file)
    for node in plan.nodes.values():
        for hop in _lost_hops(node):
            networks = ", ".join(str(own.network) for own in node.addresses if own.version == hop.version) or "none"
            what = f"node {node.name!r}: the next hop {hop} is on none of its links"
            raise InputError(what, allowed=f"an address in one of its networks: {networks}", file=plan.file)


def _that_meet(plan: Plan) -> Iterator[list[tuple[str, list[IPAddress]]]]:
    """Nodes whose addresses must differ, with these: all of them on the internet, and on each link those of any kind.

    Private addresses (RFC 1918) may be used again behind another router.
    """
    everywhere = ((node.name, [own.ip for own in node.addresses]) for node in plan.nodes.values())
    yield [(name, [ip for ip in ips if not any(ip in block for block in NOT_PUBLISHED)]) for name, ips in everywhere]
    for segment in plan.segments():
        yield [(name, [own.ip for own in owns]) for (name, _), owns in segment.items()]


def _lost_hops(node: NodePlan) -> Iterator[IPAddress]:
    """Next hops that are neither in a network of the node nor reached by a route straight to an interface."""
    near = [own.network for own in node.addresses]
    near += [route.to for route in node.routes if route.via is None and route.interface is not None]
    for route in node.routes:
        hop = route.via
        if hop is not None and not hop.is_link_local and not any(hop in network for network in near):
            yield hop
