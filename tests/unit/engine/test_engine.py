"""The engine without sandboxes: which labs it starts, which paths it tries in them, and what if one breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import evidence_factory
from port25lab.engine.engine import Engine, run
from port25lab.engine.jobs import plan_jobs
from port25lab.engine.needs import over_ipv6
from port25lab.engine.progress import Quiet
from port25lab.errors import InputError, LabError, MachineError, NewLabNeededError
from port25lab.kernel import ipv6
from port25lab.machine import capacity, doctor, sandbox_trial
from port25lab.model.evidence import Evidence
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.question import Question
from port25lab.model.verdict import Verdict
from port25lab.scenario.questions import load_questions

TEXT = """\
title: T
topology: residential_isp
variants: {open: {}, op25b: {isp-edge: op25b}, reset: {isp-edge: op25b-reset}}
paths:
  - {from: pc, to: "mx:example.net", ip: 4, expect: {open: delivered, op25b: dropped, reset: rejected-reset}}
  - {from: pc, to: provider, port: 587, ip: 4, expect: auth-required}
"""


@pytest.fixture
def questions(tmp_path: Path) -> list[Question]:
    return _questions(tmp_path, TEXT)


def _questions(folder: Path, text: str, name: str = "my.yaml") -> list[Question]:
    (folder / name).write_text(text)
    return load_questions(str(folder / name))


class Lab:
    """In place of a lab: delivers where no policy is, drops where one is, and breaks as told."""

    started: ClassVar[list[Lab]] = []
    breaks: ClassVar[dict[str, Exception]] = {}
    """By a policy's name: what goes wrong in its lab. ``…/start``: at its start."""
    refuses: ClassVar[Exception | None] = None
    """What goes wrong when rules are replaced."""

    def __init__(self, sandboxes: Sandboxes, plan: Any, policies: Mapping[str, Sequence[Any]], *_: Any) -> None:
        self.plan, self.seconds = plan, 0.1
        self.names = [policy.name for stack in policies.values() for policy in stack]
        self.batches: list[list[PathSpec]] = []
        self.closed = False
        Lab.started.append(self)
        for name in self.names:
            if f"{name}/start" in Lab.breaks:
                raise Lab.breaks[f"{name}/start"]

    def attempts(self, paths: Iterable[PathSpec], *_: Any) -> Iterator[tuple[PathSpec, Evidence]]:
        assert not self.closed
        self.batches.append(list(paths))
        for number, path in enumerate(self.batches[-1]):
            error = next((Lab.breaks[name] for name in self.names if name in Lab.breaks), None)
            if error is not None and number == 1:
                raise error
            yield path, evidence_factory.dropped() if self.names and path.port == 25 else evidence_factory.delivered()

    def reload(self, node: str, policies: Sequence[Any]) -> None:
        if Lab.refuses is not None:
            raise Lab.refuses
        self.names = [policy.name for policy in policies]

    def close(self) -> None:
        self.closed = True


class Sandboxes:
    made: ClassVar[list[Sandboxes]] = []
    way = sandbox_trial.Way(user_namespace=True)
    descriptors = own_descriptors = capacity.DESCRIPTORS

    def __init__(self) -> None:
        self.closed = False
        Sandboxes.made.append(self)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _no_sandboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    Lab.started, Lab.breaks, Lab.refuses, Sandboxes.made = [], {}, None, []
    monkeypatch.setattr("port25lab.engine.engine.Lab", Lab)
    monkeypatch.setattr("port25lab.engine.engine.Sandboxes", Sandboxes)
    monkeypatch.setattr(capacity, "fit", lambda needs, at_once, *_, **__: min(at_once, len(needs)))
    monkeypatch.setattr(doctor, "require_lab", lambda way: None)


def tried() -> list[tuple[list[str], int]]:
    """Of each lab: its policies, and how many paths were tried in it."""
    return [(lab.names, sum(map(len, lab.batches))) for lab in Lab.started]


# -- which labs --------------------------------------------------------------------------------------------------------


OPEN, OP25B, RESET = ({"isp-edge": names} if names else {} for names in ((), ("op25b",), ("op25b-reset",)))


