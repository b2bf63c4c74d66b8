"""The rules of a node's kernel, read back after they were loaded, and joined to the lines of the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from port25lab.errors import LabError
from port25lab.evidence.rule_map import FAMILIES, LoadedRules, readable
from port25lab.model.addresses import IPNetwork
from port25lab.model.policy import Policy
from port25lab.network import firewall
from port25lab.network.builder import LabNode
from port25lab.rules import Differing, Family, Ruleset, Source, decode, join, parse_listing, stack


def join_rules(
    node: LabNode, policies: Sequence[Policy], sets: Mapping[str, Iterable[IPNetwork]] | None = None
) -> LoadedRules:
    """The rules of a node's kernel, each with the line of its file.

    Args:
        node: The node.
        policies: All policies that were loaded into the node, in order.
        sets: Members of the address sets, by name.

    Raises: LabError where the kernel has other rules than the files: then this program has read them wrongly.
    """
    loaded = LoadedRules(
        node.name,
        policies,
        sets=sets,
        interfaces={number: name for name, number in node.interface_indexes().items()},
        queues=partial(node.run_inside, _queues_read),
    )
    sources = {family: _sources(policies, family) for family in FAMILIES}
    if not any(sources.values()):
        return loaded
    handles = node.run_inside(firewall.list_handles)
    for family, files in sources.items():
        if not files:
            continue
        # Host names in rules are looked up in the node's namespace, as by iptables.
        expected: Ruleset = node.run_inside(partial(stack, files, family))
        joined = join(parse_listing(firewall.listing(node, family), family), expected)
        wrong = [found for found in joined.differences if found.how is not Differing.FORM]
        if wrong:
            raise LabError(
                f"{node.name}: the rules of the kernel are not those of the files: {readable(str(wrong[0]))}"
            )
        loaded.learn(joined.ruleset, handles)
    return loaded


def _sources(policies: Sequence[Policy], family: Family) -> list[Source]:
    """The files of one family, in the order and in the way in which ``firewall.load`` loads them."""
    return [
        Source(decode(file.content), str(file.file), noflush=number > 0)
        for number, policy in enumerate(policies)
        for file in policy.rules_files
        if file.family == family
    ]


def _queues_read() -> frozenset[int]:
    """Numbers of the queues of this thread's network namespace that a program reads."""
    try:
        lines = Path("/proc/thread-self/net/netfilter/nfnetlink_queue").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:  # no program has read a queue since this machine was started
        return frozenset()
    return frozenset(int(line.split()[0]) for line in lines if line.strip())
