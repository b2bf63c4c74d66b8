"""A policy as plain data: what crosses to a lab as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

Family = Literal["ip", "ip6"]

Watch = Literal["syn", "session"]
"""What the kernel is to trace: SYNs and their answers, or whole sessions, for rules that act in mid-session."""

Origin = Literal["network", "user"]
"""Whose rules a policy has: the network's own, such as the NAT of a home router, or those under test."""

Bytes = Annotated[
    bytes,
    BeforeValidator(lambda value: value.encode("latin-1") if isinstance(value, str) else value),
    PlainSerializer(lambda value: value.decode("latin-1"), when_used="json"),
]
"""Bytes that are Latin-1 text in JSON, one character each: a rules file need not be UTF-8."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RulesFile(_Frozen):
    """One rules file, in the format of ``iptables-restore``."""

    family: Family
    file: Path
    content: Bytes
    """The whole file, unchanged."""
    chains: tuple[tuple[str, str], ...] = ()
    """Table and name of the chains that are the policy's own."""
    sees_neighbours: bool = False
    """Whether its rules may do something to neighbour discovery."""


class Policy(_Frozen):
    """A policy, complete."""

    name: str
    folder: Path
    title: str
    description: str
    source: str
    sets: tuple[str, ...]
    """Names of the address sets that the topology has to fill; IPv6 rules say the name with a 6 behind it."""
    rules_files: tuple[RulesFile, ...]
    ipset: str = ""
    """More sets, complete, as ``ipset save`` prints them."""
    services: tuple[dict[str, Any], ...] = ()
    """Programs that run on the policy's node, such as a proxy that its rules lead to: kinds of ``services``."""
    watch: Watch = "syn"
    origin: Origin = "user"

    def __hash__(self) -> int:
        return hash((self.name, self.folder, self.rules_files, self.ipset))  # services have no hash

    @property
    def sees_neighbours(self) -> bool:
        """Whether its rules may do something to neighbour discovery."""
        return any(file.sees_neighbours for file in self.rules_files)

    def without_ipv6(self) -> Policy:
        """The same policy on a kernel without IPv6."""
        return self.model_copy(update={"rules_files": tuple(file for file in self.rules_files if file.family == "ip")})
