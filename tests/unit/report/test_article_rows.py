"""The seed article's rows: in its order, without the policy beside with it."""

from __future__ import annotations

import random
from dataclasses import replace

from evidence_factory import decision, hop, rule, verdict
from port25lab.model.outcome import Outcome
from port25lab.model.verdict import Control, Verdict
from port25lab.report import article_rows


def row(ref: str, outcome: Outcome = Outcome.DELIVERED, *, variant: str = "op25b", **more: object) -> Verdict:
    policies = {"isp-edge": [variant]} if variant not in ("open", "none") else {}
    usual = {"ref": ref, "variant": variant, "policies": policies}
    return verdict(outcome, **usual | more)


def told(*verdicts: Verdict) -> list[tuple[str, str, str]]:
    return [
        (line.ref, article_rows.answer_words(line.without), article_rows.answer_words(line.with_policy))
        for line in article_rows.lines(verdicts)
    ]


def test_the_questions_are_s1_to_s15_in_order() -> None:
    assert list(article_rows.QUESTIONS) == [f"S{number}" for number in range(1, 16)]


def test_the_rows_stand_in_the_articles_order_and_other_references_after_them() -> None:
    refs = [f"S{number}" for number in range(1, 16)] + ["A1", "Z"]
    shuffled = [row(ref) for ref in refs]
    random.Random(25).shuffle(shuffled)
    assert [line.ref for line in article_rows.lines(shuffled)] == refs


def test_a_path_without_a_reference_is_no_row() -> None:
    assert article_rows.lines([verdict(ref=None)]) == []


def test_without_the_policy_stands_beside_with_it() -> None:
    asked = [row("S3", variant="open"), row("S3", Outcome.DROPPED)]
    assert told(*asked) == told(*reversed(asked)) == [("S3", "delivered", "dropped")]


def test_the_policy_without_rules_is_no_policy() -> None:
    nothing = row("S3", variant="none", policies={"isp-edge": ["none"]})
    assert told(nothing, row("S3", Outcome.DROPPED)) == [("S3", "delivered", "dropped")]


def test_the_control_says_what_happens_without_the_policy_where_no_variant_does() -> None:
    control = Control(outcome=Outcome.DELIVERED, through=True)
    assert told(row("S3", Outcome.DROPPED, control=control)) == [("S3", "delivered", "dropped")]


def test_a_path_in_one_column_alone_leaves_the_other_empty() -> None:
    assert told(row("S3", variant="open")) == [("S3", "delivered", "")]
    assert told(row("S3", Outcome.DROPPED)) == [("S3", "", "dropped")]


def test_both_ip_versions_are_one_answer_where_they_agree_and_told_apart_where_not() -> None:
    agree = [row("S3", Outcome.DROPPED), row("S3", Outcome.DROPPED, ip_version=6)]
    assert told(*agree) == [("S3", "", "dropped")]
    leak = [row("S3", Outcome.DROPPED), row("S3", ip_version=6)]
    assert told(*leak) == [("S3", "", "v4 dropped, v6 delivered")]


def test_policies_with_the_same_answer_share_a_line_and_others_have_their_own() -> None:
    base = row("S3", variant="open")
    lines = article_rows.lines(
        [
            base,
            row("S3", Outcome.DROPPED),
            row("S3", Outcome.DROPPED, variant="op25b-all"),
            row("S3", Outcome.REJECTED_ICMP, variant="op25b-reject"),
        ]
    )
    assert [line.policies for line in lines] == [["op25b", "op25b-all"], ["op25b-reject"]]
    assert [line.baseline for line in lines] == [[base], [base]]


def test_a_line_is_ok_only_if_every_verdict_behind_it_is() -> None:
    assert all(line.ok for line in article_rows.lines([row("S3", variant="open"), row("S3", Outcome.DROPPED)]))
    assert not article_rows.lines([row("S3", variant="open", ok=False), row("S3", Outcome.DROPPED)])[0].ok
    assert not article_rows.lines([row("S3", Outcome.DROPPED), row("S3", Outcome.DROPPED, ip_version=6, ok=False)])[
        0
    ].ok


def test_a_line_blames_each_rule_once_those_that_a_relay_met_too() -> None:
    met = rule("isp-core")
    direct = row("S3", Outcome.DROPPED)
    relayed = row("S10", Outcome.DEFERRED, hops=[hop(errno="ETIMEDOUT", decisions=[decision(blame=met)])])
    lines = article_rows.lines([direct, replace(direct), relayed])
    assert [line.blames for line in lines] == [[rule()], [met]]
