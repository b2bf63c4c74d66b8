"""Paths that are tried again and again: which of them a lab makes, and how a report names the first to fail."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from evidence_factory import changed, decision, rule, seen, verdict
from port25lab.engine.jobs import plan_jobs
from port25lab.model.evidence import Effect, Stage
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.plan import Plan
from port25lab.model.question import LabConfig, Question
from port25lab.model.verdict import Verdict
from port25lab.report import article_rows, console, describe, explain, json_file
from port25lab.report.junit import junit
from port25lab.verdict.series import with_chance

OPEN = LabConfig(Plan(name="cloud", file=Path("/topologies/cloud.py"), nodes={}))
THROTTLED = replace(OPEN, policies=(("edge", (Path("aws-throttle"),)),))


def question(attempt: int, *, sequential: bool = True) -> Question:
    return Question(
        scenario="limits",
        variant="aws-throttle",
        bare_id=f"vm-to-mx-25/ipv4/{attempt}",
        name=None,
        ref=None,
        path=PathSpec(source="vm", to="mx", ip_version=4, attempt=attempt),
        expected=None,
        by=None,
        config=THROTTLED,
        sequential=sequential,
        repeat=5,
    )


def made(*questions: Question) -> dict[str | None, list[int]]:
    """The numbers of the attempts in the lab of the policy, and in the control's (under None)."""
    return {
        "policy" if job.config.policies else None: [path.attempt for path in job.paths] for job in plan_jobs(questions)
    }


def test_the_control_of_all_attempts_is_the_first_one() -> None:
    assert made(question(1), question(2), question(3)) == {None: [1], "policy": [1, 2, 3]}


def test_an_attempt_that_is_selected_alone_comes_after_those_before_it() -> None:
    assert made(question(4)) == {None: [1], "policy": [1, 2, 3, 4]}
    assert made(question(4, sequential=False))["policy"] == [4]


def series(*outcomes: Outcome, version: int = 4) -> list[Verdict]:
    return [
        verdict(
            outcome,
            scenario="limits",
            variant="aws-throttle",
            bare_id=f"home-server-to-mx:example.net-25/ipv{version}/{attempt}",
            ref=None,
            ip_version=version,
            attempt=attempt,
            repeat=len(outcomes),
            observation=seen() if outcome is Outcome.DELIVERED else seen(Stage.CONNECT, errno="ETIMEDOUT", seconds=1.3),
            blame=None if outcome is Outcome.DELIVERED else rule(),
            decisions=[] if outcome is Outcome.DELIVERED else [decision(Effect.THROTTLE)],
        )
        for attempt, outcome in enumerate(outcomes, 1)
    ]


D, T, F = Outcome.DELIVERED, Outcome.THROTTLED, Outcome.TEMPFAIL


def test_the_first_attempt_to_fail_is_named() -> None:
    assert describe.turn_words(series(D, D, T, T)) == "attempt 3 of 4 is the first to fail, throttled"
    assert describe.turn_words(series(F, D)) == "attempt 2 of 2 is the first to get through"
    assert describe.turn_words(series(D, D)) == "none of 2 attempts fails"
    assert describe.turn_words(series(T, T)) == "attempt 1 of 2 is the first to fail, throttled, and none gets through"


def by_chance(*outcomes: Outcome) -> list[Verdict]:
    lost = decision().model_copy(update={"by_chance": True})
    return with_chance(
        [changed(one, decisions=[] if one.outcome is D else [lost], expected=D) for one in series(*outcomes)]
    )


def test_attempts_that_differ_by_chance_say_so_in_every_rendering() -> None:
    verdicts = by_chance(T, D, D)
    words = "2 of 3 delivered, 1 throttled, by chance (isp-edge op25b op25b #4)"
    assert any(line.endswith(f", v4: attempts differ: {words}") for line in report(*verdicts))
    assert f"expected delivered, found throttled; attempts differ: {words}" in explain.title(verdicts[0])
    assert dict(explain.facts(verdicts[1]))["attempts"] == f"differ: {words}"
    cases = ElementTree.fromstring(junit(verdicts, {})).findall(".//testcase")
    assert words in cases[0][0].get("message", "")
    assert words in (cases[1][0].text or "")
    assert json_file.flat(verdicts[2])["chance"]["outcomes"] == {"delivered": 2, "throttled": 1}


def test_attempts_that_end_alike_or_without_chance_leave_nothing_to_it() -> None:
    assert [one.chance for one in by_chance(T, T)] == [None, None]
    assert [one.chance for one in with_chance(series(D, T))] == [None, None]


def test_some_of_the_attempts_tell_of_chance_too() -> None:
    verdicts = by_chance(T, D, D)[:2]
    assert any("by chance" in line for line in report(*verdicts))


def report(*verdicts: Verdict) -> list[str]:
    file = io.StringIO()
    console.print_report(console.open_console(file), verdicts, 1.25)
    return file.getvalue().splitlines()


def test_attempts_in_a_row_that_ended_alike_share_a_line_with_their_numbers() -> None:
    lines = report(*series(D, D, T, T), *series(D, D, T, T, version=6))
    assert any(" v4 v6  1-2  delivered " in line for line in lines)
    assert any(" v4 v6  3-4  throttled " in line for line in lines)


def test_ip_versions_that_turn_at_different_attempts_share_no_line() -> None:
    lines = report(*series(D, D, T), *series(D, T, T, version=6))
    for expected in (" v4  1-2  delivered ", " v4  3    throttled ", " v6  1    delivered ", " v6  2-3  throttled "):
        assert any(expected in line for line in lines), expected


def test_the_summary_says_which_attempt_was_the_first_to_fail() -> None:
    lines = report(*series(D, D, T), *series(D, D, T, version=6))
    (line,) = [line for line in lines if "first to fail" in line]
    path = "limits/aws-throttle: home-server -> MX of example.net:25, v4 v6"
    assert line == f"{path}: attempt 3 of 3 is the first to fail, throttled"
    assert lines.index(line) == len(lines) - 3


def test_a_failure_says_which_attempt_it_is_and_repeats_it() -> None:
    bad = changed(series(D, D)[1], expected=T, expected_by="isp-edge", expected_from=2, ok=False, reason="x")
    text = explain.explain(bad)
    assert text.startswith("path, attempt 2 of 2 in limits/aws-throttle: expected throttled, found delivered")
    assert "IPv4, attempt 2 of 2" in text
    assert "expected  throttled, by isp-edge, from attempt 2 on" in text
    assert "-k 'limits/aws-throttle/home-server-to-mx:example.net-25/ipv4/2'" in text


def test_a_limit_in_the_kernels_word() -> None:
    assert "over the limit" in explain.explain(series(T)[0])


def test_attempts_ask_the_same_question() -> None:
    first, second = series(D, T)
    assert describe.same_question(first) == describe.same_question(second)
    assert article_rows.lines([first, second]) == []
