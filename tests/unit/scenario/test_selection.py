from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.errors import InputError
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.question import LabConfig, Question
from port25lab.scenario.selection import select


def question(bare: str, variant: str = "op25b", ref: str | None = None, name: str | None = None) -> Question:
    policies = () if variant == "open" else (("isp-edge", (Path("/policies/op25b"), Path("/policies/ip25b-strict"))),)
    return Question(
        scenario="home",
        variant=variant,
        bare_id=bare,
        name=name,
        ref=ref,
        path=PathSpec(source="pc", to="mx"),
        expected=Outcome.DELIVERED,
        by=None,
        config=LabConfig(Plan(name="isp", file=Path("/topologies/isp.py"), nodes={}), policies),
        sequential=False,
    )


QUESTIONS = [
    question("S3-pc-to-mx:example.net-25/ipv4", ref="S3", name="to the MX (directly)"),
    question("S3-pc-to-mx:example.net-25/ipv6", ref="S3", name="to the MX (directly)"),
    question("S3-pc-to-mx:example.net-25/ipv4", "open", ref="S3"),
    question("S31-infected-pc-to-mx-25/ipv4", ref="S31"),
    question("infected-pc-to-mx-25-bob@x.example/ipv4"),
]


def numbers(expression: str | None, refs: list[str] | None = None) -> list[int]:
    return [QUESTIONS.index(found) for found in select(QUESTIONS, expression, refs or [])]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        (None, [0, 1, 2, 3, 4]),
        ("ipv6", [1]),
        ("IPv6", [1]),
        ("infected and not s31", [4]),
        ("ipv6 or infected and s31", [1, 3]),
        ("(ipv6 or infected) and s31", [3]),
        ("not not ipv6", [1]),
        ("not(ipv6)and open", [2]),
        ("directly", [0, 1]),
        ("'the mx (dir'", [0, 1]),
        ('"and" or bob@x.example', [4]),
        ("ip25b-strict", [0, 1, 3, 4]),
        ("home", [0, 1, 2, 3, 4]),
        ("home/op25b/S3-pc-to-mx:example.net-25/ipv4", [0]),
        ("op25b/S3-pc-to-mx:example.net-25/ipv4", [0]),
        ("S3-pc-to-mx:example.net-25/ipv4", [0, 2]),
        ("home/op25b/S3-pc-to-mx:example.net-25/ipv4 or home/op25b/S31-infected-pc-to-mx-25/ipv4", [0, 3]),
        ("S3-pc-to-mx:example.net-25", [0, 1, 2]),
        (" ipv6 ", [1]),
    ],
)
def test_expressions(expression: str | None, found: list[int]) -> None:
    assert numbers(expression) == found


def test_an_id_selects_its_question_alone_though_it_is_part_of_another() -> None:
    short, long = question("pc-to-mx-25/ipv4", "open"), question("home/open/pc-to-mx-25/ipv4")
    assert select([short, long], short.id, []) == [short]


def test_an_id_may_hold_what_an_expression_could_not() -> None:
    odd = question("pc-to-mx-25/ipv4", "my (not) 'variant'")
    assert select([*QUESTIONS, odd], odd.id, []) == [odd]


def test_any_of_the_refs_in_any_case() -> None:
    assert numbers(None, ["s3"]) == [0, 1, 2]
    assert numbers(None, ["S3", "s31"]) == [0, 1, 2, 3]
    assert numbers("ipv4 and op25b", ["S3"]) == [0]


GRAMMAR = "words, `and`, `or`, `not` and parentheses, such as 'home-server and not ipv6'"


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("", "-k '', column 1: a word is missing"),
        ("ipv4 and", "-k 'ipv4 and', column 9: a word is missing"),
        ("or ipv4", "-k 'or ipv4', column 1: a word is missing before 'or'"),
        ("a and and b", "-k 'a and and b', column 7: a word is missing before 'and'"),
        ("a b", "-k 'a b', column 3: 'b' comes without `and` or `or` before it"),
        ("(a or b", "-k '(a or b', column 1: the parenthesis is not closed"),
        ("a)", "-k 'a)', column 2: ')' comes without `and` or `or` before it"),
        ("()", "-k '()', column 2: a word is missing before ')'"),
        ("a or 'b", "-k \"a or 'b\", column 6: the quotation mark ' is not closed"),
    ],
)
def test_what_is_no_expression(expression: str, error: str) -> None:
    with pytest.raises(InputError) as caught:
        select(QUESTIONS, expression, [])
    assert str(caught.value) == f"{error}; {GRAMMAR}"


def test_an_unknown_ref() -> None:
    with pytest.raises(InputError) as caught:
        select(QUESTIONS, None, ["S33"])
    assert str(caught.value) == "no path has the ref 'S33'; did you mean 'S3'? known: S3, S31"


def test_nothing_left() -> None:
    with pytest.raises(InputError) as caught:
        select(QUESTIONS, "ipv6", ["S31"])
    assert str(caught.value) == (
        "no path matches -k 'ipv6' --ref S31; words of the id of one of 5 paths in home/op25b, home/open"
    )


def test_nothing_to_choose_from() -> None:
    with pytest.raises(InputError) as caught:
        select([], None, [])
    assert str(caught.value) == "there is no scenario to run; scenarios of the catalogue, or files of your own"


@pytest.mark.parametrize("expression", ["(" * 3000 + "a" + ")" * 3000, "not " * 3000 + "a"])
def test_an_expression_nested_too_deeply(expression: str) -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        select(QUESTIONS, expression, [])
