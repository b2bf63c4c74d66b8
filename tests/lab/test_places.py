"""Whose fault it is: every kind of fault at every place between a mail program and a server, probed by a client.

Each diagnosis has the truth, mechanism and place: alone, or among others where a client cannot tell, with the reason.
`-s` prints the matrix of places.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from confusion import confusion
from ground_truth import POLICIES
from place_lab import AVENUE, SECONDS, Seen, batches, look, probe_job, right, run_all, start, views_of
from place_scenes import HONEST, SCENES, Scene
from place_truth import PLACES, PORTS, Row, rows
from port25lab.engine.needs import policies_of
from port25lab.lab.handle import Lab
from port25lab.lab.sandboxes import Sandboxes
from port25lab.model.mechanism import Mechanism
from port25lab.probe.ambiguous import explain
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import classify
from port25lab.probe.client_view import ClientView
from port25lab.probe.places import Place
from port25lab.scenario.questions import lab_config

LATE_SECONDS = 1.0
"""A prober that wanted a processor for longer need not end in time."""

AGAIN_SECONDS = 0.3
"""A prober that wanted a processor for longer, and was wrong, is asked again, with few others beside it."""

AT_ONCE_AGAIN = 2

CLIENTS, SERVERS = 13, 22


@contextmanager
def _avenue() -> Iterator[Lab]:
    policies = {"border": str(POLICIES / "starttls-stripping")}  # for its proxy; its rule is about no server of a row
    config = lab_config(str(AVENUE), policies, {"clients": CLIENTS, "servers": SERVERS})
    with Sandboxes() as sandboxes, Lab(sandboxes, config.plan, policies_of(config)) as lab:
        yield lab


@pytest.fixture(scope="module")
def running() -> Iterator[Lab]:
    with _avenue() as lab:
        yield lab


@pytest.fixture(scope="module")
def seen(running: Lab) -> list[Seen]:
    """All rows, half of them in a second lab; those that were wrong and late once more, in small batches."""
    parts = list(batches(rows()))
    with _avenue() as another, ThreadPoolExecutor(2) as pool:
        looked = pool.map(_look_all, (running, another), (parts[::2], parts[1::2]))
        found = {one.row: one for half in looked for one in half}
    late = [row for row, one in found.items() if one.starved > AGAIN_SECONDS and one.wrong()]
    again = [late[first : first + AT_ONCE_AGAIN] for first in range(0, len(late), AT_ONCE_AGAIN)]
    return list((found | {one.row: one for one in _look_all(running, again)}).values())


def _look_all(lab: Lab, parts: Sequence[list[Row]]) -> list[Seen]:
    return [one for number, batch in enumerate(parts) for one in look(lab, batch, number)]


@dataclass(frozen=True)
class Met:
    """A scene, and what its client concluded."""

    scene: Scene
    view: ClientView
    diagnoses: dict[tuple[int, int], Diagnosis]

    @property
    def is_single(self) -> bool:
        mine = [one for (_, version), one in self.diagnoses.items() if version in self.scene.truth]
        return all(one.certain and not one.places for one in mine)


@pytest.fixture(scope="module")
def met(running: Lab, seen: list[Seen]) -> list[Met]:
    """All scenes, after the rows: their faults stay."""
    support = Path(AVENUE).parent
    lies = {scene.host: scene.lies for scene in SCENES if scene.lies}
    start(running, "access", sys.executable, str(support / "liar.py"), HONEST, json.dumps(lies))
    start(running, "server-18", sys.executable, str(support / "resetter.py"), "2525")
    for node, command in (step for scene in SCENES for step in scene.commands()):
        (done,) = run_all(running, [(node, ("sh", "-c", command), "")])
        assert done.returncode == 0, (node, command, done.stderr)
    of_each: dict[str, list[Scene]] = defaultdict(list)
    for scene in SCENES:
        of_each[scene.client].append(scene)
    jobs = [probe_job(client, [one.host for one in mine], privileged=False) for client, mine in of_each.items()]
    found = []
    for mine, done in zip(of_each.values(), run_all(running, jobs), strict=True):
        for scene, view in zip(mine, views_of(done)[1], strict=True):
            found.append(Met(scene, view, dict(_of_each_port(view))))
    return [_again(running, one) if one.scene.single and not one.is_single else one for one in found]


def _again(lab: Lab, late: Met) -> Met:
    """A scene by itself: where DNS servers get no processor, no second answer comes in time."""
    (done,) = run_all(lab, [probe_job(late.scene.client, [late.scene.host], privileged=False)])
    (view,) = views_of(done)[1]
    return Met(late.scene, view, dict(_of_each_port(view)))


def _of_each_port(view: ClientView) -> Iterator[tuple[tuple[int, int], Diagnosis]]:
    for port in PORTS:
        for version in (4, 6):
            diagnosis = classify(view, port, version)
            if diagnosis is not None:
                yield (port, version), diagnosis


def said(diagnosis: Diagnosis, truth: Place | None) -> str:
    """The place that was said; of several, how many, where the truth is among them."""
    if not diagnosis.places or truth not in (diagnosis.place, *diagnosis.places):
        return diagnosis.place or "none"
    return f"one of {1 + len(diagnosis.places)}"


def test_the_matrix_of_places(seen: list[Seen]) -> None:
    pairs = [
        (fault.place.value if fault else "none", said(diagnosis, fault.place if fault else None))
        for one in seen
        for fault, port, diagnosis in one.answers()
        if fault is not None or diagnosis.mechanism is Mechanism.NONE
    ]
    judged = Counter(_judged(one) for one in seen)
    order = ["none", *dict.fromkeys(PLACES.values())]
    print(f"\nPlaces: what is true by row, what was said by column\n\n{confusion(pairs, order)}")
    print(f"{len(seen)} rows; diagnoses: {dict(judged)}\n")
    assert not [wrong for one in seen for wrong in one.wrong()]


def _judged(one: Seen) -> str:
    if one.wrong():
        return "wrong"
    alone = all(not diagnosis.places for fault, _, diagnosis in one.answers() if fault is not None)
    return "one place, right" if alone else "several places, the right one among them"


def of(seen: Sequence[Seen], place: Place) -> list[tuple[Row, Diagnosis]]:
    return [
        (one.row, diagnosis)
        for one in seen
        for fault, _, diagnosis in one.answers()
        if fault is not None and fault.place is place
    ]


def test_faults_of_the_own_machine_are_proven_by_its_own_kernel(seen: list[Seen]) -> None:
    """Dropped answers take an idle machine: its other dropped packets hide them."""
    found = of(seen, Place.OWN_MACHINE)
    doubtful = [(row, diagnosis) for row, diagnosis in found if diagnosis.places or not diagnosis.certain]
    assert not [pair for pair in doubtful if Mechanism.ANSWER_DROP not in pair[1].candidates], doubtful
    dropped = [diagnosis for _, diagnosis in found if diagnosis.mechanism is Mechanism.ANSWER_DROP]
    assert [diagnosis for diagnosis in dropped if diagnosis.place is Place.OWN_MACHINE and not diagnosis.places]


def test_other_places_are_never_taken_for_the_own_machine_alone(seen: list[Seen]) -> None:
    others = [pair for place in PLACES.values() if place is not Place.OWN_MACHINE for pair in of(seen, place)]
    assert others
    assert not [pair for pair in others if pair[1].place is Place.OWN_MACHINE and not pair[1].places]


def test_doubts_have_reasons(seen: list[Seen], met: list[Met]) -> None:
    found = [diagnosis for one in seen for _, _, diagnosis in one.answers()]
    found += [diagnosis for one in met for diagnosis in one.diagnoses.values()]
    assert all(diagnosis.place_reason for diagnosis in found if diagnosis.places)
    assert all(diagnosis.certain or explain(diagnosis.candidates) for diagnosis in found)


def test_a_probe_ends_within_6_seconds_whatever_is_silent(seen: list[Seen]) -> None:
    in_time = [one.view.seconds for one in seen if one.starved < LATE_SECONDS]
    assert max(in_time, default=0) <= 6.0 < SECONDS


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_scene(met: list[Met], scene: Scene) -> None:
    (mine,) = (one for one in met if one.scene is scene)
    for (port, version), diagnosis in mine.diagnoses.items():
        if version not in scene.truth or port not in scene.ports:
            continue
        mechanism, place = scene.truth[version]
        fine = mechanism is Mechanism.NONE
        if fine:
            assert right(None, port, diagnosis), diagnosis
            continue
        assert mechanism in diagnosis.candidates, repr(diagnosis)
        assert place in (diagnosis.place, *diagnosis.places), repr(diagnosis)
    assert not scene.single or mine.is_single, mine.diagnoses


def test_a_server_that_resets_at_once_looks_the_same_each_time(met: list[Met], running: Lab) -> None:
    views = [
        views_of(one)[1][0] for _ in range(3) for one in run_all(running, [probe_job("pc-7", ["mx.s18.example"], True)])
    ]
    found = {tuple((d.port, d.ip_version, d.candidates) for _, d in _of_each_port(view)) for view in views}
    assert len(found) == 1, found
