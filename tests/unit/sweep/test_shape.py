"""A job's parameters in the scenario of its sweep: nodes by pattern and share, policies, paths, places of errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from port25lab.errors import InputError
from port25lab.model.question import Question
from port25lab.sweep.jobs import SweepJob
from port25lab.sweep.shape import questions
from port25lab.sweep.spec import read_spec

Ask = Callable[..., list[Question]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """The questions of a job with these parameters, of a sweep with these policies and paths."""

    def asked(
        policies: str = "[]", paths: str = "[{from: pc, to: 'mx:example.net'}]", **parameters: Any
    ) -> list[Question]:
        file = tmp_path / "sweep.yaml"
        used = {name: [value] for name, value in parameters.items()} or {"customers": [8]}
        topology = (
            "{name: residential_isp, customers: 8}" if parameters else "{name: residential_isp, customers: $customers}"
        )
        file.write_text(
            f"title: t\nseed: 1\nparameters: {used}\ntopology: {topology}\npolicies: {policies}\npaths: {paths}\n"
        )
        return questions(read_spec(file), SweepJob(0, "0", parameters or {"customers": 8}))

    return asked


def sources(asked: list[Question]) -> set[str]:
    return {question.path.source for question in asked}


def test_parameters_are_put_in_their_places(ask: Ask) -> None:
    asked = ask(
        policies="[{nodes: $node, policy: $stack}]",
        paths="[{from: pc, to: $to, port: $port, client: $client, ip: $ip}]",
        node="isp-border", stack=["op25b", "op25b-in"], to="mx", port=587, client=["aiosmtplib", "curl"], ip=6,
    )  # fmt: skip
    assert {(one.path.to, one.path.port, one.path.client, one.path.ip_version) for one in asked} == {
        ("mx", 587, "aiosmtplib", 6),
        ("mx", 587, "curl", 6),
    }
    assert asked[0].config.policy_names == {"isp-border": ("op25b", "op25b-in")}


def test_delay_and_loss_are_those_of_the_job(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "title: t\nseed: 1\nparameters: {loss: [0, 0.1]}\ntopology: residential_isp\n"
        "links: [{nodes: pc, delay: 20ms, loss: $loss}]\npaths: [{from: pc, to: mx}]\n"
    )
    spec = read_spec(file)
    of_jobs = [questions(spec, SweepJob(0, "0", {"loss": loss}))[0].config for loss in (0, 0.1)]
    assert of_jobs[0] != of_jobs[1]
    assert {link.conditions.loss for config in of_jobs for link in config.plan.links} == {0.0, 0.1}


def test_a_pattern_means_all_nodes_that_it_matches(ask: Ask) -> None:
    assert sources(ask(paths="[{from: 'pc-*', to: 'mx:example.net'}]")) == {f"pc-{number}" for number in range(3, 11)}


def test_a_larger_share_has_the_nodes_of_a_smaller_one(ask: Ask) -> None:
    of = {
        share: sources(ask(paths="[{from: 'pc-*', share: $share, to: 'mx:example.net'}]", share=share))
        for share in (0, 0.25, 0.5, 1)
    }
    assert [len(of[share]) for share in of] == [0, 2, 4, 8]
    assert of[0.25] < of[0.5] < of[1]


def test_another_draw_chooses_other_nodes(ask: Ask) -> None:
    drawn = [
        frozenset(sources(ask(paths="[{from: 'pc-*', share: 0.5, draw: $draw, to: 'mx:example.net'}]", draw=draw)))
        for draw in range(6)
    ]
    assert len(set(drawn)) > 3
    assert {len(one) for one in drawn} == {4}


def test_shares_of_policies_are_of_different_nodes(ask: Ask) -> None:
    [question, *_] = ask(policies="[{nodes: 'cpe-?', shares: {op25b-all: 0.5, op25b-syn: $rest}}]", rest=0.25)
    placed = question.config.policy_names
    assert [list(placed.values()).count((name,)) for name in ("op25b-all", "op25b-syn")] == [4, 2]


def test_entries_for_the_same_node_are_stacked(ask: Ask) -> None:
    policies = "[{nodes: isp-edge, policy: op25b}, {nodes: 'isp-e*', policy: op25b-in}]"
    assert ask(policies)[0].config.policy_names == {"isp-edge": ("op25b", "op25b-in")}


@pytest.mark.parametrize(
    ("policies", "paths", "wrong"),
    [
        ("[{nodes: isp-edge, policy: nix}]", None, "5:12: no policy 'nix'|5:\\d+: no policy 'nix'"),
        ("[{nodes: 'nix-*', policy: op25b}]", None, "5:20: no node 'nix-\\*'|5:\\d+: no node"),
        ("[{nodes: pc, policy: op25b}]", None, "5:\\d+: 'pc' does not forward packets"),
        ("[{nodes: isp-edge}]", None, "5:\\d+: an entry has either `policy` or `shares`"),
        ("[{nodes: isp-edge, shares: {op25b: 0.9, none: 0.2}}]", None, "5:\\d+: the shares are 1.1 together"),
        ("[{nodes: isp-edge, share: 0.9, shares: {op25b: 0.9}}]", None, "5:\\d+: `share` beside `shares`"),
        ("[{nodes: isp-edge, policy: op25b, share: 2}]", None, "5:\\d+: a share is 2"),
        ("[]", "[{from: nix, to: mx}]", "6:\\d+: no node 'nix'"),
        ("[]", "[{to: mx}]", "6:\\d+: the key 'from' is missing"),
        ("[]", "[{from: pc, to: mx, expect: delivered}]", "6:\\d+: `expect` in a sweep"),
        ("[]", "[{from: pc, to: mx, clint: curl}]", "6:\\d+: unknown key 'clint'"),
        ("[]", "[{from: 'pc-*', to: mx}, {from: pc, to: nix}]", "6:34: |6:\\d+: .*'nix'"),
    ],
)
def test_mistakes_are_refused_with_their_place(ask: Ask, policies: str, paths: str | None, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        ask(policies, **({"paths": paths} if paths else {}))
