from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtbench.board import charts
from mtbench.board.charts import Point
from mtbench.board.standings import Interval

number = st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.none()
inside = st.floats(1e-6, 1e6)


def numbers(plot):
    """Return every number that a picture is made of."""
    found = [place for place, _ in plot.x_ticks + plot.y_ticks]
    found += [place for mark in plot.marks for place in (mark.x, mark.y)]
    for line in plot.lines:
        found += [
            float(each)
            for each in line.path.replace("M", " ").replace("L", " ").replace("H", " ").replace("V", " ").split()
        ]
    return found


@given(st.lists(st.tuples(number, number)))
@example([(1, 5e-324), (2, 0.0)])
@example([(5e-324, 1), (1, 2)])
@example([(1, 0.7), (2, 0.7 + 1e-16)])
def test_pictures_lie_in_their_frame_whatever_the_numbers(pairs):
    points = [Point(f"model {index}", cost, quality) for index, (cost, quality) in enumerate(pairs)]
    plot = charts.pareto(points, "cost", "quality")
    if plot:
        assert all(0 <= each <= charts.WIDTH for each in numbers(plot))


@given(st.lists(st.lists(st.tuples(number, number), max_size=6), max_size=4))
@example([[(1, math.nan)], [(1, 5e-324), (2, 0.0)]])
def test_budget_curves_lie_in_their_frame_whatever_the_numbers(runs):
    plot = charts.progress([(f"model {index}", points) for index, points in enumerate(runs)], "trials", "best score")
    if plot:
        assert all(0 <= each <= charts.WIDTH for each in numbers(plot))


@given(st.lists(st.lists(number, max_size=5), max_size=4), st.integers(-2, 6))
def test_curves_lie_in_their_frame_whatever_the_numbers(runs, chosen):
    plot = charts.curves([(f"seed {index}", values, chosen) for index, values in enumerate(runs)], "epoch", "auc")
    if plot:
        assert all(0 <= each <= charts.WIDTH for each in numbers(plot))


def test_only_what_nothing_beats_in_both_is_joined():
    points = [
        Point("cheap", 1, 44), Point("good", 10, 50), Point("beaten", 20, 45), Point("best", 100, 51),
        Point("same", 100, 50.5), Point("far below", 0.1, 0), Point("free", 0, 60), Point("unknown", None, 60),
    ]  # fmt: skip
    plot = charts.pareto(points, "seconds", "improvement")
    strong = {mark.title.partition(":")[0] for mark in plot.marks if mark.strong}
    weak = {mark.title.partition(":")[0] for mark in plot.marks if not mark.strong}
    assert (strong, weak) == ({"cheap", "good", "best"}, {"beaten", "same"})
    assert plot.lines[0].path.count("V") == 2


def test_a_budget_curve_climbs_at_each_better_trial_and_goes_on_to_its_end():
    runs = [("mmoe", [(1, 40.0), (2, math.nan), (3, 44.0), (4, 41.0)]), ("ple", [(1, math.nan), (2, 43.0)])]
    plot = charts.progress(runs, "trials", "score")
    assert [mark.title for mark in plot.marks] == ["ple: score 43.00, trials 2", "mmoe: score 44.00, trials 4"]
    at = {line.title: line.path for line in plot.lines}
    heights = [float(each.partition("H")[0]) for each in at["mmoe"].split("V")[1:]]
    assert heights[0] > heights[1] == heights[2]  # downwards in a picture; nothing at 2, better at 3, not at 4
    assert at["ple"].count("V") == 0


def test_the_chosen_epoch_is_marked_and_long_curves_are_thinned():
    values = [0.5 + 0.0001 * epoch for epoch in range(5000)]
    plot = charts.curves([("seed 0", values, 4321)], "epoch", "auc")
    assert plot.lines[0].path.count("L") < 2 * charts.MOST_POINTS
    (mark,) = plot.marks
    assert mark.title == "seed 0: 0.9321 in epoch 4322, chosen"


@given(st.lists(inside, min_size=1), st.booleans())
def test_whiskers_keep_the_order_of_their_column(values, higher):
    found = charts.whiskers([Interval(value, value - 1, value + 1) for value in values], higher_is_better=higher)
    pairs = sorted(zip(values, found, strict=True), key=lambda each: each[0], reverse=not higher)
    places = [each.mean for _, each in pairs]
    assert places == sorted(places)
    assert all(0 <= each.low <= each.mean <= each.high <= 100 for each in found)


def test_what_is_far_below_the_median_is_off_the_scale_and_what_has_no_interval_has_none():
    found = charts.whiskers([Interval(0.74, 0.73, 0.75), Interval(0.72, 0.71, 0.73), None, Interval(0.5, 0.5, 0.5)])
    assert [each and each.off for each in found] == [False, False, None, True]
    lower = charts.whiskers([Interval(1.0, 0.9, 1.1), Interval(2.0, 1.9, 2.1)], higher_is_better=False)
    assert lower[0].mean > lower[1].mean


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (999, "999"), (25_088, "25.1 k"), (1_234_567, "1.23 M"), (5e9, "5 G"), (1e15, "1e+15")],
)
def test_short_numbers(value, text):
    assert charts.short(value) == text
