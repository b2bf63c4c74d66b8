"""Every mechanism, over both IP versions, wherever it stands: what a client alone can say of it.

It is right wherever a client can be: each answer is the truth alone, or a set with the truth in it of which
``probe.indistinguishable`` says why no client can tell more. `-s` prints the confusion matrix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from client_only import WITHOUT_PRIVILEGES, Looked, look
from confusion import confusion
from ground_truth import OF_ENDS, OF_RULES_ALONE, Case, cases
from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.model.mechanism import Mechanism
from port25lab.model.question import LabConfig
from port25lab.probe.ambiguous import explain
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import classify
from port25lab.probe.client_view import ClientView

AT_ONCE = 2

ALONE = 2
"""How often a lab that was late is asked again, with no other beside it."""

LATE_SECONDS = 2.5
"""All waits of a probe together. Beside three busy loops it was 2.7 at most, and no answer was wrong."""

HOPS = {"cpe": 1, "isp-edge": 2, "isp-cgn": 3, "isp-border": 4, "ix": 5, "hotel-gw": 1}
"""How far each place is from its client."""

NEVER_CERTAIN = (Mechanism.ANSWER_DROP, Mechanism.DNSBL_LISTING, Mechanism.NO_ROUTE)

FOUND_BY_HOP = (
    Mechanism.SYN_DROP,
    Mechanism.REJECT_ICMP,
    Mechanism.REJECT_RESET,
    Mechanism.RATE_LIMIT,
    Mechanism.INTERCEPTION,
    Mechanism.REFUSING_GREETING,
    Mechanism.ACCEPT_CLOSE,
    Mechanism.TARPIT,
    Mechanism.STARTTLS_STRIPPING,
    Mechanism.BANNER_MASKING,
    Mechanism.SNI_RESET,
)

Answers = list[tuple[Case, Diagnosis]]

Place = tuple[LabConfig, str]
"""A lab, and the node that a client asks from."""


def answers_of(chosen: Iterable[Case], *prefix: str) -> Answers:
    """All cases, each lab once; and again, one at a time, labs with an answer that is not perfect, and that were late.

    What a client sees then is its own slowness. Cases of which no try was in time are left out, and printed.
    """
    waiting: dict[Place, list[Case]] = defaultdict(list)
    for case in chosen:
        waiting[case.config, case.source].append(case)
    answers: Answers = []
    for at_once in (AT_ONCE, *[1] * ALONE):
        found = _looked(waiting, at_once, prefix)
        for place, looked in found.items():
            mine = [(case, _diagnosis(looked.views[one], case)) for case, one in looked.asked]
            if looked.late <= LATE_SECONDS or all(perfect(*answer) for answer in mine):
                answers += mine
                del waiting[place]
    for left in waiting.values():
        print(f"This machine is too slow: {len(left)} cases are not known")
    return answers


def _looked(wanted: Mapping[Place, list[Case]], at_once: int, prefix: Iterable[str]) -> dict[Place, Looked]:
    """Each place in a lab of its own, so many side by side."""
    with Engine(Quiet(), keep_labs=True) as engine, ThreadPoolExecutor(at_once) as pool:
        if wanted:
            engine.lab(next(iter(wanted))[0])  # the engine makes its sandboxes once, and not in several threads

        def look_from(config: LabConfig, source: str) -> Looked:
            return look(engine.lab(config), source, wanted[config, source], *prefix)

        jobs = {place: pool.submit(look_from, *place) for place in wanted}
        return {place: job.result() for place, job in jobs.items()}


def _diagnosis(view: ClientView, case: Case) -> Diagnosis:
    diagnosis = classify(view, case.question().path.port, case.version)
    assert diagnosis is not None
    return diagnosis


def said(case: Case, diagnosis: Diagnosis) -> str:
    """What stands in the matrix: the truth where it is among what is at work; a set where nobody can say more."""
    truth = case.truth.mechanism
    if truth in diagnosis.also and diagnosis.certain:
        return truth.value
    return " or ".join(sorted(diagnosis.candidates)) if not diagnosis.certain else diagnosis.mechanism.value


def right(case: Case, diagnosis: Diagnosis) -> bool:
    truth = case.truth.mechanism
    return truth in diagnosis.also or truth is diagnosis.mechanism or truth in diagnosis.alternatives


def perfect(case: Case, diagnosis: Diagnosis) -> bool:
    """Whether a diagnosis says all that a client can know: what the tests below ask of it."""
    may_doubt = case.node == "ix" or case.truth.mechanism in NEVER_CERTAIN
    has_hop = case.node in (None, "ix") or case.truth.mechanism not in FOUND_BY_HOP or diagnosis.hop is not None
    right_hop = case.node is None or diagnosis.hop in (None, HOPS[case.node])
    return right(case, diagnosis) and (diagnosis.certain or may_doubt) and has_hop and right_hop


@pytest.fixture(scope="module")
def answers() -> Answers:
    return answers_of(cases())


@pytest.fixture(scope="module", autouse=True)
def _matrix(answers: Answers) -> None:
    pairs = [(case.truth.mechanism.value, said(case, diagnosis)) for case, diagnosis in answers]
    print(f"\nClient-only: what is true by row, what was said by column\n\n{confusion(pairs, Mechanism)}")
    sets = sum(right(*answer) and not answer[1].certain for answer in answers)
    alone = sum(right(*answer) and answer[1].certain for answer in answers)
    print(
        f"{alone} right alone, {sets} right in a set that no client can narrow, {len(answers) - alone - sets} wrong\n"
    )
    for mechanisms in sorted({diagnosis.candidates for _, diagnosis in answers if not diagnosis.certain}, key=sorted):
        row = explain(mechanisms)
        print(f"{' or '.join(sorted(mechanisms))}: {row.reason if row else 'NO REASON IS KNOWN'}")


@pytest.mark.parametrize("mechanism", sorted(set(Mechanism) - {Mechanism.UNKNOWN} - OF_RULES_ALONE))
def test_the_truth_is_among_what_a_client_says(answers: Answers, mechanism: Mechanism) -> None:
    mine = [(case, diagnosis) for case, diagnosis in answers if case.truth.mechanism is mechanism]
    if not mine:
        pytest.skip("this machine is too slow: no lab with this mechanism got enough processor time")
    wrong = [
        f"{case.truth.to} of {case.topology}, at {case.node}, IPv{case.version}: {diagnosis!r}"
        for case, diagnosis in mine
        if not right(case, diagnosis)
    ]
    assert not wrong, "\n".join(wrong)


def test_doubts_are_those_that_are_explained(answers: Answers) -> None:
    assert all(diagnosis.certain or explain(diagnosis.candidates) for _, diagnosis in answers)


def test_doubt_is_where_a_client_cannot_know_and_nowhere_else(answers: Answers) -> None:
    """Right before the destination, its own side may do everything; elsewhere the distance tells."""
    doubtful = [(case, diagnosis) for case, diagnosis in answers if not diagnosis.certain]
    needless = [(c, f) for c, f in doubtful if c.node != "ix" and c.truth.mechanism not in NEVER_CERTAIN]
    assert not needless, needless


def test_a_hop_that_is_named_is_the_right_one(answers: Answers) -> None:
    wrong = [
        f"{case.truth.mechanism} to {case.truth.to} at {case.node}, IPv{case.version}: {diagnosis!r}"
        for case, diagnosis in answers
        if case.node and diagnosis.hop is not None and diagnosis.hop != HOPS[case.node]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_hop_is_named_wherever_a_client_can_tell(answers: Answers) -> None:
    mine = [(c, f) for c, f in answers if c.node not in (None, "ix") and c.truth.mechanism in FOUND_BY_HOP]
    assert all(diagnosis.hop is not None for _, diagnosis in mine), [f for _, f in mine if f.hop is None]


def test_without_privileges_a_client_says_nothing_wrong() -> None:
    chosen = [case for case in cases() if case.source == "pc" and case.node in (None, "isp-edge", "ix")]
    chosen = [
        case for case in chosen if case.truth in OF_ENDS or not set(case.config.policy_names) - {"isp-edge", "ix"}
    ]
    found = answers_of(chosen, *WITHOUT_PRIVILEGES)
    assert not [(case, diagnosis) for case, diagnosis in found if not right(case, diagnosis)]
    assert all(diagnosis.certain or explain(diagnosis.candidates) for _, diagnosis in found)
    resets = {(case.node, case.version): diagnosis for case, diagnosis in found if case.truth.policy == "reject-reset"}
    if not {("isp-edge", 4), ("isp-edge", 6), ("ix", 4)} <= resets.keys():
        pytest.skip("this machine is too slow: a lab with resets got too little processor time each time")
    assert resets["isp-edge", 4].certain and resets["isp-edge", 6].certain
    assert resets["ix", 4].candidates == {Mechanism.NO_LISTENER, Mechanism.REJECT_RESET}
