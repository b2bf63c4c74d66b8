"""Policies in the kernel: sets and rules loaded into a node, and the handles by which the kernel knows the rules.

Rules go in with the programs that an engineer would use (ipset, iptables-restore, ip6tables-restore: nf_tables
backend), each file unchanged and in one transaction. The user's rules are never edited to be observed: afterwards the
rule handles are read back in order, and each is joined to its line in the file.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from port25lab.errors import InputError, LabError
from port25lab.evidence import Blame, Effect
from port25lab.netlink import attributes
from port25lab.network import LabNode
from port25lab.policy import Policy, Ruleset, RuleText
from port25lab.topology import IPNetwork

LOAD_SECONDS = 30.0
RESTORE = {"ip": "iptables-restore", "ip6": "ip6tables-restore"}
FAMILY_NUMBER = {2: "ip", 10: "ip6", 1: "inet"}

_NETLINK_NETFILTER = 12
_NFT = 10 << 8
_GETRULE, _NEWRULE = _NFT | 7, _NFT | 6
_REQUEST_DUMP = 0x1 | 0x300
_DONE, _ERROR = 3, 2


@dataclass(frozen=True)
class Place:
    """Where the kernel keeps a rule: the key that a trace event carries."""

    family: str
    table: str
    chain: str
    handle: int | None
    """None: the chain's policy."""


class LoadedRules:
    """What a node's kernel runs, joined to what its author wrote."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._blame: dict[Place, tuple[Blame, Effect]] = {}
        self.diversions: dict[Place, Blame] = {}
        """Rules of a policy that send packets elsewhere. The network's own, such as a forwarded port, are none."""

    def __bool__(self) -> bool:
        return bool(self._blame)

    def learn(self, place: Place, blame: Blame, effect: Effect) -> None:
        """Remember one rule."""
        self._blame[place] = (blame, effect)

    @property
    def limits(self) -> bool:
        """Whether a rule drops what exceeds a limit: such a rule may meet a session at any time."""
        return any(effect is Effect.THROTTLE for _, effect in self._blame.values())

    def decided(self, place: Place) -> tuple[Blame, Effect]:
        """The rule at a place. One that no policy of ours brought is named by its handle."""
        unknown = Blame(
            node=self.node,
            family=place.family,
            table=place.table,
            chain=place.chain,
            rule_number=None,
            rule=f"handle {place.handle}" if place.handle else "chain policy",
        )
        return self._blame.get(place, (unknown, Effect.DROP))


def load(
    node: LabNode, policies: Sequence[Policy], sets: Mapping[str, Iterable[IPNetwork]], *, loaded: int = 0
) -> LoadedRules:
    """Load policies into a node, stacked in this order. So many of them are ``loaded`` already.

    Raises InputError with file, line and iptables' own words where a rule is refused.
    """
    there = {name for policy in policies[:loaded] for name in policy.sets}
    wanted = sorted({name for policy in policies[loaded:] for name in policy.sets} - there)
    if wanted:
        _load_sets(node, {name: tuple(sets.get(name, ())) for name in wanted})
    for policy in policies[loaded:]:
        for ruleset in policy.rulesets:
            _restore(node, ruleset)
    return _join(node, policies)


