"""Policies in the kernel: sets and rules loaded into a node, and the kernel's own listing of them.

Rules go in with the programs that an engineer would use (ipset, iptables-restore, ip6tables-restore: nf_tables
backend), each file unchanged and in one transaction. The user's rules are never edited to be observed: afterwards the
kernel's listing and the handles of its rules are read back.
"""

from __future__ import annotations

import re
import signal
import socket
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from port25lab.errors import InputError, LabError
from port25lab.kernel.netlink import attributes
from port25lab.model.addresses import IPNetwork
from port25lab.model.policy import Family, Policy, RulesFile
from port25lab.network import large_files
from port25lab.network.builder import LabNode
from port25lab.rules import decode

LOAD_SECONDS = 30.0

RESTORE: dict[Family, str] = {"ip": "iptables-restore", "ip6": "ip6tables-restore"}

SAVE: dict[Family, str] = {"ip": "iptables-save", "ip6": "ip6tables-save"}

FAMILY_NUMBER: dict[int, Literal["ip", "ip6", "inet", "arp"]] = {2: "ip", 10: "ip6", 1: "inet", 3: "arp"}

_NETLINK_NETFILTER = 12

_NFT = 10 << 8

_GETRULE, _NEWRULE = _NFT | 7, _NFT | 6

_REQUEST_DUMP = 0x1 | 0x300

_DONE, _ERROR = 3, 2


def load(
    node: LabNode, policies: Sequence[Policy], sets: Mapping[str, Iterable[IPNetwork]], *, loaded: int = 0
) -> None:
    """Load policies into a node, stacked in this order.

    Args:
        node: The node.
        policies: All policies of the node. The first one is loaded as at boot, the others with ``--noflush``.
        sets: Members of the address sets, by name.
        loaded: How many of the policies the node has loaded before.

    Raises: InputError with file, line and iptables' own words where a rule is refused.
    """
    there = {name for policy in policies[:loaded] for name in policy.sets}
    wanted = sorted({name for policy in policies[loaded:] for name in policy.sets} - there)
    if wanted:
        _load_sets(node, {name: tuple(sets.get(name, ())) for name in wanted})
    for number, policy in enumerate(policies[loaded:], loaded):
        for file in policy.rules_files:
            _restore(node, file, noflush=number > 0)


def listing(node: LabNode, family: Family) -> str:
    """What ``iptables-save`` prints in the node. Raises LabError where it fails."""
    done = run_inside(node, [SAVE[family]], b"")
    if done.returncode:
        raise LabError(f"{node.name}: {SAVE[family]}: {decode(done.stderr).strip()}")
    return decode(done.stdout)


def run_inside(node: LabNode, argv: Sequence[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run a program in the node's namespace with this content as its input."""
    return node.run_inside(  # type: ignore[no-any-return]
        lambda: subprocess.run(argv, input=content, capture_output=True, timeout=LOAD_SECONDS, check=False)
    )


def _load_sets(node: LabNode, sets: Mapping[str, tuple[IPNetwork, ...]]) -> None:
    lines = []
    for name, members in sets.items():
        for suffix, family, version in (("", "inet", 4), ("6", "inet6", 6)):
            lines.append(f"create {name}{suffix} hash:net family {family}")
            lines += [f"add {name}{suffix} {member}" for member in members if member.version == version]
    done = run_inside(node, ["ipset", "restore"], "\n".join([*lines, ""]).encode())
    if done.returncode:
        raise LabError(f"{node.name}: ipset: {decode(done.stderr).strip()}")


def _restore(node: LabNode, file: RulesFile, *, noflush: bool) -> None:
    program = RESTORE[file.family]
    done = run_inside(node, [program, *["--noflush"] * noflush], file.content)
    if done.returncode and large_files.TOO_LONG in done.stderr:
        for part, content in enumerate(large_files.parts(file.content)):
            done = run_inside(node, [program, *["--noflush"] * (noflush or part > 0)], content)
            if done.returncode:
                break
    if done.returncode:
        lines = done.stderr.decode("utf-8", "backslashreplace").splitlines()
        words = " ".join(line for line in lines if not line.startswith("Try `"))
        if done.returncode < 0:
            words = f"{words} it crashed ({signal.Signals(-done.returncode).name})".lstrip()
        raise InputError(
            f"{program} on {node.name} says: {words}",
            allowed="rules that iptables itself takes",
            file=file.file,
            line=_refused_line(words, file),
        )


def _refused_line(words: str, file: RulesFile) -> int | None:
    """Where the refused rule stands. A target that is not there is noticed at COMMIT, and that line is named."""
    if chain := re.search(r"Chain '([^']+)' does not exist", words):
        jump = re.compile(rf"\s(?:-j|-g|--jump|--goto)\s+{re.escape(chain[1])}(?!\S)")
        for number, line in enumerate(decode(file.content).split("\n"), 1):
            if jump.search(line):
                return number
    line_number = re.search(r"line:? (\d+)", words)
    return int(line_number[1]) if line_number else None


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
                    family = str(FAMILY_NUMBER.get(data[start + 16], "?"))
                    values = dict(attributes(data[start + 20 : start + length]))
                    table, chain = (values[key].rstrip(b"\0").decode() for key in (1, 2))
                    found.setdefault((family, table, chain), []).append(struct.unpack(">Q", values[3])[0])
                start += (length + 3) & ~3
