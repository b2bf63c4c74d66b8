"""Scenario files as tests, and the labs of tests in Python: what ``pytest_plugin`` needs when it is used.

    def test_hotel_guest_reaches_own_server_on_587(lab):
        hotel = lab("hotel", policies={"isp-edge": "op25b"})
        hotel.expect("delivered", source="guest-1", to="company", port=587, security="starttls", auth="alice")

With pytest-xdist, `--dist loadfile` keeps the paths of a scenario together, so that each lab starts once.
"""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from port25lab.engine import provenance
from port25lab.engine.engine import Engine
from port25lab.engine.needs import over_ipv6
from port25lab.engine.progress import Quiet
from port25lab.errors import MachineError, Port25labError
from port25lab.lab.handle import Lab
from port25lab.machine import doctor
from port25lab.machine.versions import describe_environment
from port25lab.model.client_kinds import CLIENT_KINDS
from port25lab.model.mechanism import Mechanism
from port25lab.model.outcome import AnyOf, Expected, Outcome, meets
from port25lab.model.path import PathSpec
from port25lab.model.question import LabConfig, Question
from port25lab.model.verdict import Verdict
from port25lab.report.explain import explain, sentence
from port25lab.report.html.page import write_html
from port25lab.report.json_file import write_json
from port25lab.scenario.checks import config_of, without_place
from port25lab.scenario.packet_file import load_packet
from port25lab.scenario.questions import lab_config, load_questions, question_about

_ENGINE = pytest.StashKey[Engine]()

_VERDICTS = pytest.StashKey[dict[str, Verdict]]()
"""By the id of the test. Judging a thousand paths again for each of them takes a minute."""


def _engine(config: pytest.Config) -> Engine:
    """The engine of the whole session, so that a path that was tried once is not tried again."""
    if _ENGINE not in config.stash:
        doctor.require()
        config.stash[_ENGINE] = Engine(Quiet(), keep_labs=True)
    return config.stash[_ENGINE]


def write_results(config: pytest.Config) -> None:
    """Write what ``--port25lab-html`` and ``--port25lab-json`` name, of all paths that were tried in this process."""
    verdicts = list(config.stash.get(_VERDICTS, {}).values())
    writers = {"--port25lab-html": write_html, "--port25lab-json": write_json}
    named = {option: config.getoption(option) for option in writers}
    if not verdicts or not any(named.values()):
        return
    environment = describe_environment(verdict.question.path.client for verdict in verdicts)
    report = provenance.traced(provenance.report_of(verdicts, environment))
    for option, file in named.items():
        if file:
            writers[option](report, Path(file))


def end(config: pytest.Config) -> None:
    """End all labs."""
    if _ENGINE in config.stash:
        config.stash[_ENGINE].close()


class ScenarioFile(pytest.File):
    """One scenario; its paths are its tests."""

    def collect(self) -> Iterable[pytest.Item]:
        """One item for each path in each variant."""
        try:
            questions = load_questions(str(self.path))
        except Port25labError as error:
            raise self.CollectError(str(error)) from None
        for question in questions:
            name = f"{question.variant}/{question.bare_id}"
            item: PathItem = PathItem.from_parent(self, name=name, question=question)
            yield item


class PathItem(pytest.Item):
    """One path of a scenario."""

    def __init__(self, *, question: Question, **more: Any) -> None:
        super().__init__(**more)
        self.question = question

    def setup(self) -> None:
        """Skip where this machine lacks the path's client program, or IPv6."""
        if problem := _problem(self.question.path.client, over_ipv6(self.question.path)):
            pytest.skip(problem)

    def runtest(self) -> None:
        """Check this path's verdict. The first path of a scenario tries all its selected paths at once."""
        known = self.config.stash.setdefault(_VERDICTS, {})
        if self.nodeid not in known:
            items = [
                item
                for item in self.session.items
                if isinstance(item, PathItem)
                and item.path == self.path
                and not _problem(item.question.path.client, over_ipv6(item.question.path))
            ]
            verdicts = _engine(self.config).verdicts([item.question for item in items])
            known |= {item.nodeid: verdict for item, verdict in zip(items, verdicts, strict=True)}
        if not known[self.nodeid].ok:
            raise UnmetError(known[self.nodeid])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The verdict in words; a traceback for unexpected exceptions only."""
        if isinstance(excinfo.value, UnmetError | Port25labError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The scenario file, and the path's id."""
        return self.path, None, self.question.id


@cache
def _problem(client: str, over_ipv6: bool) -> str | None:
    """Why this machine cannot run a client program or use an IP version, and the remedy; None where it can."""
    try:
        doctor.require_ip(6 if over_ipv6 else 4, "the path is asked")
        doctor.require_program(CLIENT_KINDS[client].program, f"client {client}")
    except MachineError as error:
        return str(error)
    return None


class UnmetError(AssertionError):
    """An expectation was not met. The text has all facts of the verdict."""

    def __init__(self, verdict: Verdict, repeat: str | None = None) -> None:
        super().__init__(explain(verdict, repeat))
        self.verdict = verdict


class Truth:
    """What an answer says to ``assert``: true or false, and in words why."""

    def __init__(self, holds: bool, verdict: Verdict) -> None:
        self._holds, self._verdict = holds, verdict

    def __bool__(self) -> bool:
        return self._holds

    def __repr__(self) -> str:
        return sentence(self._verdict)


