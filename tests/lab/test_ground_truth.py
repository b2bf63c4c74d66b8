"""Every mechanism, over both IP versions, wherever it stands on the way: the classifier that sees everything is right.

`-s` prints the confusion matrix.
"""

from __future__ import annotations

import pytest

from confusion import confusion
from ground_truth import CLIENTS, OF_ENDS, OF_RULES_ALONE, PLACES, TRUTHS, Case, cases
from port25lab.engine.engine import Engine
from port25lab.engine.progress import Quiet
from port25lab.model.mechanism import Mechanism
from port25lab.model.verdict import Verdict
from port25lab.report.explain import explain

Answers = list[tuple[Case, Verdict]]


@pytest.fixture(scope="module")
def answers() -> Answers:
    """All cases, each lab once; what shows at a later attempt only is asked again."""
    asked = list(cases())
    with Engine(Quiet(), keep_labs=True) as engine:
        engine.verdicts([case.question(1) for case in asked])
        return list(zip(asked, engine.verdicts([case.question() for case in asked]), strict=True))


@pytest.fixture(scope="module", autouse=True)
def _matrix(answers: Answers) -> None:
    pairs = [(case.truth.mechanism.value, verdict.mechanism.value) for case, verdict in answers]
    print(f"\nOmniscient: what is true by row, what was said by column\n\n{confusion(pairs, Mechanism)}")


@pytest.mark.parametrize("mechanism", sorted(set(Mechanism) - {Mechanism.UNKNOWN} - OF_RULES_ALONE))
def test_the_mechanism_is_named_wherever_it_stands(answers: Answers, mechanism: Mechanism) -> None:
    mine = [(case, verdict) for case, verdict in answers if case.truth.mechanism is mechanism]
    assert mine
    wrong = [f"at {case.node}, IPv{case.version}\n{explain(verdict)}" for case, verdict in mine if not verdict.ok]
    assert not wrong, "\n\n".join(wrong)


def test_no_case_is_left_out(answers: Answers) -> None:
    assert len(answers) == 2 * (len(PLACES) * sum(map(len, TRUTHS)) + len(CLIENTS) * len(OF_ENDS))
