"""The policy of a mirror: the router's rules as they are, and the sets that they name."""

from __future__ import annotations

from pathlib import Path

from port25lab.model.policy import Policy, RulesFile
from port25lab.model.snapshot import Snapshot
from port25lab.rules import Rule
from port25lab.scenario.mail_rules import mail_ports, names_mail
from port25lab.scenario.router_facts import RouterFacts, made_up


def policy_of(snapshot: Snapshot, facts: RouterFacts, name: str, notes: list[str]) -> Policy:
    """The policy. ``notes``: gets what the user should know of its sets."""
    known = {one.name for one in snapshot.sets}
    empty: list[str] = []
    commands = [line for one in snapshot.sets for line in (one.create, *(f"add {one.name} {m}" for m in one.members))]
    for family, ruleset in facts.rulesets.items():
        for missing, rule in ruleset.set_names().items():
            if missing not in known:
                known.add(missing)
                simple = _ends(rule, missing) == 1
                inet = "inet" if family == "ip" else "inet6"
                commands.append(f"create {missing} {'hash:net' if simple else 'hash:net,port'} family {inet}")
                commands += [f"add {missing} {made_up(missing, family)}"] * simple
                empty.append(f"{missing} ({rule.place})")
    if empty:
        what = "these sets are made up, each with one member; give the output of `ipset save` as well"
        notes.append(f"{what}: {', '.join(empty)}")
    files = tuple(
        RulesFile(
            family=part.family,
            file=part.file,
            content=part.content,
            sees_neighbours=facts.rulesets[part.family].sees_neighbours,
        )
        for part in snapshot.rules
    )
    return Policy(
        name=name,
        folder=Path(),
        title=name,
        description="",
        source="",
        sets=(),
        rules_files=files,
        ipset="".join(f"{line}\n" for line in commands),
        services=tuple({"kind": "interceptor", "port": port} for port in _proxies(facts, notes)),
    )


def _proxies(facts: RouterFacts, notes: list[str]) -> list[int]:
    """The router's own ports to which rules send mail of others: rules do so for a program that is there."""
    found: dict[int, Rule] = {}
    for rule in facts.own_rules():
        if rule.target is not None and rule.target.name == "REDIRECT" and names_mail(rule):
            to = rule.target.option("to-ports")
            for port in mail_ports(rule) if to is None else (to.value.ports.low,):
                found.setdefault(port, rule)
    notes += [
        f"{rule.place} sends mail to the router's port {port}: a mail server is put there"
        for port, rule in found.items()
    ]
    return list(found)


def _ends(rule: Rule, name: str) -> int:
    for match in rule.matches:
        for option in match.options:
            if option.name == "match-set" and option.value.name == name:
                return len(option.value.ends)
    return 1