def test_questions_with_the_same_policies_share_a_lab_and_the_slowest_comes_first(questions: list[Question]) -> None:
    jobs = plan_jobs(reversed(questions))
    found = [job.config.policy_names for job in jobs]
    assert found[0] == OP25B, "nobody answers there"
    assert all(policies in found for policies in (OPEN, RESET))
    assert [len(job.paths) for job in jobs] == [2, 2, 2]


def test_a_question_about_a_policy_brings_its_control_along(questions: list[Question]) -> None:
    jobs = plan_jobs([question for question in questions if question.variant == "reset"])
    assert sorted(len(job.config.policies) for job in jobs) == [0, 1]
    assert RESET in [job.config.policy_names for job in jobs]
    assert jobs[0].paths == jobs[1].paths


def test_equal_paths_of_different_scenarios_are_one(questions: list[Question], tmp_path: Path) -> None:
    other = _questions(tmp_path, TEXT.replace("title: T", "title: U"), "other.yaml")
    assert [len(job.paths) for job in plan_jobs([*questions, *other])] == [2, 2, 2]


def test_other_parameters_are_another_topology(questions: list[Question], tmp_path: Path) -> None:
    other = _questions(tmp_path, TEXT.replace("residential_isp", "{name: residential_isp, customers: 3}"), "other.yaml")
    assert len(plan_jobs([*questions, *other])) == 6


def test_a_scenario_whose_paths_depend_on_one_another_has_its_labs_for_itself(
    questions: list[Question], tmp_path: Path
) -> None:
    alone = _questions(tmp_path, TEXT.replace("paths:", "attempts: sequential\npaths:"), "alone.yaml")
    jobs = plan_jobs([*questions, *alone])
    assert sorted(job.alone is not None for job in jobs) == [False] * 3 + [True] * 3
    with Engine(Quiet(), jobs=1) as engine:
        engine.verdicts(alone)
    by_itself = [lab.batches for lab in Lab.started if len(lab.batches) > 1]
    assert [[len(batch) for batch in batches] for batches in by_itself] == [[1, 1]] * 3


def test_labs_have_names_for_people(questions: list[Question]) -> None:
    assert {job.name for job in plan_jobs(questions)} == {
        "residential_isp (no policy)",
        "residential_isp (isp-edge: op25b)",
        "residential_isp (isp-edge: op25b-reset)",
    }


# -- what is tried, and what came of it --------------------------------------------------------------------------------


def test_verdicts_come_in_the_order_of_the_questions(questions: list[Question]) -> None:
    with Engine(Quiet()) as engine:
        verdicts = engine.verdicts(questions)
    assert [verdict.id for verdict in verdicts] == [question.id for question in questions]
    assert [verdict.outcome.value for verdict in verdicts[:4]] == ["delivered", "delivered", "dropped", "delivered"]
    assert verdicts[2].judgement.control is not None
    assert verdicts[2].judgement.control.through
    assert engine.labs == 3


def test_a_path_that_was_tried_once_is_not_tried_again(questions: list[Question]) -> None:
    with Engine(Quiet(), jobs=1) as engine:
        engine.verdicts(questions[:1])
        engine.verdicts(questions[:1])
        assert tried() == [([], 1)]
        engine.verdicts(questions)
    assert sorted(tried()) == [([], 1), ([], 1), (["op25b"], 2), (["op25b-reset"], 2)]


def test_labs_are_kept_for_the_next_question_if_wanted(questions: list[Question]) -> None:
    with Engine(Quiet(), jobs=1, keep_labs=True) as engine:
        engine.verdicts(questions[:1])
        engine.verdicts(questions[:2])
        assert tried() == [([], 2)]
        assert not Lab.started[0].closed
        assert engine.lab(questions[0].config) is Lab.started[0]
    assert Lab.started[0].closed
    assert [sandboxes.closed for sandboxes in Sandboxes.made] == [True]


def test_without_questions_nothing_is_started() -> None:
    with Engine(Quiet()) as engine:
        assert engine.verdicts([]) == []
    assert Sandboxes.made == []


