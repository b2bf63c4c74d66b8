"""Probes: packets that no mail program sends, made to see what a policy lets through.

kinds      the table of kinds: data, checked before a lab starts
packets    what each kind looks like on the wire, built with scapy
watching   what arrives at a node, by a packet socket there
prober     one probe in a running lab, from the question to the evidence

Scenarios need the table alone; scapy, which takes a quarter of a second to import, comes with ``Prober``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from port25lab.rawpackets.kinds import KINDS, Kind, Leg

if TYPE_CHECKING:
    from port25lab.rawpackets.prober import Prober

__all__ = ["KINDS", "Kind", "Leg", "Prober"]


def __getattr__(name: str) -> Any:
    if name == "Prober":
        from port25lab.rawpackets.prober import Prober

        return Prober
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
