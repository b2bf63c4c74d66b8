"""What the benchmarks depend on: the plain script leaves out paths that it cannot try, and long labs start first."""

import sys
from pathlib import Path

import pytest

from port25lab.engine.jobs import plan_jobs
from port25lab.model.outcome import OUTCOME_INFO, Outcome
from port25lab.scenario.questions import load_questions

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])


def test_the_plain_script_tries_all_paths_of_a_household():
    from _stock_catalogue import beyond

    assert not any(map(beyond, load_questions("residential")))


def test_the_plain_script_leaves_out_paths_through_middleboxes():
    from _stock_catalogue import beyond

    left_out = [beyond(question) for question in load_questions("middleboxes") if question.variant != "open"]
    assert any(left_out)


def test_every_blocked_outcome_is_blocked_for_smtplib():
    from catalogue import AGREE

    assert {AGREE.get(outcome) for outcome, meaning in OUTCOME_INFO.items() if meaning.blocked} == {"blocked"}
    assert AGREE[Outcome.DELIVERED] == "delivered"


def test_addresses_in_networks_of_the_build_benchmark_are_unique():
    from build import star

    plan = star(400)
    addresses = [address.ip for node in plan.nodes.values() for address in node.addresses]
    assert len(set(addresses)) == 800


def test_a_lab_that_waits_for_a_relay_starts_before_one_that_does_not():
    jobs = plan_jobs([*load_questions("hotel"), *load_questions("hotel-relay")])
    waiting = [question.config for question in load_questions("hotel-relay") if question.expected is Outcome.DEFERRED]
    assert jobs[0].config in waiting
