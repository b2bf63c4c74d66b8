"""The kernel's trace and the socket buffers of an ordinary machine: what fits in, and what is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from port25lab.engine.engine import Engine
from port25lab.model.outcome import Outcome
from port25lab.model.path import PathSpec
from port25lab.model.question import Question
from port25lab.pytest_plugin.labs import LabFactory
from port25lab.scenario.questions import lab_config, question_about

MX: dict[str, Any] = {"source": "sender", "to": "mx:example.net", "ip_version": 4}

LOST = "the kernel lost trace events of edge (ENOBUFS)"

MATCHED = "".join(f"-A FORWARD -p tcp --dport 25 -m comment --comment {number}\n" for number in range(50))
"""Rules that every SYN to port 25 meets: fifty events, more than a small buffer holds."""

SMALL = "import port25lab.kernel.nftrace as t\nt.RECEIVE_BUFFER = 4000"
"""Room for six events: enough to open one connection, if no rule matches it."""

SMALL_AT_FIRST = """\
import os
import port25lab.kernel.nftrace as t
buffers, helper = [t.RECEIVE_BUFFER, 4000, 4000], os.getpid()
def next_lab():
    if os.getpid() == helper:
        t.RECEIVE_BUFFER = buffers.pop()
os.register_at_fork(before=next_lab)
"""
"""For the first two labs: with the policy, and without. There is a third one, and no more."""

ASLEEP = """\
import asyncio, time
import port25lab.attempt.attempts as a
make = a.Attempts.make
async def slow(self, *arguments):
    if not hasattr(self, "slept"):
        self.slept = True
        asyncio.get_running_loop().call_later(0.5, time.sleep, 1.2)
    return await make(self, *arguments)
a.Attempts.make = slow
"""
"""The lab's process does nothing while the kernel sends SYNs once more."""


def dropping(make_policy: Callable[..., str], name: str = "many", before: str = MATCHED) -> str:
    return make_policy(name, v4=f"*filter\n{before}-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n")


def dropped(street: str, policy: str, count: int) -> list[Question]:
    """So many paths of one lab, all of them dropped."""
    config = lab_config(street, {"edge": policy}, {})
    paths = [PathSpec(**MX, recipient=f"user{number}@example.net") for number in range(count)]
    return [question_about(path, config, expected=Outcome.DROPPED, by="edge") for path in paths]


@pytest.mark.parametrize("code", ["", ASLEEP], ids=["awake", "asleep"])
def test_many_paths_of_one_lab_do_not_overflow_the_trace(
    engine: Engine, street: str, make_policy: Callable[..., str], faulty: Callable[[str], None], code: str
) -> None:
    faulty(code or "pass")
    few = MATCHED.splitlines(keepends=True)[:3]
    verdicts = engine.verdicts(dropped(street, dropping(make_policy, "few", "".join(few)), 120))
    assert {(verdict.ok, verdict.judgement.reason, verdict.evidence.retried) for verdict in verdicts} == {
        (True, None, None)
    }


def test_a_large_message_through_a_node_that_traces_sessions_does_not_overflow_the_trace(
    lab: LabFactory, street: str, make_policy: Callable[..., str]
) -> None:
    rules = """\
*filter
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -p tcp --syn --dport 25 -m hashlimit --hashlimit-name n --hashlimit-above 100/sec -j DROP
COMMIT
"""
    limited = lab(street, {"edge": make_policy("limited", v4=rules)})
    verdict = limited.expect("delivered", **MX, size=2_000_000)
    assert verdict.evidence.retried is None


def test_a_path_of_which_trace_events_were_lost_is_tried_again_in_a_new_lab(
    own_lab: LabFactory, street: str, make_policy: Callable[..., str], faulty: Callable[[str], None]
) -> None:
    faulty(SMALL_AT_FIRST)
    verdict = own_lab(street, {"edge": dropping(make_policy)}).expect("dropped", by="edge", **MX)
    assert verdict.evidence.retried == LOST
    assert verdict.blame is not None
    assert verdict.blame.rule_number == 51


def test_a_loss_does_not_spoil_later_attempts_of_the_same_lab(
    own_lab: LabFactory, street: str, make_policy: Callable[..., str], faulty: Callable[[str], None]
) -> None:
    faulty(SMALL)
    edge = own_lab(street, {"edge": dropping(make_policy)})
    assert edge.up.attempt(PathSpec(**MX)).trace_lost == LOST
    later = edge.up.attempt(PathSpec(source="sender", to="server", port=587, security="starttls", auth="alice"))
    assert (later.trace_lost, later.delivered_to) == (None, "server")


def test_a_path_of_which_trace_events_are_lost_again_and_again_is_an_error(
    own_lab: LabFactory, street: str, make_policy: Callable[..., str], faulty: Callable[[str], None]
) -> None:
    faulty(SMALL)
    verdict = own_lab(street, {"edge": dropping(make_policy)}).send(**MX)
    assert verdict.outcome is Outcome.ERROR
    assert verdict.judgement.reason is not None
    assert LOST in verdict.judgement.reason
    assert verdict.evidence.retried == LOST
    assert verdict.blame is None
