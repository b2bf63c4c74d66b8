"""Rules files that do not fit into one message to the kernel: their parts make the same ruleset."""

from __future__ import annotations

from subprocess import CompletedProcess

import pytest

from port25lab.errors import InputError
from port25lab.network.large_files import PART_LINES, LineTooLongError, has_several_tables, load
from port25lab.rules import Ruleset, parse

COUNT = 2 * PART_LINES + 1


class Kernel:
    """Takes texts of a limited size, each as a whole or not at all, and puts one on top of the other."""

    def __init__(self, most: int = PART_LINES) -> None:
        """``most``: how many rules a text may make, and lines with the word LOG may make only half as many."""
        self.most, self.ruleset, self.texts = most, Ruleset("ip", {}), [b""]

    def restore(self, content: bytes, noflush: bool) -> CompletedProcess[bytes]:
        size = content.count(b"\n-") + content.count(b"LOG")
        if size > self.most:
            return CompletedProcess((), 1, b"", b"iptables-restore: line 9 failed: Message too long.\n")
        try:
            self.ruleset = parse(content.decode(), "ip", file="f", onto=self.ruleset, noflush=noflush)
        except InputError as error:
            return CompletedProcess((), 1, b"", str(error).encode())
        self.texts.append(content)
        return CompletedProcess((), 0, b"", b"")

    def load(self, text: str, *, noflush: bool = False) -> CompletedProcess[bytes]:
        return load(text.encode(), self.restore, noflush=noflush)


def test_the_parts_make_the_ruleset_of_the_whole() -> None:
    rules = "".join(f"-A FORWARD -s 10.0.{number // 256}.{number % 256} -j own\n" for number in range(COUNT))
    nat = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n"
    text = f"# about\n*filter\n:FORWARD DROP [0:0]\n-N own\n{rules}-I FORWARD 2 -j own\n-A own -j DROP\nCOMMIT\n{nat}"
    kernel = Kernel()
    assert kernel.load(text).returncode == 0
    assert len(kernel.texts) == 5
    assert kernel.ruleset.save() == parse(text, "ip").save()


def test_parts_shrink_until_they_fit() -> None:
    text = "*filter\n" + "".join(f"-A FORWARD -p tcp --dport {port} -j LOG\n" for port in range(1, COUNT)) + "COMMIT\n"
    kernel = Kernel(most=70)
    assert kernel.load(text).returncode == 0
    assert kernel.ruleset.save() == parse(text, "ip").save()


def test_what_a_table_has_goes_at_its_first_part_and_stays_with_noflush() -> None:
    text = "*filter\n" + "-A FORWARD -j LOG\n" * COUNT + "COMMIT\n"
    for noflush, rules in ((False, COUNT), (True, COUNT + 1)):
        kernel = Kernel()
        kernel.restore(b"*filter\n-A FORWARD -j DROP\nCOMMIT\n", False)
        kernel.load(text, noflush=noflush)
        assert len(kernel.ruleset.tables["filter"].chains["FORWARD"].rules) == rules


def test_a_rule_keeps_its_line() -> None:
    kernel = Kernel()
    kernel.load("*filter\n" + "-A FORWARD -j LOG\n" * COUNT + "-A FORWARD -j DROP\nCOMMIT\n")
    assert kernel.ruleset.tables["filter"].chains["FORWARD"].rules[-1].place.line == COUNT + 2


@pytest.mark.parametrize(
    "text",
    [
        "*filter\n-N own\n-A own -j LOG\n" + "-A FORWARD -j own\n" * COUNT + ":own - [0:0]\n-A own -j DROP\nCOMMIT\n",
        "*filter\n" + "-A FORWARD -j LOG\n" * COUNT + "COMMIT\n*filter\n-A FORWARD -j DROP\nCOMMIT\n",
        "*filter\n" + "-A FORWARD -j LOG\n" * COUNT + "-F FORWARD\n-A FORWARD -j DROP\nCOMMIT",
    ],
    ids=["chain-twice", "table-twice", "flushed"],
)
def test_what_is_emptied_later_is_emptied_in_parts_as_well(text: str) -> None:
    kernel = Kernel()
    assert kernel.load(text).returncode == 0
    assert kernel.ruleset.save() == parse(text, "ip").save()


def test_a_refused_part_ends_the_loading() -> None:
    text = "*filter\n" + "-A FORWARD -j LOG\n" * COUNT + "-A FORWARD -j\n" + "-A FORWARD -j LOG\n" * COUNT + "COMMIT\n"
    kernel = Kernel()
    assert f"{COUNT + 2}".encode() in kernel.load(text).stderr
    assert len(kernel.ruleset.tables["filter"].chains["FORWARD"].rules) < COUNT + 1


def test_one_line_that_is_too_long_is_named() -> None:
    with pytest.raises(LineTooLongError) as refused:
        Kernel(most=1).load("*filter\n-A FORWARD -j DROP\n\n-A FORWARD -j LOG\nCOMMIT\n")
    assert refused.value.line == 4


@pytest.mark.parametrize(
    ("text", "several"),
    [("*filter\nCOMMIT\n", False), ("#\n*filter\nCOMMIT\n*nat\nCOMMIT\n", True), ("#\n*filter\nCOMMIT\n", False)],
)
def test_tables_are_counted(text: str, several: bool) -> None:
    assert has_several_tables(text.encode()) is several
