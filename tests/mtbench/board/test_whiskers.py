from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mtbench.board.standings import Interval
from mtbench.board.whiskers import draw_whiskers


@given(st.lists(st.floats(1e-6, 1e6), min_size=1), st.booleans())
def test_whiskers_keep_the_order_of_their_column(values, higher):
    whiskers = draw_whiskers([Interval(value, value - 1, value + 1) for value in values], higher_is_better=higher)
    pairs = sorted(zip(values, whiskers, strict=True), key=lambda pair: pair[0], reverse=not higher)
    places = [whisker.mean for _, whisker in pairs]
    assert places == sorted(places)
    assert all(0 <= whisker.low <= whisker.mean <= whisker.high <= 100 for whisker in whiskers)


def test_what_is_far_below_the_median_is_off_the_scale_and_what_has_no_interval_has_none():
    intervals = [Interval(0.74, 0.73, 0.75), Interval(0.72, 0.71, 0.73), None, Interval(0.5, 0.5, 0.5)]
    assert [whisker and whisker.off for whisker in draw_whiskers(intervals)] == [False, False, None, True]
    dot = draw_whiskers([*intervals, Interval(0.73, None, None)])[-1]
    assert 0 < dot.low == dot.mean == dot.high < 100
    lower = draw_whiskers([Interval(1.0, 0.9, 1.1), Interval(2.0, 1.9, 2.1)], higher_is_better=False)
    assert lower[0].mean > lower[1].mean
