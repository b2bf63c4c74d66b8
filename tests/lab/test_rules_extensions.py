"""The peer's own suite: iptables keeps a file of rule lines for each extension, with what it takes.

Not part of this repository (its licence is another one). ``PORT25LAB_EXTENSIONS=FOLDER`` names the folder
``extensions`` of iptables' sources; every line that this machine's iptables takes is to be read here, and printed as
``iptables-save`` prints it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kernel_listing import Kernel, missing
from port25lab.errors import InputError
from port25lab.rules import Family, parse

VARIABLE = "PORT25LAB_EXTENSIONS"
FAMILIES: dict[str, tuple[Family, ...]] = {"libxt": ("ip", "ip6"), "libipt": ("ip",), "libip6t": ("ip6",)}


class Line(NamedTuple):
    """A rule line of the suite."""

    file: str
    number: int
    family: Family
    table: str
    chain: str
    rule: str
    before: tuple[str, ...]
    taken: bool
    """Whether the suite says that iptables takes it."""

    @property
    def text(self) -> str:
        return f"*{self.table}\n-A {self.chain} {self.rule}\nCOMMIT\n"


def suite(folder: Path) -> Iterator[Line]:
    """All rule lines for iptables and ip6tables, each with the first chain and table that it is for."""
    for file in sorted(folder.glob("lib*.t")):
        for family in FAMILIES.get(file.name.split("_")[0], ()):
            table, chain, before = "filter", "", []
            for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
                if line[:1] == ":":
                    chain = line[1:].split(",")[0]
                elif line[:1] == "*":
                    table = line[1:].split(",")[0].strip()
                elif line[:1] in ("@", "%"):
                    before.append(line[1:].strip())
                elif line.strip() and line[0] != "#":
                    yield Line(
                        file.name, number, family, table, chain, line.split(";")[0], tuple(before), ";OK" in line
                    )


def test_every_line_that_iptables_takes_is_read_and_printed_as_it_prints_it() -> None:
    given = os.environ.get(VARIABLE)
    if not given:
        pytest.skip(f"{VARIABLE} names no folder with iptables' extensions/*.t")
    if reason := missing():
        pytest.skip(f"iptables cannot be asked on this machine: {reason}")
    kernel, counts, wrong = Kernel(), Counter[str](), []
    for line in suite(Path(given)):
        counts["lines"] += 1
        listing = kernel.load(line.family, line.text, before=line.before)
        try:
            mine = [str(rule) for rule in parse(line.text, line.family).rules()]
        except InputError as error:
            mine = [str(error)]
            counts["refused here"] += 1
        else:
            counts["read"] += not listing.refused
            counts["taken here, refused by this kernel or machine"] += bool(listing.refused)
        if listing.refused:
            said = "this machine refuses it, though the suite says OK" if line.taken else "refused, as the suite says"
            counts[f"left out: {said}"] += 1
            continue
        counts["accepted"] += 1
        # What the commands before have put there is not the line's.
        saved = [rule for rule in listing.saved.split("\n") if rule.startswith("-A ") and "RATEEST" not in rule]
        if "RATEEST" in line.rule:
            saved = [rule for rule in listing.saved.split("\n") if rule.startswith("-A ")][-1:]
        if mine == saved:
            counts["canonical"] += 1
        else:
            wrong.append(f"{line.file}:{line.number} {line.family}: {line.rule!r}: {mine}, iptables has {saved}")
    kernel.close()
    print(dict(counts))
    assert counts["accepted"], "the folder has no suite"
    assert not wrong, "\n".join([f"{len(wrong)} of {counts['accepted']} lines differ", *wrong])
