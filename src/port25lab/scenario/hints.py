"""What a network engineer should know about a router's rules, beside the table: said in the words of the trade."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from port25lab.model.outcome import OUTCOME_INFO, Outcome
from port25lab.model.policy import Policy
from port25lab.model.verdict import Verdict
from port25lab.rules import BUILTIN_CHAINS, Packet, Place, Ruleset, walk
from port25lab.scenario.mail_rules import chains_of_mail, fits, names_mail, reached
from port25lab.scenario.mirror_walk import met, sets_in
from port25lab.scenario.router_facts import RouterFacts, RuleKey
from port25lab.scenario.router_outside import is_private

_UDP, _ICMPV6 = 17, 58

_SUBMISSION = {
    587: "RFC 5068 section 3.1 wants it open",
    465: "RFC 8314 section 3.3 wants mail programs to use it",
}

_MOST_MAIL_RULES = 500
"""With more, following the packets on paper takes longer than asking the questions."""

_MOST_LINES = 8
"""Lines of rules that no packet met: more would not fit beside the table."""


@dataclass(frozen=True)
class Hint:
    """One hint. ``place``: the line that it is about."""

    text: str
    place: Place | None = None
    kind: str = ""
    """A short name of what it is about: ``wrong-chain``."""


def hints(facts: RouterFacts, verdicts: Sequence[Verdict]) -> list[Hint]:
    """All hints, the gravest first. ``verdicts``: of the questions that were asked of these rules."""
    return [replace(hint, kind=kind) for kind, find in _FINDERS.items() for hint in find(facts, verdicts)]


def _one_family(facts: RouterFacts, verdicts: Sequence[Verdict]) -> Iterator[Hint]:
    """Says nothing of a family that was not asked: its rules may be there, and refused."""
    asked = {verdict.question.path.ip_version for verdict in verdicts}
    if "ip6" not in facts.rulesets and 6 in asked:
        yield Hint("there are no rules for IPv6: all of it passes; give the output of ip6tables-save as well")
    if "ip" not in facts.rulesets and 4 in asked:
        yield Hint("there are no rules for IPv4: all of it passes; give the output of iptables-save as well")


def _submission(_: RouterFacts, verdicts: Sequence[Verdict]) -> Iterator[Hint]:
    for verdict in verdicts:
        path = verdict.question.path
        if path.port in _SUBMISSION and path.source != "outside" and OUTCOME_INFO[verdict.outcome].blocked:
            yield Hint(f"submission (port {path.port}) is blocked from {path.source}: {_SUBMISSION[path.port]}")
            return


def _neighbours(facts: RouterFacts, verdicts: Sequence[Verdict]) -> Iterator[Hint]:
    over6 = [verdict for verdict in verdicts if verdict.question.path.ip_version == 6]
    if any(verdict.mechanism is not None and verdict.mechanism.value == "neighbour-discovery" for verdict in over6):
        yield Hint("ICMPv6 neighbour discovery is dropped: the router has no IPv6 at all (RFC 4890 section 4.4.1)")


def _too_big(facts: RouterFacts, _: Sequence[Verdict]) -> Iterator[Hint]:
    """Walks an ICMPv6 "packet too big" from outside to a host inside."""
    ruleset = facts.rulesets.get("ip6")
    if ruleset is None or not facts.inside:
        return
    packet = Packet(
        "ip6",
        ip_address("2001:db8:25:ffff::1"),
        ip_address("2001:db8:1000:1::a"),
        protocol=_ICMPV6,
        icmp=(2, 0),
        state="RELATED",
        in_interface=facts.outside,
        out_interface=facts.inside[0],
    )
    outcome = walk(ruleset, packet, "forward").certain
    if outcome is not None and outcome.passes is False:
        where = outcome.decider.place if outcome.decider is not None else None
        text = "ICMPv6 'packet too big' is dropped: path MTU discovery fails (RFC 4890 section 4.3.1)"
        yield Hint(text, where)


def _dns(facts: RouterFacts, _: Sequence[Verdict]) -> Iterator[Hint]:
    """Walks a DNS query from a host inside to a server outside."""
    ruleset = facts.rulesets.get("ip")
    if ruleset is None or not facts.inside:
        return
    query = Packet(
        "ip",
        None,
        ip_address("192.0.2.53"),
        protocol=_UDP,
        destination_port=53,
        in_interface=facts.inside[0],
        out_interface=facts.outside,
    )
    outcome = walk(ruleset, query, "forward").certain
    if outcome is not None and outcome.passes is False:
        where = outcome.decider.place if outcome.decider is not None else None
        yield Hint("DNS queries to servers outside are dropped: clients need the router's own resolver", where)


def _established(facts: RouterFacts, _: Sequence[Verdict]) -> Iterator[Hint]:
    for family, ruleset in facts.rulesets.items():
        table = ruleset.tables.get("filter")
        for name, chain in table.chains.items() if table is not None else ():
            if chain.policy == "DROP" and chain.rules and not _lets_answers_pass(ruleset, name):
                yield Hint(
                    f"{'IPv4' if family == 'ip' else 'IPv6'} {name} drops by policy, and no rule accepts ESTABLISHED: "
                    "answers are dropped",
                    chain.place,
                )


def _lets_answers_pass(ruleset: Ruleset, chain: str) -> bool:
    called = reached(ruleset, "filter", (chain,))
    return any(
        "ESTABLISHED" in str(option.text)
        for rule in ruleset.tables["filter"].rules()
        if rule.chain in called
        for match in rule.matches
        for option in match.options
        if option.name in ("ctstate", "state")
    )


def _never_called(facts: RouterFacts, _: Sequence[Verdict]) -> Iterator[Hint]:
    for ruleset in facts.rulesets.values():
        for table in ruleset.tables.values():
            called = reached(ruleset, table.name, BUILTIN_CHAINS[table.name])
            for chain in table.chains.values():
                if chain.name not in called and any(map(names_mail, chain.rules)):
                    yield Hint(f"no rule leads to the chain {chain.name}: its rules about mail do nothing", chain.place)


def _wrong_chain(facts: RouterFacts, verdicts: Sequence[Verdict]) -> Iterator[Hint]:
    """A rule about mail in INPUT, while mail is forwarded."""
    for family, ruleset in facts.rulesets.items():
        mail = [rule for rule in ruleset.rules() if names_mail(rule) and rule.table == "filter"]
        forwarded = reached(ruleset, "filter", ("FORWARD",)) if "filter" in ruleset.tables else set()
        blocking = [rule for rule in mail if rule.target is not None and rule.target.name in ("DROP", "REJECT")]
        if blocking and not any(rule.chain in forwarded or rule.chain == "OUTPUT" for rule in mail):
            rule = blocking[0]
            words = "IPv4" if family == "ip" else "IPv6"
            yield Hint(f"{words} mail that is forwarded does not meet this rule: it stands in {rule.chain}", rule.place)


def _no_such_interface(facts: RouterFacts, _: Sequence[Verdict]) -> Iterator[Hint]:
    known = [port.name for port in facts.interfaces]
    said: set[str | None] = set()
    for rule in facts.rules():
        for name in ("in-interface", "out-interface"):
            option = rule.header.option(name)
            pattern = None if option is None else str(option.value)
            if pattern not in (None, "lo", "+", *said) and not any(fits(pattern or "", one) for one in known):
                said.add(pattern)
                yield Hint(f"the router has no interface {pattern}: this rule can never match", rule.place)


def _unmet(facts: RouterFacts, verdicts: Sequence[Verdict]) -> Iterator[Hint]:
    """Rules about mail whose counter on the real router is zero, while others count."""
    mail = [rule for rule in facts.rules() if names_mail(rule)]
    counted = [rule for rule in facts.rules() if rule.counters[0]]
    for rule in mail if counted else ():
        if not rule.counters[0] and rule.target is not None and rule.target.name in ("DROP", "REJECT"):
            yield Hint("the real router's counter of this rule is zero: no packet has met it there", rule.place)


def _not_met(facts: RouterFacts, verdicts: Sequence[Verdict]) -> Iterator[Hint]:
    """Rules about mail that no packet of these questions met: the table says nothing of what they do."""
    for ruleset in facts.rulesets.values() if verdicts else ():
        of_mail = chains_of_mail(ruleset)
        mail = [rule for rule in ruleset.rules() if names_mail(rule) or (rule.table, rule.chain) in of_mail]
        if len(mail) > _MOST_MAIL_RULES:
            continue
        found: set[RuleKey] = set()
        asked = dict.fromkeys((verdict.question.config, verdict.question.path) for verdict in verdicts)
        for config, path in asked:
            for policy in (one for _, stack in config.policies for one in stack if isinstance(one, Policy)):
                found |= met(ruleset, config.plan, path, sets_in(policy))
        silent = [rule for rule in mail if rule.key not in found]
        if silent:
            lines = list(dict.fromkeys(str(rule.place.line) for rule in silent))
            more = f", and by line {_listed(lines[1:])}" if lines[1:] else ""
            yield Hint(f"no packet of these questions was matched by this rule about mail{more}", silent[0].place)


def _listed(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - _MOST_LINES} more" if len(lines) > _MOST_LINES else ""
    return f"{', '.join(lines[:_MOST_LINES])}{more}"


def _untranslated(facts: RouterFacts, verdicts: Sequence[Verdict]) -> Iterator[Hint]:
    """Private sources that go out as they are."""
    if 4 in facts.translates or "ip" not in facts.rulesets:
        return
    for verdict in verdicts:
        path = verdict.question.path
        node = verdict.question.config.plan.nodes.get(path.source)
        private = node is not None and path.source != "router" and any(map(is_private, node.published))
        if path.ip_version == 4 and private and verdict.outcome is Outcome.DELIVERED:
            shared = [a for a in node.published if a.version == 4] if node is not None else []
            if shared and is_private(shared[0]):
                yield Hint(f"no rule translates {shared[0]} ({path.source}): on the internet, nothing would answer it")
            return


_FINDERS: Mapping[str, Callable[[RouterFacts, Sequence[Verdict]], Iterator[Hint]]] = {
    "one-family": _one_family,
    "neighbour-discovery": _neighbours,
    "no-established": _established,
    "submission-blocked": _submission,
    "dns-dropped": _dns,
    "wrong-chain": _wrong_chain,
    "chain-never-called": _never_called,
    "no-such-interface": _no_such_interface,
    "packet-too-big-dropped": _too_big,
    "not-translated": _untranslated,
    "not-met": _not_met,
    "counter-zero": _unmet,
}
