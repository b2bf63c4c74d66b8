"""What looks wrong in a policy of the user's for the node that it is loaded on: said before a lab starts, and no error.

The catalogue's own policies are not looked at: some of them show such a mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from port25lab.errors import InputError
from port25lab.model.plan import NodePlan, Plan
from port25lab.model.policy import Family, Policy
from port25lab.model.question import LabConfig, Question
from port25lab.rules import BUILTIN_CHAINS, Place, Ruleset, decode
from port25lab.rules.join import Source, stack
from port25lab.scenario import catalogue
from port25lab.scenario.mail_rules import fits, networks, reached
from port25lab.scenario.policy import load_policy
from port25lab.scenario.router_facts import no_names

_FAMILIES: dict[Family, tuple[str, str]] = {"ip": ("IPv4", "rules.v4"), "ip6": ("IPv6", "rules.v6")}


@dataclass(frozen=True)
class PolicyWarning:
    """One thing that looks wrong. ``place``: the line that it is about, or the policy's folder."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def warnings(questions: Iterable[Question]) -> list[PolicyWarning]:
    """All warnings about the policies under test of these questions, each once."""
    configs = dict.fromkeys(question.config for question in questions)
    return list(dict.fromkeys(warning for config in configs for warning in _of(config)))


def _of(config: LabConfig) -> Iterator[PolicyWarning]:
    own = catalogue.root().resolve() / "policies"
    for node, folders in config.policies:
        for folder in folders:
            if isinstance(folder, Path) and not folder.resolve().is_relative_to(own):
                yield from _about(load_policy(str(folder)), config.plan, config.plan.nodes[node])


def _about(policy: Policy, plan: Plan, node: NodePlan) -> Iterator[PolicyWarning]:
    present = {file.family for file in policy.rules_files}
    for family, (version, name) in _FAMILIES.items():
        files = [file for file in policy.rules_files if file.family == family]
        if not files and present:
            yield PolicyWarning(str(policy.folder), f"there is no {name}: all {version} passes")
            continue
        sources = [Source(decode(file.content), str(file.file)) for file in files]
        try:
            ruleset = stack(sources, family, resolver=no_names)
        except InputError:
            continue  # iptables itself will say what it refuses
        yield from _about_rules(ruleset, plan, node)


def _about_rules(ruleset: Ruleset, plan: Plan, node: NodePlan) -> Iterator[PolicyWarning]:
    interfaces = ["lo", *(port.name for port in node.interfaces), *node.bridges]
    addresses = [own.ip for other in plan.nodes.values() for own in other.addresses]
    for rule in ruleset.rules():
        for option in ("in-interface", "out-interface"):
            name = rule.header.option(option)
            if name is not None and name.value != "+" and not any(fits(str(name.value), one) for one in interfaces):
                known = ", ".join(interfaces[1:])
                yield _at(rule.place, f"{node.name} has no interface {name.value}; it has {known}")
        for side in ("source", "destination"):
            for network in networks(rule, side):
                if not any(address.version == network.version and address in network for address in addresses):
                    yield _at(rule.place, f"nothing in {plan.name} has an address in {network}")
    for table in ruleset.tables.values():
        called = reached(ruleset, table.name, BUILTIN_CHAINS[table.name])
        for chain in table.chains.values():
            if chain.name not in called and chain.rules:
                yield _at(chain.rules[0].place, f"no rule leads to the chain {chain.name}: its rules do nothing")


def _at(place: Place, text: str) -> PolicyWarning:
    return PolicyWarning(str(place), text)
