"""The files of a project that init makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evidence_factory import verdict
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.plan import NodePlan, Plan
from port25lab.scenario.mirror import mirror
from port25lab.scenario.policy import load_policy
from port25lab.scenario.project import project_files
from port25lab.scenario.questions import load_questions
from port25lab.scenario.router_facts import read_router
from port25lab.scenario.topology import load_topology
from router_snapshots import router, rules


def _sorted(plan: Plan) -> dict[str, NodePlan]:
    """The nodes, with the interfaces in the order of their names."""
    return {
        name: node.model_copy(update={"interfaces": tuple(sorted(node.interfaces, key=lambda port: port.name))})
        for name, node in plan.nodes.items()
    }


def test_a_server_that_rules_redirect_mail_to_is_in_the_policy(tmp_path: Path) -> None:
    text = "*nat\n-A PREROUTING -i lan0 -p tcp --dport 25 -j REDIRECT --to-ports 10025\nCOMMIT\n"
    snapshot = rules(tmp_path, text)
    made = mirror(snapshot, read_router(snapshot))
    for place, content in project_files(made, []).items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(content)
    assert load_policy(str(tmp_path / "policies/router")).services == made.policy.services != ()


def test_topology_policy_and_scenario_are_those_of_the_mirror(tmp_path: Path) -> None:
    snapshot = router("isp_edge_sets")
    made = mirror(snapshot, read_router(snapshot))
    path = PathSpec(source="smtp-exempt", to="mx:example.net", ip_version=4)
    told = verdict(Outcome.DROPPED, blame=None)
    told = replace(told, question=replace(told.question, path=path))
    lost = verdict(Outcome.ERROR, expected=None)
    for place, content in project_files(made, [told, lost]).items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(content)
    plan = load_topology(str(tmp_path / "topologies/router.py"))
    assert _sorted(plan) == _sorted(made.plan)
    assert set(plan.links) == set(made.plan.links)
    policy = load_policy(str(tmp_path / "policies/router"))
    assert policy.ipset == made.policy.ipset
    assert [file.family for file in policy.rules_files] == [file.family for file in made.policy.rules_files]
    [question] = load_questions(str(tmp_path / "scenarios/mail.yaml"))
    assert (question.path.source, question.path.to, question.expected) == (
        "smtp-exempt",
        "mx:example.net",
        Outcome.DROPPED,
    )
