"""Messages between the engine, the fork server and a lab: each comes out of its line as it went in."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from evidence_factory import dropped, replied
from port25lab.errors import InputError, LabError
from port25lab.lab import protocol
from port25lab.lab.handle import _expected
from port25lab.model.evidence import CaptureSummary, Stage
from port25lab.model.path import PathSpec
from port25lab.model.plan import NodePlan, Plan

PLAN = Plan(name="one", file=Path("one.py"), nodes={"pc": NodePlan(name="pc")})

REQUESTS: tuple[protocol.Request, ...] = (
    protocol.Start(plan=PLAN, policies={"pc": []}, early=[PathSpec(source="pc", to="mx", packet="held")]),
    protocol.Attempt(path=PathSpec(source="pc", to="mx", auth="alice"), label="S3"),
    protocol.RunProgram(node="pc", argv=["cat", "-A"], stdin="line\n\udcff", seconds=2.5),
    protocol.Enter(node="pc"),
    protocol.EndCapture(),
)

ANSWERS: tuple[protocol.Answer, ...] = (
    protocol.Started(phases={"network": 0.1}, seconds=0.2),
    protocol.Attempted(evidence=dropped()),
    protocol.Attempted(evidence=replied(Stage.RCPT, 550, "5.7.1 no\r\n\udcff", "5.7.1")),
    protocol.ProgramDone(returncode=-9, stdout="o", stderr="e", timed_out=True),
    protocol.Entered(network="/run/netns/pc", etc="/run/etc/pc"),
    protocol.CaptureEnded(capture=CaptureSummary(packets=3, lost={"mx": 1}, problem=None)),
    protocol.Failure(error="lab", text="out of memory"),
)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.call)
def test_a_request_arrives_as_it_was_sent(request_: protocol.Request) -> None:
    sent = protocol.NumberedRequest(number=7, request=request_)
    line = sent.as_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert protocol.NumberedRequest.decoded(line) == sent


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.kind)
def test_an_answer_arrives_as_it_was_sent(answer: protocol.Answer) -> None:
    sent = protocol.NumberedAnswer(number=7, answer=answer)
    line = sent.as_line()
    assert line.count(b"\n") == 1
    assert protocol.from_lab(line) == sent


def test_a_request_that_is_none_of_these_is_refused() -> None:
    with pytest.raises(ValueError, match="reboot"):
        protocol.NumberedRequest.decoded(b'{"number": 1, "request": {"call": "reboot"}}')


def test_wrong_input_keeps_its_place_on_the_way_to_the_engine() -> None:
    error = InputError("no such chain", allowed="a chain", file=Path("rules.v4"), line=3, column=4)
    raised = protocol.Failure.of(error).exception()
    assert isinstance(raised, InputError)
    assert str(raised) == str(error) == "rules.v4:3:4: no such chain; a chain"
    assert raised.file == Path("rules.v4")


def test_an_error_of_the_lab_keeps_its_text_and_any_other_brings_its_traceback() -> None:
    raised = protocol.Failure.of(LabError("no node 'x'")).exception()
    assert (type(raised), str(raised)) == (LabError, "no node 'x'")
    try:
        {}["missing"]
    except KeyError as error:
        failure = protocol.Failure.of(error)
    assert failure.text.startswith("port25lab failed inside the lab:\nTraceback ")
    assert failure.text.endswith("KeyError: 'missing'\n")


def test_a_failure_is_raised_in_place_of_the_answer_and_so_is_the_wrong_answer() -> None:
    started = protocol.Started(phases={}, seconds=1)
    assert _expected(started, protocol.Started) is started
    with pytest.raises(LabError, match="out of memory"):
        _expected(protocol.Failure(error="lab", text="out of memory"), protocol.Started)
    with pytest.raises(LabError, match="started in place of Entered"):
        _expected(started, protocol.Entered)


def test_the_states_of_a_sandbox_and_of_the_fork_server_are_told_apart() -> None:
    entered, failed = protocol.SandboxEntered(pid=25), protocol.SandboxFailed(failed="full", errno=28)
    assert protocol.from_sandbox(entered.as_line()) == entered
    assert protocol.from_sandbox(failed.as_line()) == failed
    assert protocol.from_lab(failed.as_line()) == failed
    ready, problem = protocol.ForkServerReady(descriptors=1024), protocol.ForkServerProblem(problem="no", remedy="yes")
    assert protocol.from_fork_server(ready.encoded()) == ready
    assert protocol.from_fork_server(problem.encoded()) == problem


def test_the_order_for_a_sandbox_fits_into_one_packet_of_the_fork_servers_socket() -> None:
    order = protocol.OpenSandbox(keep=[Path("/tmp/x")], imports=["port25lab.attempt.packet_sender"])
    engine, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with engine, server:
        engine.send(order.encoded())
        assert protocol.OpenSandbox.decoded(server.recv(1 << 16)) == order


def test_a_program_that_is_done_has_the_fields_that_the_manual_names() -> None:
    done = protocol.ProgramDone(returncode=0, stdout="", stderr="", timed_out=False)
    fields = done.model_dump(exclude={"kind"})
    assert list(fields) == ["returncode", "stdout", "stderr", "timed_out"]
    assert json.loads(done.encoded())["kind"] == "program-done"


def test_the_texts_of_evidence_are_not_sent() -> None:
    decision = json.loads(protocol.Attempted(evidence=dropped()).encoded())["evidence"]["decisions"][0]
    assert decision["traced"]["kind"] == "SYN"
    assert "packet" not in decision
