"""Rules of the network's own that let every packet pass, such as the NAT of home routers.

Nothing that a path's outcome depends on has to be proven about them, so their nodes are not traced. Where many nodes
have the same ones, iptables loads them into the first node alone (``replay``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from port25lab.errors import LabError
from port25lab.evidence import rule_kinds
from port25lab.evidence.loaded_rules import join_rules
from port25lab.evidence.rule_map import LoadedRules
from port25lab.model.addresses import IPNetwork
from port25lab.model.policy import Family, Policy
from port25lab.network import firewall, replay
from port25lab.network.builder import LabNode
from port25lab.rules import Source, decode, stack

_Files = tuple[tuple[tuple[Family, bytes], ...], ...]
"""Family and content of the rules files of each policy."""


class QuietRules:
    """Loads them, and knows which nodes have them."""

    def __init__(self, sets: Mapping[str, Iterable[IPNetwork]]) -> None:
        """``sets``: members of the address sets, by name."""
        self._sets = sets
        self._stacks: dict[str, Sequence[Policy]] = {}
        self._quiet: dict[_Files, bool] = {}
        self._recorded: dict[_Files, replay.Recorded | None] = {}

    def load(self, node: LabNode, policies: Sequence[Policy]) -> bool:
        """Load the policies of a node, if their rules are quiet.

        A node with services is itself a client: what its rules do to its own packets has to be known.

        Args:
            node: The node, which has no rules yet.
            policies: All that it will ever have, in order.

        Returns: Whether they are, and have been loaded; otherwise nothing was done.
        Raises: LabError, and InputError for a rule that iptables refuses.
        """
        if node.plan.services or not all(_plain(policy) for policy in policies):
            return False
        files = tuple(tuple((file.family, file.content) for file in policy.rules_files) for policy in policies)
        if files not in self._quiet:
            self._quiet[files] = _let_all_pass(policies)
        if not self._quiet[files]:
            return False
        if files not in self._recorded:
            firewall.load(node, policies, self._sets)
            join_rules(node, policies, self._sets)  # raises where the kernel has other rules than the files
            self._recorded[files] = node.run_inside(replay.record)
        elif not self._replay(node, self._recorded[files]):
            firewall.load(node, policies, self._sets)
        self._stacks[node.name] = policies
        return True

    def made_known(self, node: LabNode) -> LoadedRules | None:
        """The rules of a node that is to be traced from now on; None where it has no quiet ones that were not known."""
        policies = self._stacks.pop(node.name, None)
        return None if policies is None else join_rules(node, policies, self._sets)

    @staticmethod
    def _replay(node: LabNode, recorded: replay.Recorded | None) -> bool:
        try:
            return recorded is not None and bool(node.run_inside(lambda: replay.replay(recorded)))
        except OSError as error:
            raise LabError(f"{node.name}: rules of the network: {error}") from error


def _plain(policy: Policy) -> bool:
    return policy.origin == "network" and policy.watch == "syn" and not policy.services and not policy.sets


def _let_all_pass(policies: Sequence[Policy]) -> bool:
    """Whether every packet passes the rules. Host names in them are not looked up here: such rules are not quiet."""
    for family in ("ip", "ip6"):
        sources = [
            Source(decode(file.content), str(file.file), noflush=number > 0)
            for number, policy in enumerate(policies)
            for file in policy.rules_files
            if file.family == family
        ]
        names: list[str] = []

        def no_name(name: str, version: int, names: list[str] = names) -> tuple[int, ...]:
            names.append(name)
            return (1,)

        ruleset = stack(sources, family, resolver=no_name)
        if names or not rule_kinds.only_translates(ruleset):
            return False
    return True
