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

from port25lab.errors import InputError, LabError
from port25lab.kernel.netlink import attributes
from port25lab.model.addresses import IPNetwork
from port25lab.model.policy import Policy, Ruleset
from port25lab.network.builder import LabNode

LOAD_SECONDS = 30.0

RESTORE = {"ip": "iptables-restore", "ip6": "ip6tables-restore"}

FAMILY_NUMBER = {2: "ip", 10: "ip6", 1: "inet"}

_NETLINK_NETFILTER = 12

_NFT = 10 << 8

_GETRULE, _NEWRULE = _NFT | 7, _NFT | 6

_REQUEST_DUMP = 0x1 | 0x300

_DONE, _ERROR = 3, 2


def load(
    node: LabNode, policies: Sequence[Policy], sets: Mapping[str, Iterable[IPNetwork]], *, loaded: int = 0
) -> None:
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


def list_handles() -> dict[tuple[str, str, str], list[int]]:
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
