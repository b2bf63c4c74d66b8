"""What the interfaces and the rules of a running lab have counted."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from port25lab.model.policy import Family


class InterfaceCounters(BaseModel):
    """Of one interface: packets and bytes, as in ``/proc/net/dev``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    received_packets: int
    received_bytes: int
    sent_packets: int
    sent_bytes: int


class RuleCounters(BaseModel):
    """Of one rule, since it was loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Family
    table: str
    chain: str
    number: int
    """Its place in the chain, from 1."""
    packets: int
    bytes: int
    text: str
    """As ``iptables-save`` prints it."""


class NodeCounters(BaseModel):
    """Of one node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    interfaces: dict[str, InterfaceCounters]
    rules: tuple[RuleCounters, ...] = ()
    """Of the policies that it has, in the order of the listing."""
