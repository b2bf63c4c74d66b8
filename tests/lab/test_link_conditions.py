"""Delay and loss on links, by the kernel's netem: mail takes its time, and what is lost without a rule blames none."""

from __future__ import annotations

from pathlib import Path

import pytest

from port25lab.engine.engine import run
from port25lab.machine.kernel_features import examine_kernel
from port25lab.machine.sandbox_trial import find
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Verdict
from port25lab.scenario.questions import load_questions

SCENARIO = """\
title: A long way
topology: residential_isp
links:
  - {{nodes: isp-border, delay: 50ms, loss: {loss}}}
variants: {{op25b: {{isp-edge: op25b}}}}
paths:
  - {{from: pc, to: provider, port: 587, security: starttls, auth: alice}}
  - {{from: pc, to: "mx:example.net"}}
"""


@pytest.fixture(autouse=True)
def _netem() -> None:
    (check,) = examine_kernel(find(), "netem")
    if check.problem is not None:
        pytest.skip(f"no netem: {check.problem}")


def answers(folder: Path, loss: str) -> list[Verdict]:
    (folder / "s.yaml").write_text(SCENARIO.format(loss=loss))
    return run(load_questions(str(folder / "s.yaml"))).verdicts


def test_a_delay_is_seen_and_a_rule_is_still_blamed(tmp_path: Path) -> None:
    found = {(one.question.path.port, one.question.path.ip_version): one for one in answers(tmp_path, "1%")}
    for version in (4, 6):
        assert found[587, version].outcome is Outcome.DELIVERED
        assert found[587, version].observation.times["done"] > 1.0  # six round trips over two such links at least
        assert found[25, version].outcome is Outcome.DROPPED
        assert found[25, version].judgement.blame is not None


def test_what_a_link_loses_blames_no_rule(tmp_path: Path) -> None:
    for one in answers(tmp_path, "100%"):
        if one.question.path.port == 587:
            assert one.outcome is not Outcome.DROPPED
            assert one.judgement.blame is None
