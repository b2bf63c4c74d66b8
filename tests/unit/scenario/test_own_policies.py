"""A scenario's paths under the user's own policies."""

from __future__ import annotations

import pytest

from port25lab.errors import InputError
from port25lab.model.outcome import AnyOf, Should
from port25lab.scenario.own_policies import read_own, under_own_policies
from port25lab.scenario.questions import load_questions


def test_each_path_is_asked_once_and_what_is_right_is_expected() -> None:
    questions = load_questions("conformance/op25b")
    own = under_own_policies(questions, {"isp-edge": ("op25b-reject",)})
    assert len(own) == len({question.bare_id for question in questions})
    assert {question.config.policy_names["isp-edge"] for question in own} == {("op25b-reject",)}
    expected = {question.should: question.expected for question in own}
    assert expected == {Should.BLOCKED: AnyOf.BLOCKED, Should.ALLOWED: AnyOf.PASSES, Should.NOT_COVERED: None}
    assert not [question for question in own if question.by or question.how]


def test_policies_of_one_node_are_loaded_in_their_order() -> None:
    assert read_own(["isp-edge=a", "cpe=b", "isp-edge=c=d"]) == {"isp-edge": ("a", "c=d"), "cpe": ("b",)}


@pytest.mark.parametrize("text", ["isp-edge", "=op25b", "isp-edge=", ""])
def test_anything_else_is_bad_input(text: str) -> None:
    with pytest.raises(InputError, match="NODE=POLICY"):
        read_own([text])
