"""Rules files that do not fit into one message to the kernel: their parts make the same ruleset."""

from __future__ import annotations

from port25lab.network.large_files import PART_LINES, parts
from port25lab.rules import Source, parse, stack

COUNT = 2 * PART_LINES + 1


def loaded(content: bytes) -> str:
    """What a kernel has after the parts were loaded."""
    return stack([Source(part.decode(), "f", number > 0) for number, part in enumerate(parts(content))], "ip").save()


def test_the_parts_make_the_ruleset_of_the_whole() -> None:
    rules = "".join(f"-A FORWARD -s 10.0.{number // 256}.{number % 256} -j own\n" for number in range(COUNT))
    nat = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n"
    text = f"# about\n*filter\n:FORWARD DROP [0:0]\n-N own\n{rules}-I FORWARD 2 -j own\n-A own -j DROP\nCOMMIT\n{nat}"
    assert len(list(parts(text.encode()))) == 4
    assert loaded(text.encode()) == parse(text, "ip").save()


def test_a_rule_keeps_its_line() -> None:
    text = "*filter\n" + "-A FORWARD -j LOG\n" * COUNT + "-A FORWARD -j DROP\nCOMMIT\n"
    last = list(parts(text.encode()))[-1].decode()
    assert parse(last, "ip").tables["filter"].chains["FORWARD"].rules[-1].place.line == COUNT + 2


def test_a_chain_that_is_emptied_between_rules_keeps_the_file_whole() -> None:
    text = b"*filter\n:own - [0:0]\n-A own -j LOG\n:own - [0:0]\n-A own -j DROP\nCOMMIT\n"
    assert list(parts(text)) == [text]
    twice = b"*filter\n-A FORWARD -j LOG\nCOMMIT\n*filter\n-A FORWARD -j DROP\nCOMMIT\n"
    assert list(parts(twice)) == [twice]
