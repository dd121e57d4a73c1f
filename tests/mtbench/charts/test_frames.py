"""Whatever the numbers, every part of a picture lies in its frame."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from mtbench.charts.lines import draw_curves, draw_progress, draw_ranks
from mtbench.charts.points import Point, Trade, draw_pareto, draw_trades
from mtbench.charts.settings import Axis, Tried, draw_parallel, draw_slice

number = st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.none()
inside = st.floats(-1e6, 1e6)


def lies_in_its_frame(plot):
    """Return whether every mark, tick, line and text lies between the edges of the picture."""
    places = [(x, 0) for x, _ in plot.x_ticks] + [(0, y) for y, _ in plot.y_ticks]
    places += [(mark.x, mark.y) for mark in plot.marks] + [(text.x, text.y) for text in plot.texts]
    for line in plot.lines:
        path = line.path.replace("M", " ").replace("L", " ").replace("H", " ").replace("V", " ")
        places += [(float(place), 0) for place in path.split()]
    return all(0 <= x <= max(plot.frame[:2]) and 0 <= y <= plot.frame.height for x, y in places)


@given(st.lists(st.tuples(number, number)))
@example([(1, 5e-324), (2, 0.0)])
@example([(5e-324, 1), (1, 2)])
@example([(1, 0.7), (2, 0.7 + 1e-16)])
def test_quality_against_cost(pairs):
    for series in (None, 3):
        points = [Point(f"model {index}", cost, quality, series) for index, (cost, quality) in enumerate(pairs)]
        plot = draw_pareto(points, "cost", "quality")
        assert plot is None or lies_in_its_frame(plot)


@given(st.lists(st.lists(st.tuples(number, number), max_size=6), max_size=4))
@example([[(1, math.nan)], [(1, 5e-324), (2, 0.0)]])
def test_progress(runs):
    named = [(f"model {index}", points) for index, points in enumerate(runs)]
    for coloured in (False, True):
        plot = draw_progress(named, "trials", "best score", coloured=coloured)
        assert plot is None or lies_in_its_frame(plot)


@given(st.lists(st.lists(number, max_size=5), max_size=4), st.integers(-2, 6))
def test_curves(runs, chosen):
    plot = draw_curves([(f"seed {index}", values, chosen) for index, values in enumerate(runs)], "epoch", "auc")
    assert plot is None or lies_in_its_frame(plot)


@given(st.lists(st.lists(st.none() | st.integers(1, 3), max_size=5), min_size=3, max_size=3))
def test_ranks(curves):
    plot = draw_ranks({f"model {index}": curve for index, curve in enumerate(curves)}, "trials")
    assert plot is None or lies_in_its_frame(plot)


@given(st.lists(st.tuples(inside, inside, st.booleans()), max_size=6))
def test_trades(values):
    plot = draw_trades([Trade("trial", *each, 0) for each in values], "click", "buy")
    assert (plot is None) == (not values)
    assert plot is None or lies_in_its_frame(plot)


@given(
    st.lists(
        st.tuples(st.integers(1, 64), st.floats(1e-4, 1e-1), st.sampled_from(["a", "b"]), st.floats(-1, 1)),
        min_size=1,
        max_size=6,
    )
)
def test_settings(tried):
    axes = [
        Axis("model.experts", 1, 64, whole=True),
        Axis("training.learning_rate", 1e-4, 1e-1, log=True),
        Axis.of("balancer", ["a", "b"]),
    ]
    titles = [axis.title for axis in axes]
    trials = [Tried("trial", dict(zip(titles, values, strict=True)), score) for *values, score in tried]
    assert all(lies_in_its_frame(draw_slice(axis, trials)) for axis in axes)
    assert lies_in_its_frame(draw_parallel(axes, trials))
