"""What goes wrong inside: a service that dies, a program that hangs, a lab that cannot be built. No blocked paths."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from port25lab.engine.engine import Engine, run
from port25lab.engine.progress import Quiet
from port25lab.errors import LabError
from port25lab.model.outcome import Outcome
from port25lab.pytest_plugin.labs import LabFactory
from port25lab.scenario.questions import load_questions

TWO_SERVERS = """\
title: T
topology: {street}
variants: {{open: {{}}, deny: {{edge: {deny}}}}}
paths:
  - {{from: sender, to: "mx:example.net", expect: {{open: delivered, deny: {{outcome: dropped, by: edge}}}}}}
  - {{from: sender, to: "mx:example.org", recipient: r@example.org, expect: delivered}}
  - {{from: sender, to: server, port: 587, security: starttls, auth: alice, expect: delivered}}
"""


def test_a_service_that_dies_makes_its_own_paths_errors_and_no_others(
    street: str, make_policy: Callable[..., str], tmp_path: Any, faulty: Callable[[str], None]
) -> None:
    faulty(
        "from port25lab.mail.services import start as services\n"
        "recording = services.Services._recording\n"
        "def dying(self, node, what, serve):\n"
        "    serve = recording(self, node, what, serve)\n"
        "    async def one(connection, peer):\n"
        "        if node == 'other' and 20000 <= peer[1] < 50000:\n"
        "            self._probed = getattr(self, '_probed', 0) + 1\n"
        "            if self._probed > 2:\n"
        "                connection.close()\n"
        "                raise RuntimeError('the disk is full')\n"
        "        await serve(connection, peer)\n"
        "    return one\n"
        "services.Services._recording = dying"
    )
    deny = make_policy(
        "deny",
        v4="*filter\n-A FORWARD -p tcp -d 192.0.2.25 --dport 25 -j DROP\nCOMMIT\n",
        v6="*filter\n-A FORWARD -p tcp -d 2001:db8:25::25 --dport 25 -j DROP\nCOMMIT\n",
    )
    file = tmp_path / "two.yaml"
    file.write_text(TWO_SERVERS.format(street=street, deny=deny))
    verdicts = run(load_questions(str(file)), progress=Quiet()).verdicts
    broken = [verdict for verdict in verdicts if verdict.question.path.to == "mx:example.org"]
    assert len(broken) == 4
    for verdict in broken:
        assert verdict.outcome is Outcome.ERROR
        assert verdict.judgement.reason is not None
        assert verdict.judgement.reason.startswith("a service of other died: ")
        assert "RuntimeError: the disk is full" in verdict.judgement.reason
    assert [verdict.judgement.reason for verdict in verdicts if verdict not in broken and not verdict.ok] == []


def test_a_lab_that_cannot_be_built_makes_errors_of_its_paths_and_others_go_on(
    street: str, make_policy: Callable[..., str], tmp_path: Any, faulty: Callable[[str], None]
) -> None:
    faulty(
        "from port25lab.network import firewall\nfrom port25lab.errors import LabError\nload = firewall.load\n"
        "def failing(node, policies, sets):\n"
        "    if any(policy.name == 'deny' for policy in policies):\n"
        "        raise LabError('out of memory')\n"
        "    return load(node, policies, sets)\n"
        "firewall.load = failing"
    )
    deny = make_policy("deny", v4="*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n")
    file = tmp_path / "two.yaml"
    file.write_text(TWO_SERVERS.format(street=street, deny=deny))
    verdicts = run(load_questions(str(file)), progress=Quiet()).verdicts
    assert [verdict.ok for verdict in verdicts] == [True] * 6 + [False] * 6
    assert {verdict.judgement.reason for verdict in verdicts[6:] if verdict.question.expected is Outcome.DELIVERED} == {
        "out of memory; expected delivered, found error"
    }


def test_a_program_that_hangs_is_killed_with_all_that_it_started(lab: LabFactory, street: str) -> None:
    done = lab(street).run("sender", "sh", "-c", "echo started; sleep 1000 & sleep 1000", seconds=0.5)
    assert done["timed_out"]
    assert done["stdout"] == "started\n"
    alive = lab(street).run("sender", "ps", "-eo", "stat=,args=")["stdout"].splitlines()
    assert [line for line in alive if "sleep 1000" in line and not line.startswith("Z")] == []


def test_a_program_that_is_not_there_is_said_to_be_missing(lab: LabFactory, street: str) -> None:
    with pytest.raises(LabError, match=r"sender: no program 'no-such-program' on this machine"):
        lab(street).run("sender", "no-such-program")


def test_a_lab_that_is_gone_is_not_asked_again(engine: Engine, street: str) -> None:
    one = LabFactory(engine)(street)
    pidfd = os.pidfd_open(one.up.pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    verdict = one.send(source="sender", to="mx:example.net", ip_version=4)
    assert verdict.outcome is Outcome.ERROR
    assert "the lab" in (verdict.judgement.reason or "")
    assert one.send(source="sender", to="mx:example.net", ip_version=6).outcome is Outcome.DELIVERED