def test_progress_is_told(questions: list[Question]) -> None:
    told: list[tuple[str, str]] = []

    class Progress:
        def __getattr__(self, event: str) -> Any:
            return lambda name, *_: told.append((event, name.split("(")[1]))

    with Engine(Progress(), jobs=1) as engine:
        engine.verdicts(questions[:1])
    assert told == [(event, "no policy)") for event in ("lab_started", "lab_ready", "attempt_done", "lab_done")]


# -- what breaks -------------------------------------------------------------------------------------------------------


def test_a_lab_that_cannot_be_built_makes_errors_and_others_go_on(questions: list[Question]) -> None:
    Lab.breaks = {"op25b/start": LabError("out of memory")}
    with Engine(Quiet()) as engine:
        verdicts = engine.verdicts(questions)
    assert [verdict.outcome.value for verdict in verdicts] == [
        *("delivered", "delivered"),
        *("error", "error"),
        *("dropped", "delivered"),
    ]
    assert verdicts[2].judgement.reason == "out of memory; expected dropped, found error"


def test_of_a_lab_that_breaks_the_paths_that_were_answered_keep_their_answers(questions: list[Question]) -> None:
    Lab.breaks = {"op25b": LabError("the lab's process ended")}
    with Engine(Quiet(), keep_labs=True) as engine:
        verdicts = engine.verdicts(questions)
        assert [verdict.outcome.value for verdict in verdicts[2:4]] == ["dropped", "error"]
        broken = next(lab for lab in Lab.started if lab.names == ["op25b"])
        assert broken.closed