class Answer:
    """The answer to one path. Raises UnmetError where port25lab could not tell."""

    def __init__(self, verdict: Verdict) -> None:
        if not verdict.told:
            raise UnmetError(verdict)
        self.verdict = verdict

    @property
    def delivered(self) -> Truth:
        """Whether the message is in the recipient's mailbox."""
        return Truth(self.verdict.outcome is Outcome.DELIVERED, self.verdict)

    @property
    def blocked(self) -> Truth:
        """Whether a rule blocked the path, in any way."""
        return Truth(meets(self.verdict.outcome, AnyOf.BLOCKED), self.verdict)

    def __repr__(self) -> str:
        return sentence(self.verdict)


class LabUnderTest:
    """A topology with policies, for a test. Its methods ask questions of the network."""

    def __init__(self, engine: Engine, config: LabConfig, forget: Callable[[LabConfig], object]) -> None:
        """``forget``: called with the configuration before it is replaced."""
        self._engine, self._config, self._forget = engine, config, forget

    def send(self, **path: Any) -> Verdict:
        """Try one path, and its control.

        ``path``: the fields of ``PathSpec``. Returns the verdict. Raises InputError as a scenario file would.
        """
        return self._judge(None, None, None, path)

    def expect(self, outcome: str, *, by: str | None = None, how: str | None = None, **path: Any) -> Verdict:
        """Try one path, and fail the test unless it ends as expected.

        ``outcome``: the expected outcome, such as ``dropped``, or ``blocked`` for any way of blocking. ``by``: the node
        whose rule has to decide; None: any. ``how``: the mechanism that has to be at work; None: any. ``path``: the
        fields of ``PathSpec``. Returns the verdict. Raises UnmetError, and InputError as a scenario file would.
        """
        __tracebackhide__ = True
        expected = AnyOf(outcome) if outcome in list(AnyOf) else Outcome(outcome)
        verdict = self._judge(expected, by, Mechanism(how) if how else None, path)
        if not verdict.ok:
            test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
            raise UnmetError(verdict, f"python -m pytest {shlex.quote(test)}")
        return verdict

    def packet(self, make: str | Callable[..., Any], **path: Any) -> Verdict:
        """Send packets of one's own making, and tell whether one of them arrives.

        ``make``: a function at the top level of a file, or ``FILE.py:FUNCTION``. The file is run anew in the sending
        node, and its function is called there (docs/scenarios.md); it finds the modules that this process finds.
        ``path``: ``source``, ``to`` and other fields of ``PathSpec``. Returns the verdict. Raises InputError as a
        scenario file would.
        """
        if not isinstance(make, str):
            make = f"{inspect.getsourcefile(make)}:{make.__qualname__}"
        function = load_packet(make)
        function = function.model_copy(update={"folders": (*function.folders, *filter(None, sys.path))})
        return self._judge(None, None, None, path | {"packet": str(function), "made_by": function})

    def run(self, node: str, *argv: str, stdin: str = "", seconds: float = 30.0) -> dict[str, Any]:
        """Run a program in a node.

        ``argv``: the program and its arguments. ``stdin``: its input. ``seconds``: how long it may run. Returns its
        ``returncode``, ``stdout``, ``stderr``, and whether it ``timed_out``.
        """
        return self.up.run(node, argv, stdin=stdin, seconds=seconds).model_dump(exclude={"kind"})

    @property
    def up(self) -> Lab:
        """The lab itself. It runs until the session ends."""
        return self._engine.lab(self._config)

    def ask(self, **path: Any) -> Answer:
        """Try one path, for ``assert isp.ask(source="pc", to="provider", port=587).delivered``.

        ``path``: the fields of ``PathSpec``. Raises InputError as a scenario file would.
        """
        return Answer(self.send(**path))

    def reload(self, node: str, *policies: str) -> None:
        """Replace the policies of a node. Other tests that ask for a lab with the former ones get another lab.

        ``policies``: names or folders, in order; folders are looked for beside the calling file first. Raises
        InputError as a scenario file would, and for a rule that iptables refuses.
        """
        caller = Path(sys._getframe(1).f_code.co_filename)
        stacks = {name: tuple(map(str, stack)) for name, stack in self._config.policies} | {node: policies}
        new = config_of(self._config.plan, stacks, without_place, caller if caller.is_file() else None)
        self._forget(self._config)
        self._engine.replace(self._config, new)
        self._engine.lab(new)
        self._config = new

    def _judge(
        self, expected: Expected | None, by: str | None, how: Mechanism | None, path: Mapping[str, Any]
    ) -> Verdict:
        question = question_about(PathSpec(**path), self._config, expected=expected, by=by, how=how)
        return self._engine.verdicts([question])[0]


class LabFactory:
    """The fixture ``lab``: call it to get a lab."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[LabConfig, LabUnderTest] = {}

    def __call__(
        self, topology: str, policies: Mapping[str, str | Sequence[str]] | None = None, **parameters: int | bool | str
    ) -> LabUnderTest:
        """A lab. Equal arguments give the same lab.

        ``topology``: name or file. ``policies``: names or folders by node. Paths are looked for beside the calling file
        first. ``parameters``: of the topology. Returns the lab, which starts with its first path. Raises InputError as
        a scenario file would.
        """
        caller = Path(sys._getframe(1).f_code.co_filename)
        config = lab_config(topology, policies or {}, parameters, caller if caller.is_file() else None)
        return self._known.setdefault(config, LabUnderTest(self._engine, config, self._replaced))

    def _replaced(self, config: LabConfig) -> None:
        self._known.pop(config, None)


def factory(config: pytest.Config) -> LabFactory:
    """What the fixture ``lab`` is. Raises MachineError where this machine cannot run labs."""
    return LabFactory(_engine(config))
