"""Policies in the kernel: sets and rules loaded into a node, and the kernel's own listing of them.

Rules go in with the programs that an engineer would use (ipset, iptables-restore, ip6tables-restore: nf_tables
backend), each file unchanged and in one transaction. The user's rules are never edited to be observed: afterwards the
kernel's listing and the handles of its rules are read back.
"""

from __future__ import annotations

import itertools
import re
import signal
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

from port25lab.errors import InputError, LabError, LackingError
from port25lab.kernel.netlink import NETLINK_NETFILTER, NFNETLINK_HEADER, attributes, messages
from port25lab.model.addresses import IPNetwork
from port25lab.model.policy import Family, Policy, RulesFile
from port25lab.network import lacking, large_files
from port25lab.network.builder import LabNode
from port25lab.rules import BUILTIN_CHAINS, decode
from port25lab.rules.iptables import LONGEST_LINE
from port25lab.rules.words import split

LOAD_SECONDS = 30.0

SET_MEMBERS = 65536
"""The most members of a set that is made without ``maxelem`` (ipset(8))."""

RESTORE: dict[Family, str] = {"ip": "iptables-restore", "ip6": "ip6tables-restore"}

SAVE: dict[Family, str] = {"ip": "iptables-save", "ip6": "ip6tables-save"}

FAMILY_NUMBER: dict[int, Literal["ip", "ip6", "inet", "arp"]] = {2: "ip", 10: "ip6", 1: "inet", 3: "arp"}

JUMPS = ("-j", "--jump", "-g", "--goto")

_NFT = 10 << 8

_GETRULE, _NEWRULE = _NFT | 7, _NFT | 6

_GETTABLE, _NEWTABLE = _NFT | 1, _NFT | 0

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
        _load_sets(node, "".join(set_commands({name: tuple(sets.get(name, ())) for name in wanted})))
    for number, policy in enumerate(policies[loaded:], loaded):
        if policy.ipset:
            _load_sets(node, policy.ipset)
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


def _load_sets(node: LabNode, commands: str) -> None:
    done = run_inside(node, ["ipset", "restore"], commands.encode())
    if done.returncode:
        raise LabError(f"{node.name}: ipset: {decode(done.stderr).strip()}")


def set_commands(sets: Mapping[str, tuple[IPNetwork, ...]]) -> Iterator[str]:
    """What ``ipset restore`` reads: each set once for IPv4, and with a 6 behind its name for IPv6."""
    for name, members in sets.items():
        for suffix, family, version in (("", "inet", 4), ("6", "inet6", 6)):
            own = [member for member in members if member.version == version]
            size = ""
            if len(own) > SET_MEMBERS // 2:  # room for as many that rules add; slots, so that the set need not grow
                most = 1 << (2 * len(own) - 1).bit_length()
                size = f" hashsize {most // 8} maxelem {most}"
            yield f"create {name}{suffix} hash:net family {family}{size}\n"
            yield from (f"add {name}{suffix} {member}\n" for member in own)


def _restore(node: LabNode, file: RulesFile, *, noflush: bool) -> None:
    """Load a file: a transaction for each table, and several only where the kernel takes no message that is so long.

    Where one of several is refused, the node has again what the kernel listed before.
    """
    program = RESTORE[file.family]

    def restore(content: bytes, noflush: bool) -> subprocess.CompletedProcess[bytes]:
        return run_inside(node, [program, *["--noflush"] * noflush], content)

    several = large_files.has_several_tables(file.content)
    before = saved(node, file.family) if several else None
    done = restore(file.content, noflush)
    if large_files.too_long(done):
        if before is None:
            before = saved(node, file.family)
        else:
            put_back(node, file.family, before)  # the tables before the one that is too long
        try:
            done = large_files.load(file.content, restore, noflush=noflush)
        except large_files.LineTooLongError as error:
            put_back(node, file.family, before)
            raise InputError(
                f"the rules of this line do not fit into one message to the kernel of {node.name}",
                allowed="fewer addresses in one line; or more, with a greater net.core.wmem_max on this machine",
                file=file.file,
                line=error.line,
            ) from error
    if done.returncode:
        if before is not None:
            put_back(node, file.family, before)
        lines = done.stderr.decode("utf-8", "backslashreplace").splitlines()
        words = " ".join(line for line in lines if not line.startswith("Try `"))
        if done.returncode < 0:
            words = f"{words} it crashed ({signal.Signals(-done.returncode).name})".lstrip()
        raise _refusal(node, file, words)


def _refusal(node: LabNode, file: RulesFile, words: str) -> InputError:
    """The error for rules that ``iptables-restore`` refuses with these words."""
    number = _refused_line(words, file)
    said = f"{RESTORE[file.family]} on {node.name} says: {words}"
    if number is not None and (lacks := _lacks(node, file, number, words)):
        allowed = "rules without it, or a machine that has it"
        return LackingError(f"cannot be tried here: {lacks} ({said})", allowed=allowed, file=file.file, line=number)
    return InputError(said, allowed="rules that iptables itself takes", file=file.file, line=number)


