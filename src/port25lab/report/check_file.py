"""What ``check`` adds to the JSON of results: what the mirror stands for, and its findings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from port25lab.scenario.hints import Hint
from port25lab.scenario.mirror import Mirror
from port25lab.scenario.mirror_network import ROUTER


def mapping(mirror: Mirror) -> dict[str, Any]:
    """The router's node, and what each of its interfaces became."""
    shape = mirror.shape
    behind = {group.interface: group for group in reversed(mirror.groups) if group.interface is not None}
    same = {name: group for group in behind.values() for name in group.same}
    interfaces = []
    for port in shape.interfaces:
        group = behind.get(port.name) or same.get(port.name)
        role = "outside" if port.name == shape.outside else "inside" if group is not None else "unused"
        own = next((one for one in mirror.plan.nodes[ROUTER].interfaces if one.name == port.name), None)
        networks = [] if own is None else [str(address.network) for address in (own.ip, own.ip6) if address is not None]
        interfaces.append(
            {
                "interface": port.name,
                "role": role,
                "networks": networks,
                "host": group.node if group is not None else None,
                "why": shape.outside_why if role == "outside" else group.why if group is not None else "",
            }
        )
    return {"router": ROUTER, "interfaces": interfaces, "notes": list(mirror.notes)}


def findings(hints: Iterable[Hint]) -> list[dict[str, Any]]:
    """The hints as findings."""
    return [
        {
            "kind": hint.kind,
            "file": hint.place.file if hint.place is not None else None,
            "line": hint.place.line if hint.place is not None else None,
            "because": [],
            "text": hint.text,
            "witness": None,
        }
        for hint in hints
    ]
