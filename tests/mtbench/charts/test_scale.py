from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbench.charts.scale import Scale, find_floor, finite, fit, short


def test_a_number_lies_where_its_share_of_the_way_says():
    assert [Scale(0, 10, 100, 200).at(value) for value in (0, 2.5, 10)] == [100, 125, 200]
    assert [Scale(0, 10, 200, 100).at(value) for value in (0, 2.5, 10)] == [200, 175, 100]
    assert [Scale(0, 2, 0, 100, log=True).at(value) for value in (1, 10, 100)] == [0, 50, 100]


@pytest.mark.parametrize(
    ("scale", "texts"),
    [
        (Scale(0, 10, 0, 100), ["0", "2", "4", "6", "8", "10"]),
        (Scale(0.71, 0.74, 0, 100), ["0.71", "0.72", "0.73", "0.74"]),
        (Scale(-0.3, 0.3, 0, 100), ["-0.2", "0.0", "0.2"]),
        (Scale(0.94, 2.06, 0, 100), ["1.0", "1.5", "2.0"]),
        (Scale(0.94, 2.06, 0, 100, whole=True), ["1", "2"]),
        (Scale(0, 12, 0, 100, whole=True, most=12), [str(number) for number in range(13)]),
        (Scale(-4.2, -0.8, 0, 100, log=True), ["0.0001", "0.001", "0.01", "0.1"]),
        (Scale(2.9, 4.1, 0, 100, log=True), ["1 k", "2 k", "5 k", "10 k"]),
        (Scale(math.log10(2100), math.log10(4600), 0, 100, log=True), ["2.5 k", "3 k", "3.5 k", "4 k", "4.5 k"]),
    ],
)
def test_ticks_are_round_numbers_between_the_ends(scale, texts):
    ticks = scale.ticks()
    assert [text for _, text in ticks] == texts
    assert all(scale.start <= place <= scale.end for place, _ in ticks)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1), st.booleans())
def test_a_fitted_scale_has_room_beyond_the_values(values, log):
    scale = fit(values, 0, 1000, log=log)
    assert 0 < scale.at(min(values)) <= scale.at(max(values)) < 1000


def test_what_is_far_worse_than_the_median_lies_below_the_floor():
    assert find_floor([10.0, 9.0, 8.0, -50.0]) == 10.0 - 2.5 * (10.0 - 8.5)
    assert find_floor([1.0, 1.0]) == -math.inf


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (999, "999"), (25_088, "25.1 k"), (1_234_567, "1.23 M"), (5e9, "5 G"), (1e15, "1e+15")],
)
def test_short_numbers(value, text):
    assert short(value) == text


@pytest.mark.parametrize(
    ("given", "drawn"),
    [(1, 1.0), (5e-324, 0.0), (math.nan, None), (math.inf, None), (None, None), (10**400, None), (1e300, None)],
)
def test_what_can_be_drawn(given, drawn):
    assert finite(given) == drawn