def _lacks(node: LabNode, file: RulesFile, number: int, words: str) -> str | None:
    line = decode(file.content).split("\n")[number - 1]

    def runs(argv: list[str]) -> int:
        return run_inside(node, argv, b"").returncode

    def has(kind: lacking.Kind, name: str) -> bool:
        return bool(node.run_inside(partial(lacking.kernel_has, file.family, kind, name)))

    return lacking.lacking(line, words, file.family, runs, has)


def saved(node: LabNode, family: Family) -> bytes:
    """The rules of one family as the kernel lists them, with counters. A node without tables is not asked for rules."""
    if not node.run_inside(partial(list_tables, family)):
        return b""
    done = run_inside(node, [SAVE[family], "--counters"], b"")
    if done.returncode:
        raise LabError(f"{node.name}: {SAVE[family]}: {decode(done.stderr).strip()}")
    return done.stdout


def delete_tables(node: LabNode, family: Family, keep: Iterable[str]) -> None:
    """Delete the tables of iptables that a node has, but these. Raises LabError."""
    done = _delete_tables(node, family, keep)
    if done is not None and done.returncode:
        raise LabError(f"{node.name}: tables cannot be deleted: {decode(done.stderr).strip()}")


def _delete_tables(node: LabNode, family: Family, keep: Iterable[str]) -> subprocess.CompletedProcess[bytes] | None:
    """What nft answered; None: there was nothing to delete."""
    there = node.run_inside(partial(list_tables, family)) - set(keep)
    commands = "".join(f"delete table {family} {table}\n" for table in sorted(there))
    return run_inside(node, ["nft", "-f", "-"], commands.encode()) if there else None


def put_back(node: LabNode, family: Family, saved: bytes) -> None:
    """Make the node's rules those that were saved before. Raises LabError."""
    kept = {line[1:].split()[0].decode() for line in saved.split(b"\n") if line.startswith(b"*")}
    done = _delete_tables(node, family, kept)

    def restore(content: bytes, noflush: bool) -> subprocess.CompletedProcess[bytes]:
        return run_inside(node, [RESTORE[family], "--counters", *["--noflush"] * noflush], content)

    if kept and not (done and done.returncode):
        done = large_files.load(saved, restore, noflush=False)
    if done is not None and done.returncode:
        raise LabError(f"{node.name}: the rules from before cannot be put back: {decode(done.stderr).strip()}")


def _refused_line(words: str, file: RulesFile) -> int | None:
    """Where the refused rule stands. A target that is not there is noticed at COMMIT, and that line is named."""
    if chain := re.search(r"Chain '([^']+)' does not exist", words):
        for number, line in enumerate(decode(file.content).split("\n"), 1):
            if chain[1] in _targets(line):
                return number
    line_number = re.search(r"line:? (\d+)", words)
    return _line_of_file(int(line_number[1]), file.content) if line_number else None


def _targets(line: str) -> Iterator[str]:
    """The chains or targets that a rule names; a quoted comment is one word, and names none."""
    for option, name in itertools.pairwise(split(line)):
        if option in JUMPS:
            yield name


def _line_of_file(counted: int, content: bytes) -> int:
    """The line of a file that ``iptables-restore`` counts so: one longer than its buffer counts several times."""
    for number, line in enumerate(content.split(b"\n"), 1):
        counted -= len(line) // LONGEST_LINE + 1
        if counted <= 0:
            return number
    return number


def list_tables(family: Family) -> set[str]:
    """Names of iptables' own tables of a family that this namespace has."""
    tables = ((body[0], dict(attributes(body, NFNETLINK_HEADER))) for body in _dump(_GETTABLE, _NEWTABLE))
    names = {values[1].rstrip(b"\0").decode() for number, values in tables if FAMILY_NUMBER.get(number) == family}
    return names & BUILTIN_CHAINS.keys()


def list_handles() -> dict[tuple[str, str, str], list[int]]:
    """Rule handles of every chain in this namespace, in the chain's order."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for body in _dump(_GETRULE, _NEWRULE):
        family = str(FAMILY_NUMBER.get(body[0], "?"))
        values = dict(attributes(body, NFNETLINK_HEADER))
        table, chain = (values[key].rstrip(b"\0").decode() for key in (1, 2))
        found.setdefault((family, table, chain), []).append(struct.unpack(">Q", values[3])[0])
    return found


def _dump(request: int, wanted: int) -> Iterator[bytes]:
    """The bodies of all messages of a kind that the kernel of this namespace answers a request with."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        kernel.send(struct.pack("=IHHIIBBH", 20, request, _REQUEST_DUMP, 1, 0, 0, 0, 0))
        while True:
            for kind, _, body in messages(kernel.recv(1 << 18)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise LabError("the kernel does not list its nftables rules")
                if kind == wanted:
                    yield body
