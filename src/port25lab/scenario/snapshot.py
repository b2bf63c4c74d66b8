"""The files of a router become one ``Snapshot``.

In: files in which an engineer has rules, sets, addresses, routes and sysctls, in any mixture, or the output of the
script of ``port25lab collect``. Out: a ``Reading``: the snapshot of all files that could be read, and an error for each
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from port25lab.errors import InputError
from port25lab.model.snapshot import RulesPart, SetPart, Snapshot, SnapshotNote, SnapshotRoute
from port25lab.scenario.snapshot_network import InterfaceDraft, add_interfaces, interfaces_of, routes_of
from port25lab.scenario.snapshot_parts import Kind, Part, cut
from port25lab.scenario.snapshot_rules import rules_of
from port25lab.scenario.snapshot_text import ACCEPTED, read_text


@dataclass(frozen=True)
class Reading:
    """What was read, and what was not."""

    snapshot: Snapshot
    errors: tuple[InputError, ...]
    """One for each file that is not in the snapshot, and one where the snapshot cannot have the router's rules."""


def read_snapshot(files: Sequence[str]) -> Reading:
    """Read the files of one router.

    Args:
        files: Names of files; ``-`` is standard input.
    """
    router = _Router()
    errors: list[InputError] = []
    for name in files:
        try:
            router.add(_File(name, read_text(name)))
        except InputError as error:
            errors.append(error)
    snapshot = router.snapshot()
    if not snapshot.rules and (missing := _missing_rules(snapshot.notes)):
        errors.append(missing)
    return Reading(snapshot, tuple(errors))


def read_snapshot_text(text: str, name: str) -> Reading:
    """Read one text. Raises InputError."""
    router = _Router()
    router.add(_File(name, text))
    return Reading(router.snapshot(), ())


def _missing_rules(notes: Sequence[SnapshotNote]) -> InputError | None:
    """Why there are no rules, where that does not mean that the router has none."""
    for note in notes:
        if note.kind == "nft-tables":
            what = f"the router's rules are those of nft (table {note.subject}), which are not read"
            return InputError(what, allowed="rules of iptables", file=note.file, line=note.line)
    for note in notes:
        if note.kind in ("not-installed", "failed") and note.subject.startswith("iptables"):
            what = f"there are no rules: {note.kind.replace('-', ' ')}: {note.subject}"
            return InputError(what, allowed="a snapshot that root made", file=note.file, line=note.line)
    return None


class _File:
    """One file, read by itself."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        cut_text = cut(text, name)
        self.notes: list[SnapshotNote] = cut_text.notes
        self.hostname: str | None = None
        self.hostname_line: int | None = None
        self.sets: dict[str, _SetDraft] = {}
        self.routes: list[SnapshotRoute] = []
        self.sysctls: dict[str, str] = {}
        self.address_parts: list[Part] = []
        self.rules, notes = rules_of(cut_text.parts, name)
        self.notes += notes
        for part in cut_text.parts:
            self._read(part)
        if not cut_text.parts:
            raise InputError("says nothing of a router", allowed=ACCEPTED, file=name)

    def _read(self, part: Part) -> None:
        if part.kind is Kind.SETS:
            self._read_sets(part)
        elif part.kind is Kind.ADDRESSES:
            self.address_parts.append(part)
        elif part.kind is Kind.ROUTES:
            self.routes += routes_of(part, self.name)
        elif part.kind is Kind.SYSCTLS:
            for number, line in part.lines:
                key, _, value = line.partition("=")
                self._sysctl(key.strip(), value.strip(), number)
        elif part.kind is Kind.HOSTNAME:
            self.hostname, self.hostname_line = part.lines[0][1], part.lines[0][0]

    def _sysctl(self, key: str, value: str, number: int) -> None:
        if key.startswith("net."):
            self.sysctls[key] = value
        elif key == "kernel.hostname" and self.hostname is None:
            self.hostname, self.hostname_line = value, number

    def _read_sets(self, part: Part) -> None:
        for number, line in part.lines:
            verb, name, *rest = line.split(None, 2)
            what = rest[0] if rest else ""
            if verb == "create":
                if name in self.sets:
                    self._refuse(f"the set {name!r} is created a second time", "each set once", number)
                self.sets[name] = _SetDraft(name, what, line)
            elif name not in self.sets:
                self._refuse(f"a member for the set {name!r}, which is not created above", "ipset save output", number)
            else:
                self.sets[name].members.append(what)

    def _refuse(self, what: str, allowed: str, number: int) -> None:
        raise InputError(what, allowed=allowed, file=self.name, line=number)


class _SetDraft:
    """A set whose members are being read."""

    def __init__(self, name: str, said: str, create: str) -> None:
        self.name, self.said, self.create = name, said.split(), create
        self.members: list[str] = []

    def part(self) -> SetPart:
        six = "inet6" in self.said
        return SetPart(
            name=self.name,
            type=self.said[0],
            family="ip6" if six else "ip",
            create=self.create,
            members=tuple(self.members),
        )


class _Router:
    """What the files that were read say together."""

    def __init__(self) -> None:
        self._files: list[_File] = []
        self._interfaces: dict[str, InterfaceDraft] = {}

    def add(self, file: _File) -> None:
        """Take a file, if it can be of the same router. Raises InputError, and takes nothing then."""
        for other in self._files:
            if file.hostname and other.hostname and file.hostname != other.hostname:
                raise InputError(
                    f"is of the router {file.hostname!r}; {other.name} is of {other.hostname!r}",
                    allowed="the files of one router",
                    file=file.name,
                    line=file.hostname_line,
                )
            for name in file.sets.keys() & other.sets.keys():
                raise InputError(
                    f"the set {name!r} is in {other.name} as well", allowed="each set once", file=file.name
                )
        interfaces = {name: _copy(draft) for name, draft in self._interfaces.items()}
        for part in file.address_parts:
            add_interfaces(interfaces, part, file.name)
        self._files.append(file)
        self._interfaces = interfaces

    def snapshot(self) -> Snapshot:
        files = self._files
        rules: tuple[RulesPart, ...] = tuple(part for file in files for part in file.rules)
        return Snapshot(
            files=tuple(Path(file.name) for file in files),
            hostname=next((file.hostname for file in files if file.hostname), None),
            rules=rules,
            sets=tuple(draft.part() for file in files for draft in file.sets.values()),
            interfaces=interfaces_of(self._interfaces),
            routes=tuple(dict.fromkeys(route for file in files for route in file.routes)),
            sysctls={key: value for file in files for key, value in file.sysctls.items()},
            notes=(
                *(note for file in files for note in file.notes),
                *(
                    SnapshotNote(kind="not-read", file=Path(draft.file), line=line, subject=text)
                    for draft in self._interfaces.values()
                    for line, text in draft.unread
                ),
            ),
        )


def _copy(draft: InterfaceDraft) -> InterfaceDraft:
    lists = {"addresses": list(draft.addresses), "unread": list(draft.unread)}
    return InterfaceDraft(**{**vars(draft), **lists})