def test_a_broken_control_proves_nothing(questions: list[Question], monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lab.attempts

    def attempts(self: Lab, paths: Iterable[PathSpec], *_: Any) -> Iterator[tuple[PathSpec, Evidence]]:
        if not self.names:
            raise LabError("the lab's process ended")
        return real(self, paths)

    monkeypatch.setattr(Lab, "attempts", attempts)
    with Engine(Quiet()) as engine:
        verdict = engine.verdicts(questions)[2]
    assert verdict.outcome is Outcome.ERROR
    assert verdict.judgement.reason is not None
    assert "blocked by the policy is not proven" in verdict.judgement.reason


def test_a_rule_that_iptables_refuses_ends_the_run_and_every_lab(questions: list[Question]) -> None:
    Lab.breaks = {"op25b/start": InputError("iptables-restore says no", file="rules.v4", line=3)}
    with pytest.raises(InputError), Engine(Quiet()) as engine:
        engine.verdicts(questions)
    assert [sandboxes.closed for sandboxes in Sandboxes.made] == [True]
    assert all(lab.closed for lab in Lab.started if "op25b" not in lab.names)


def test_an_interrupt_ends_every_lab_and_starts_no_more(
    questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl-C: the wait for the first lab ends while a second one is about to start."""
    waiting, ended = threading.Event(), threading.Event()

    def attempts(self: Lab, paths: Iterable[PathSpec], *_: Any) -> Iterator[tuple[PathSpec, Evidence]]:
        waiting.set()
        ended.wait(10)
        raise LabError("the lab's process ended")

    def interrupted(*_: Any, **__: Any) -> Any:
        waiting.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(Lab, "attempts", attempts)
    monkeypatch.setattr(Sandboxes, "close", lambda _: ended.set())
    monkeypatch.setattr("port25lab.engine.engine.wait", interrupted)
    with pytest.raises(KeyboardInterrupt), Engine(Quiet(), jobs=1) as engine:
        engine.verdicts(questions)
    assert len(Lab.started) == 1
    assert len(Sandboxes.made) == 1


# -- lost trace events -------------------------------------------------------------------------------------------------

LOST = "the kernel lost trace events of isp-edge (ENOBUFS)"

Loses = Callable[[int, PathSpec], bool]
"""Whether the lab with policy op25b that was started as this one, counted from 1, loses events of a path."""


@pytest.fixture
def op25b_loses(monkeypatch: pytest.MonkeyPatch) -> Callable[[Loses], None]:
    """Have labs with the policy op25b lose trace events."""
    real = Lab.attempts

    def attempts(self: Lab, paths: Iterable[PathSpec], *_: Any) -> Iterator[tuple[PathSpec, Evidence]]:
        with_policy = [lab for lab in Lab.started if "op25b" in lab.names]
        for path, evidence in real(self, paths):
            lost = self in with_policy and loses(with_policy.index(self) + 1, path)
            yield path, evidence.model_copy(update={"trace_lost": LOST, "error": LOST}) if lost else evidence

    def plant(wanted: Loses) -> None:
        nonlocal loses
        loses = wanted

    def loses(number: int, path: PathSpec) -> bool:
        return False

    monkeypatch.setattr(Lab, "attempts", attempts)
    return plant


def test_what_a_loss_touched_is_tried_again_in_a_new_lab_and_nothing_else(
    questions: list[Question], op25b_loses: Callable[[Loses], None]
) -> None:
    op25b_loses(lambda lab, path: lab == 1 and path.port == 25)
    with Engine(Quiet(), jobs=1) as engine:
        verdicts = engine.verdicts(questions)
    assert verdicts[2].ok
    assert [verdict.evidence.retried for verdict in verdicts] == [None, None, LOST, None, None, None]
    assert sorted(tried()) == [([], 2), (["op25b"], 1), (["op25b"], 2), (["op25b-reset"], 2)]
    assert engine.labs == 4
    assert all(lab.closed for lab in Lab.started)


def test_what_is_tried_again_is_tried_one_by_one(
    questions: list[Question], op25b_loses: Callable[[Loses], None]
) -> None:
    op25b_loses(lambda lab, path: lab == 1)
    with Engine(Quiet(), jobs=1) as engine:
        verdicts = engine.verdicts(questions)
    assert [len(batch) for lab in Lab.started if "op25b" in lab.names for batch in lab.batches] == [2, 1, 1]
    assert [verdict.evidence.retried for verdict in verdicts[2:4]] == [LOST, LOST]


def test_attempts_of_a_path_that_differ_by_chance_know_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempts(self: Lab, paths: Iterable[PathSpec], *_: Any) -> Iterator[tuple[PathSpec, Evidence]]:
        lost = evidence_factory.decision().model_copy(update={"by_chance": True})
        for path in paths:
            passes = not self.names or path.attempt > 1
            yield path, evidence_factory.delivered() if passes else evidence_factory.dropped(decisions=[lost])

    monkeypatch.setattr(Lab, "attempts", attempts)
    repeated = "paths: [{from: pc, to: 'mx:example.net', ip: 4, repeat: 3}]"
    text = f"{TEXT.split('variants')[0]}attempts: sequential\nvariants: {{op25b: {{isp-edge: op25b}}}}\n{repeated}\n"
    with Engine(Quiet(), jobs=1) as engine:
        verdicts = engine.verdicts(_questions(tmp_path, text))
    found = [verdict.chance and verdict.chance.outcomes for verdict in verdicts]
    assert found == [{Outcome.DROPPED: 1, Outcome.DELIVERED: 2}] * 3


def test_what_is_lost_twice_is_an_error_and_is_not_tried_a_third_time(
    questions: list[Question], op25b_loses: Callable[[Loses], None]
) -> None:
    op25b_loses(lambda lab, path: path.port == 25)
    with Engine(Quiet(), jobs=1) as engine:
        verdict = engine.verdicts(questions)[2]
    assert verdict.outcome is Outcome.ERROR
    assert verdict.judgement.reason is not None
    assert verdict.judgement.reason.startswith(LOST)
    assert [count for names, count in tried() if names == ["op25b"]] == [2, 1]


def test_of_attempts_that_depend_on_one_another_all_are_made_again(
    tmp_path: Path, op25b_loses: Callable[[Loses], None]
) -> None:
    questions = _questions(tmp_path, TEXT.replace("paths:", "attempts: sequential\npaths:"))
    op25b_loses(lambda lab, path: lab == 1 and path.port == 587)
    with Engine(Quiet(), jobs=1) as engine:
        verdicts = engine.verdicts(questions)
    batches = [lab.batches for lab in Lab.started if "op25b" in lab.names]
    assert [[path.port for batch in lab for path in batch] for lab in batches] == [[25, 587], [25, 587]]
    assert [verdict.evidence.retried for verdict in verdicts[2:4]] == [LOST, LOST]


def test_a_lab_in_which_a_test_may_have_changed_something_is_not_replaced(
    questions: list[Question], op25b_loses: Callable[[Loses], None]
) -> None:
    op25b_loses(lambda lab, path: True)
    with Engine(Quiet(), jobs=1, keep_labs=True) as engine:
        engine.lab(questions[2].config)
        verdict = engine.verdicts(questions[2:3])[0]
    assert verdict.outcome is Outcome.ERROR
    assert [count for names, count in tried() if names == ["op25b"]] == [1]


def test_a_new_lab_that_breaks_leaves_the_error_as_it_was(
    questions: list[Question], op25b_loses: Callable[[Loses], None]
) -> None:
    def loses(lab: int, path: PathSpec) -> bool:
        if lab == 2:
            raise LabError("the lab's process ended")
        return path.port == 25

    op25b_loses(loses)
    with Engine(Quiet(), jobs=1) as engine:
        verdicts = engine.verdicts(questions)
    assert [verdict.outcome.value for verdict in verdicts[2:4]] == ["error", "delivered"]
    assert str(verdicts[2].judgement.reason).startswith(LOST)


# -- labs that wait for a person ---------------------------------------------------------------------------------------


def test_each_lab_is_held_once_while_it_is_up_with_its_own_verdicts_and_controls_come_first(
    questions: list[Question],
) -> None:
    held: list[tuple[list[str], list[str], bool]] = []

    def hold(lab: Any, verdicts: Sequence[Verdict]) -> None:
        held.append((lab.names, [verdict.outcome.value for verdict in verdicts], lab.closed))

    with Engine(Quiet(), on_lab_up=hold) as engine:
        engine.verdicts(questions)
    assert held == [
        ([], ["delivered", "delivered"], False),
        (["op25b"], ["dropped", "delivered"], False),
        (["op25b-reset"], ["dropped", "delivered"], False),
    ]
    assert all(lab.closed for lab in Lab.started)


# -- the report --------------------------------------------------------------------------------------------------------


def test_a_report_says_where_and_when_it_was_made(questions: list[Question]) -> None:
    report = run(questions, progress=Quiet(), jobs=2)
    assert report.tool["name"] == "port25lab"
    assert {
        "kernel",
        "iptables",
        "nft",
        "ipset",
        "mininet",
        "python",
        "started",
        "seconds",
    } <= report.environment.keys()
    assert (report.environment["labs"], report.environment["jobs"]) == (3, 2)
    assert len(report.verdicts) == 6


# -- what the machine lacks --------------------------------------------------------------------------------------------


def test_where_one_lab_fits_and_not_two_they_are_up_one_after_the_other(
    questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    most: list[int] = []

    class Counted(Lab):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            most.append(sum(not lab.closed for lab in Lab.started))

    monkeypatch.setattr("port25lab.engine.engine.Lab", Counted)
    monkeypatch.setattr(capacity, "fit", lambda needs, at_once, *_, **__: 1)
    with Engine(Quiet(), jobs=8) as engine:
        assert len(engine.verdicts(questions)) == len(questions)
    assert most == [1, 1, 1]


def test_labs_that_were_kept_make_room_for_others_and_those_in_use_stay(
    questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    op25b = [question for question in questions if question.variant == "op25b"]
    reset = [question for question in questions if question.variant == "reset"]
    with Engine(Quiet(), keep_labs=True) as engine:
        used = engine.lab(op25b[0].config)
        engine.verdicts(op25b)
        kept = [lab for lab in Lab.started if lab is not used]
        fits = iter([0, 1])
        monkeypatch.setattr(capacity, "fit", lambda needs, at_once, *_, **__: next(fits))
        engine.verdicts(reset)
        assert [lab.closed for lab in kept] == [True]
        assert not used.closed


def test_a_lab_for_which_there_is_no_room_is_the_machines_fault(
    questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise MachineError("no room", "make some")

    monkeypatch.setattr(capacity, "fit", full)
    with pytest.raises(MachineError, match="no room; make some"), Engine(Quiet()) as engine:
        engine.verdicts(questions)
    assert not Lab.started


def test_a_lab_that_cannot_be_built_for_what_the_kernel_lacks_is_no_verdict(
    questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(way: object) -> None:
        raise MachineError("labs need sets", "sudo modprobe")

    monkeypatch.setattr(doctor, "require_lab", lacking)
    Lab.breaks = {"op25b/start": LabError("ipset: no")}
    with pytest.raises(MachineError, match="labs need sets; sudo modprobe"), Engine(Quiet()) as engine:
        engine.verdicts(questions)


def test_without_ipv6_paths_over_ipv4_are_tried_and_others_refused_before_any_lab(
    questions: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipv6, "works", lambda: False)
    both = _questions(tmp_path, TEXT.replace("ip: 4", "ip: [4, 6]"), "both.yaml")
    with Engine(Quiet()) as engine:
        with pytest.raises(
            MachineError, match=r"^this kernel has no IPv6, and 6 of 12 paths are asked over it; .*-k 'not ipv6'"
        ):
            engine.verdicts(both)
        assert not Lab.started
        assert len(engine.verdicts(questions)) == len(questions)


def test_an_ipv6_address_is_asked_over_ipv6() -> None:
    assert over_ipv6(PathSpec(source="pc", to="2001:db8::1"))
    assert not over_ipv6(PathSpec(source="pc", to="mx:example.net"))


# -- labs that are kept ------------------------------------------------------------------------------------------------


def kept(questions: list[Question], variant: str) -> list[Question]:
    return [question for question in questions if question.variant == variant]


def test_renewed_rules_are_asked_again_in_the_same_lab_and_the_control_is_not(questions: list[Question]) -> None:
    asked = kept(questions, "op25b")
    with Engine(Quiet(), jobs=1, keep_labs=True) as engine:
        engine.verdicts(asked)
        before = sorted(tried())
        engine.renew(asked[0].config)
        engine.verdicts(asked)
        assert (before, sorted(tried())) == ([([], 2), (["op25b"], 2)], [([], 2), (["op25b"], 4)])


def test_rules_that_need_another_lab_get_one(questions: list[Question]) -> None:
    asked = kept(questions, "op25b")
    with Engine(Quiet(), jobs=1, keep_labs=True) as engine:
        engine.verdicts(asked)
        Lab.refuses = NewLabNeededError("not in this one")
        engine.renew(asked[0].config)
        engine.verdicts(asked)
        ruled = [lab for lab in Lab.started if lab.names]
        assert [lab.closed for lab in ruled] == [True, False]


def test_refused_rules_leave_the_answers_of_before(questions: list[Question]) -> None:
    asked = kept(questions, "op25b")
    with Engine(Quiet(), jobs=1, keep_labs=True) as engine:
        engine.verdicts(asked)
        Lab.refuses = InputError("no such target")
        with pytest.raises(InputError):
            engine.renew(asked[0].config)
        engine.verdicts(asked)
        assert sorted(tried()) == [([], 2), (["op25b"], 2)]


def test_a_lab_with_other_rules_is_that_of_the_new_configuration(questions: list[Question]) -> None:
    old, new = kept(questions, "op25b"), kept(questions, "reset")
    with Engine(Quiet(), jobs=1, keep_labs=True) as engine:
        engine.verdicts(old)
        engine.replace(old[0].config, new[0].config)
        engine.verdicts(new)
        assert sorted(tried()) == [([], 2), (["op25b-reset"], 4)]


def test_labs_that_nothing_asks_any_more_end_and_controls_stay(questions: list[Question]) -> None:
    with Engine(Quiet(), jobs=1, keep_labs=True) as engine:
        engine.verdicts(questions)
        engine.keep_only([kept(questions, "op25b")[0].config])
        assert sorted((lab.names, lab.closed) for lab in Lab.started) == [
            ([], False),
            (["op25b"], False),
            (["op25b-reset"], True),
        ]
