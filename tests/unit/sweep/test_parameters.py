"""Values of parameters: they are the same on every machine, and mistakes are refused."""

from __future__ import annotations

import statistics

import pytest
from pydantic import TypeAdapter, ValidationError

from port25lab.sweep.parameters import Values, chance

VALUES = TypeAdapter(Values)


def read(value: object) -> object:
    return VALUES.validate_python(value)


def test_a_chance_is_the_same_on_every_machine() -> None:
    assert chance(1, "share", 0) == 0.3323207582715797
    assert chance(1, "share", 0) != chance(1, "share", 1)


def test_a_range_has_both_ends_and_whole_numbers_where_it_can() -> None:
    values = read({"from": 0, "to": 1, "step": 0.1})
    assert [values.value(index) for index in range(values.size)][::5] == [0.0, 0.5, 1.0]
    assert values.value(3) == 0.3
    whole = read({"from": 1, "to": 9, "step": 4})
    assert [whole.value(index) for index in range(whole.size)] == [1, 5, 9]
    assert type(whole.value(0)) is int
    counted = read({"from": 0, "to": 1, "count": 3})
    assert [counted.value(index) for index in range(counted.size)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("distribution", "mean", "sd"),
    [
        ({"distribution": "uniform", "from": 0, "to": 12}, 6, 12 / 12**0.5),
        ({"distribution": "integers", "from": 1, "to": 5}, 3, 2**0.5),
        ({"distribution": "normal", "mean": 5, "sd": 2}, 5, 2),
        ({"distribution": "lognormal", "mean": 5, "sd": 2}, 5, 2),
        ({"distribution": "exponential", "mean": 3}, 3, 3),
    ],
)
def test_draws_have_the_mean_and_the_spread_of_their_distribution(
    distribution: dict[str, object], mean: float, sd: float
) -> None:
    values = read(distribution)
    drawn = [values.draw(chance(distribution, index)) for index in range(4000)]
    assert statistics.fmean(drawn) == pytest.approx(mean, rel=0.05)
    assert statistics.pstdev(drawn) == pytest.approx(sd, rel=0.07)


def test_a_draw_stays_between_its_bounds() -> None:
    values = read({"distribution": "normal", "mean": 0.5, "sd": 5, "from": 0, "to": 1})
    assert {0.0, 1.0} <= {values.draw(chance("bounds", index)) for index in range(50)}
    assert all(0 <= values.draw(chance("bounds", index)) <= 1 for index in range(50))


def test_all_integers_are_drawn() -> None:
    values = read({"distribution": "integers", "from": 1, "to": 3})
    assert {values.draw(chance("integers", index)) for index in range(60)} == {1, 2, 3}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (5, "a parameter is 5"),
        ([], "at least 1 item"),
        ([1, 2, 1], "1 is twice in the list"),
        ([{"a": 1}], "a value is a mapping"),
        ({"from": 0, "to": 1}, "either `step` or `count`"),
        ({"from": 0, "to": 1, "step": 0}, "step is 0"),
        ({"from": 2, "to": 1, "step": 1}, "ends at 1, before 2"),
        ({"distribution": "normal", "mean": 1}, "normal without 'sd'"),
        ({"distribution": "uniform", "from": 0, "to": 1, "sd": 1}, "uniform with 'sd'"),
        ({"distribution": "integers", "from": 0.5, "to": 1}, "not whole"),
        ({"distribution": "exponential", "mean": 0}, "mean is 0"),
        ({"distribution": "uniform", "from": 0, "to": 1, "draws": 10**9}, "1000000000 draws"),
    ],
)
def test_mistakes_are_refused(value: object, wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        read(value)


def test_one_and_true_are_two_values() -> None:
    assert read([1, True, "1"]).size == 3
