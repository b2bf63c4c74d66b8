"""Triangular spamming: the published table, cell by cell."""

from __future__ import annotations

from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.model.outcome import Outcome
from port25lab.scenario.questions import load_questions

TABLE = {
    # policy: server gets SYN, bot gets SYN-ACK, bot's RST reaches server (Qian et al. 2010)
    "none": ("yes", "yes", "yes"),
    "out": ("yes", "yes", "no"),
    "in": ("yes", "no", "no"),
    "both": ("yes", "no", "no"),
    "out+bcp38": ("no", "no", "no"),
}
LEGS = ("syn", "answer", "reset")


TABLE_WORDS = {True: "yes", False: "no"}


def test_the_table_of_triangular_spamming() -> None:
    with Engine(Quiet()) as engine:
        found = engine.verdicts(load_questions("triangular"))
    assert [(verdict.id, verdict.judgement.reason) for verdict in found if not verdict.ok] == []
    for version in (4, 6):
        seen = {
            (verdict.question.variant, verdict.question.path.packet): TABLE_WORDS[verdict.outcome is Outcome.REACHED]
            for verdict in found
            if verdict.question.path.source == "spoofer" and verdict.question.path.ip_version == version
        }
        assert {policy: tuple(seen[policy, leg] for leg in LEGS) for policy in TABLE} == TABLE


def test_who_stops_it() -> None:
    with Engine(Quiet()) as engine:
        found = engine.verdicts([one for one in load_questions("triangular") if one.path.spoof])
    blamed = {(one.question.variant, one.question.path.packet): one.blame.policy for one in found if one.blame}
    assert blamed == {
        ("out", "reset"): "op25b",
        ("in", "answer"): "op25b-in",
        ("in", "reset"): "op25b-in",
        ("both", "answer"): "op25b-in",
        ("both", "reset"): "op25b-in",
        **{("out+bcp38", leg): "bcp38" for leg in LEGS},
    }
