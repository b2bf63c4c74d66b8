"""New rules for a node of a running lab, in place of those that it has.

The tables that the new rules name are replaced by ``iptables-restore``, each in one transaction; its other tables go
before. Handles of rules may be given again, so the trace of the old rules is read before. Connections that are open
go on or not, as on a router: connection tracking is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from port25lab.attempt.starvation import Starvation
from port25lab.errors import NewLabNeededError
from port25lab.evidence.early_drops import EarlyDrops
from port25lab.evidence.loaded_rules import join_rules
from port25lab.evidence.rule_map import FAMILIES
from port25lab.evidence.rule_trace import Tracer
from port25lab.model.addresses import IPNetwork
from port25lab.model.policy import Family, Policy
from port25lab.network import firewall
from port25lab.network.builder import LabNet

ANEW = "a new lab: port25lab down, then up with this policy"


class Reloading:
    """Replaces policies. No attempt may go on meanwhile."""

    def __init__(
        self,
        net: LabNet,
        sets: Mapping[str, Iterable[IPNetwork]],
        tracer: Tracer,
        early_drops: EarlyDrops,
        starvation: Starvation,
        *,
        resolving: Iterable[str],
        seen_everywhere: bool,
    ) -> None:
        """``sets``: members of the address sets. ``resolving``: the nodes whose rules may see neighbour discovery.

        ``seen_everywhere``: whether packets are captured at every node, so that rules may send them anywhere.
        """
        self._net, self._sets, self._tracer = net, sets, tracer
        self._early_drops, self._starvation = early_drops, starvation
        self._resolving, self._seen_everywhere = frozenset(resolving), seen_everywhere
        self._made: dict[str, set[str]] = {}
        """The address sets that a node has, where rules were replaced before."""

    def replace(self, name: str, old: Sequence[Policy], new: Sequence[Policy], *, sessions_open: bool) -> None:
        """Replace all policies of a node. Raises InputError and LabError: the node then has the rules of before.

        ``sessions_open``: whether the new rules may meet packets of sessions that the old ones let open.
        """
        if reason := next(self._reasons(name, old, new), None):
            raise NewLabNeededError(f"{name} cannot take these rules while the lab is up: {reason}", allowed=ANEW)
        node = self._net[name]
        there = self._made.setdefault(name, {one for policy in old for one in policy.sets})
        missing = [
            policy.model_copy(update={"sets": tuple(one for one in policy.sets if one not in there)}) for policy in new
        ]
        self._tracer.drain()
        before = {family: firewall.saved(node, family) for family in FAMILIES}
        try:
            for family in FAMILIES:
                firewall.delete_tables(node, family, keep=_first_tables(new, family))
            there |= {one for policy in new for one in policy.sets}
            firewall.load(node, missing, self._sets)
            rules = join_rules(node, new, self._sets)
            if rules.steers and not self._seen_everywhere:
                reason = "they send packets elsewhere, and not every node is watched"
                raise NewLabNeededError(f"{name} cannot take these rules while the lab is up: {reason}", allowed=ANEW)
        except BaseException:
            for family, content in before.items():
                firewall.put_back(node, family, content)
            self._known_again(name, old)
            raise
        self._tracer.drain()
        sessions = sessions_open or rules.acts_in_sessions or any(policy.watch == "session" for policy in new)
        self._tracer.renew(node, rules, sessions=sessions)
        self._after()

    def _known_again(self, name: str, old: Sequence[Policy]) -> None:
        """The rules of before have new handles."""
        rules = join_rules(self._net[name], old, self._sets)
        self._tracer.drain()
        self._tracer.update_rules(name, rules)
        self._after()

    def _after(self) -> None:
        self._net.forget_neighbours()
        self._starvation.limits(self._tracer.refill_seconds())
        self._early_drops.arm()

    def _reasons(self, name: str, old: Sequence[Policy], new: Sequence[Policy]) -> Iterator[str]:
        """Why a lab has to be built anew for these policies."""
        if not self._tracer.watches(name):
            yield "it had no policy when the lab came up"
        if [policy.services for policy in old if policy.services] != [one.services for one in new if one.services]:
            yield "their programs differ"
        if any(policy.ipset for policy in (*old, *new)):
            yield "a policy brings sets of its own"
        if name not in self._resolving and any(policy.sees_neighbours for policy in new):
            yield "they may drop neighbour discovery, which this lab does without at this node"


def _first_tables(policies: Sequence[Policy], family: Family) -> set[str]:
    """The tables that the first rules file of a family replaces; later ones add to what is there."""
    for policy in policies[:1]:
        for file in policy.rules_files:
            if file.family == family:
                lines = file.content.split(b"\n")
                return {line[1:].split()[0].decode() for line in lines if line[:1] == b"*" and line[1:].strip()}
    return set()
