"""A policy as plain data: what crosses to a lab as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Family = Literal["ip", "ip6"]

Watch = Literal["syn", "session"]
"""What the kernel is to trace: SYNs and their answers, or whole sessions, for rules that act in mid-session."""

BUILTIN_CHAINS: dict[str, tuple[str, ...]] = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The tables of iptables, and the chains that each has by itself."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RuleText(_Frozen):
    """One rule of the kernel's, or the DROP policy of a chain, as its author wrote it."""

    table: str
    chain: str
    text: str
    file: Path
    line: int


class Ruleset(_Frozen):
    """One rules file."""

    family: Family
    file: Path
    text: str
    """The whole file, unchanged."""
    rules: tuple[RuleText, ...]
    """In order. A rule for several addresses (``-s A,B``) stands here as often as in the kernel."""
    chain_policies: tuple[RuleText, ...]
    """Builtin chains that drop what no rule decides about."""

    @property
    def own_chains(self) -> set[tuple[str, str]]:
        """Table and name of the chains that are the policy's own."""
        return {(rule.table, rule.chain) for rule in self.rules if rule.chain not in BUILTIN_CHAINS[rule.table]}


class Policy(_Frozen):
    """A policy, complete."""

    name: str
    folder: Path
    title: str
    description: str
    source: str
    sets: tuple[str, ...]
    """Names of the address sets that the topology has to fill; IPv6 rules say the name with a 6 behind it."""
    rulesets: tuple[Ruleset, ...]
    services: tuple[dict[str, Any], ...] = ()
    """Programs that run on the policy's node, such as a proxy that its rules lead to: kinds of ``services``."""
    watch: Watch = "syn"

    def without_ipv6(self) -> Policy:
        """The same policy on a kernel without IPv6."""
        return self.model_copy(update={"rulesets": tuple(rules for rules in self.rulesets if rules.family == "ip")})