def run_inside(node: LabNode, argv: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the node's namespace with this text as its input."""
    return node.run_inside(  # type: ignore[no-any-return]
        lambda: subprocess.run(argv, input=text, capture_output=True, text=True, timeout=LOAD_SECONDS, check=False)
    )


def _load_sets(node: LabNode, sets: Mapping[str, tuple[IPNetwork, ...]]) -> None:
    lines = []
    for name, members in sets.items():
        for suffix, family, version in (("", "inet", 4), ("6", "inet6", 6)):
            lines.append(f"create {name}{suffix} hash:net family {family}")
            lines += [f"add {name}{suffix} {member}" for member in members if member.version == version]
    done = run_inside(node, ["ipset", "restore"], "\n".join(lines) + "\n")
    if done.returncode:
        raise LabError(f"{node.name}: ipset: {done.stderr.strip()}")


def _restore(node: LabNode, ruleset: Ruleset) -> None:
    program = RESTORE[ruleset.family]
    done = run_inside(node, [program, "--noflush"], ruleset.text)
    if done.returncode:
        words = " ".join(line for line in done.stderr.splitlines() if not line.startswith("Try `"))
        raise InputError(
            f"{program} on {node.name} says: {words}",
            allowed="rules that iptables itself takes",
            file=ruleset.file,
            line=_refused_line(words, ruleset),
        )


def _refused_line(words: str, ruleset: Ruleset) -> int | None:
    """Where the refused rule stands. A target that is not there is noticed at COMMIT, and that line is named."""
    if chain := re.search(r"Chain '([^']+)' does not exist", words):
        jump = re.compile(rf"\s(?:-j|-g|--jump|--goto)\s+{re.escape(chain[1])}(?!\S)")
        for rule in ruleset.rules:
            if jump.search(rule.text):
                return rule.line
    line = re.search(r"line:? (\d+)", words)
    return int(line[1]) if line else None


def _join(node: LabNode, policies: Sequence[Policy]) -> LoadedRules:
    written: dict[tuple[Literal["ip", "ip6"], str, str], list[tuple[Policy, RuleText]]] = {}
    loaded = LoadedRules(node.name)
    for policy in policies:
        for ruleset in policy.rulesets:
            for rule in ruleset.rules:
                written.setdefault((ruleset.family, rule.table, rule.chain), []).append((policy, rule))
            for chain_policy in ruleset.chain_policies:
                place = Place(ruleset.family, chain_policy.table, chain_policy.chain, None)
                loaded.learn(place, _blame(node, ruleset.family, policy, chain_policy, None), Effect.DROP)
    if not written:
        return loaded
    own = {Path(name).name for name in node.plan.policies}
    handles = node.run_inside(_handles)
    for (family, table, chain), rules in written.items():
        kernel = handles.get((family, table, chain), [])
        if len(kernel) != len(rules):
            raise LabError(
                f"{node.name}: {table}/{chain} has {len(kernel)} rules in the kernel, {len(rules)} in the files"
            )
        for number, (handle, (policy, rule)) in enumerate(zip(kernel, rules, strict=True), 1):
            before = rules[number - 2][1].text if number > 1 else ""
            place, blame = Place(family, table, chain, handle), _blame(node, family, policy, rule, number)
            loaded.learn(place, blame, _effect(rule.text, before))
            if policy.name not in own and re.search(_DIVERSION, rule.text):
                loaded.diversions[place] = blame
    return loaded


def _blame(node: LabNode, family: Literal["ip", "ip6"], policy: Policy, rule: RuleText, number: int | None) -> Blame:
    return Blame(
        node=node.name,
        family=family,
        table=rule.table,
        chain=rule.chain,
        rule_number=number,
        rule=rule.text,
        policy=policy.name,
        file=str(rule.file),
        line=rule.line,
    )


_DIVERSION = r"(?:-j|--jump)\s+(?:DNAT|REDIRECT|TPROXY|NFQUEUE)\b"
_LIMIT = r"(?:-m|--match)\s+(?:hashlimit|limit|connlimit|recent)\b"
_LIMIT_WORDS = rf"(?:!\s+)?(?:{_LIMIT}|--(?:hashlimit|limit|connlimit)\S*(?:\s+[^\s-]\S*)?)"


def _effect(rule: str, before: str = "") -> Effect:
    """A REJECT traces as a drop; what it does stands in its own words, and so does a limit.

    A limit has two idioms: the rule that drops says it (``--hashlimit-above … -j DROP``), or the rule ``before`` it
    lets through what is under the limit, and the plain DROP for the same packets takes the rest.
    """
    if re.search(_LIMIT, rule) or _spares_what_is_under_a_limit(before, rule):
        return Effect.THROTTLE
    if not re.search(r"(?:-j|--jump)\s+REJECT\b", rule):
        return Effect.DROP
    return Effect.REJECT_RESET if re.search(r"--reject-with\s+tcp-reset\b", rule) else Effect.REJECT_ICMP


def _spares_what_is_under_a_limit(before: str, rule: str) -> bool:
    passes = re.search(rf"{_LIMIT}.*(?:-j|--jump)\s+(?:ACCEPT|RETURN)\b", before)
    return bool(passes) and _matches(before) == _matches(rule)


def _matches(rule: str) -> str:
    """The packets that a rule is about: without its limit, and what it does to them."""
    return " ".join(re.sub(rf"{_LIMIT_WORDS}|(?:-j|--jump)\s.*", " ", rule).split())


def _handles() -> dict[tuple[str, str, str], list[int]]:
    """Rule handles of every chain in this namespace, in the chain's order."""
    found: dict[tuple[str, str, str], list[int]] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        kernel.send(struct.pack("=IHHIIBBH", 20, _GETRULE, _REQUEST_DUMP, 1, 0, 0, 0, 0))
        while True:
            data, start = kernel.recv(1 << 18), 0
            while start < len(data):
                length, kind = struct.unpack_from("=IH", data, start)
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise LabError("the kernel does not list its nftables rules")
                if kind == _NEWRULE:
                    family = FAMILY_NUMBER.get(data[start + 16], "?")
                    values = dict(attributes(data[start + 20 : start + length]))
                    table, chain = (values[key].rstrip(b"\0").decode() for key in (1, 2))
                    found.setdefault((family, table, chain), []).append(struct.unpack(">Q", values[3])[0])
                start += (length + 3) & ~3
