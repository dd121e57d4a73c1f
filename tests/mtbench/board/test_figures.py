"""Cells of the matrices; whole pictures of a comparison are tested where comparisons are."""

from __future__ import annotations

import pytest

from mtbench.board.figures import MatrixCell, _judge_change, _judge_pair
from mtbench.board.standings import Interval


@pytest.mark.parametrize(
    ("mean", "low", "high", "text", "look", "unclear"),
    [
        (0.03, 0.01, 0.05, "+3.0", "better-4", False),
        (0.0301, -0.01, 0.07, "+3.0", "better-4", True),
        (-0.004, -0.006, -0.002, "\N{MINUS SIGN}0.4", "worse-1", False),
        (-0.6, -0.7, -0.5, "\N{MINUS SIGN}60.0", "worse-5", False),
        (0.005, 0.0, 0.01, "+0.5", "better-2", True),  # an interval that touches zero
        (0.0, 0.0, 0.0, "+0.0", "worse-1", True),
    ],
)
def test_a_change_is_coloured_by_its_size_and_muted_where_it_may_be_none(mean, low, high, text, look, unclear):
    cell = _judge_change(Interval(mean, low, high))
    assert (cell.text, cell.look, cell.unclear) == (text, look, unclear)
    assert f"{100 * high:+.1f} %".replace("-", "\N{MINUS SIGN}") in cell.hint


def test_no_change_is_no_cell():
    assert _judge_change(None) is None


def test_a_change_without_an_interval_is_unclear():
    cell = _judge_change(Interval(0.6, None, None))
    assert (cell.text, cell.hint, cell.unclear) == ("+60.0", "one seed, not resampled: no interval", True)


@pytest.mark.parametrize(
    ("p", "ahead", "cell"),
    [
        (0.0004, True, MatrixCell("<.001", "better than", "better-3", unclear=False)),
        (0.0123, False, MatrixCell(".012", "worse than", "worse-3", unclear=False)),
        (0.05, True, MatrixCell(".050", "cannot be told apart", "better-3", unclear=True)),
        (1.0, False, MatrixCell("1", "cannot be told apart", "worse-3", unclear=True)),
        (float("nan"), True, MatrixCell("1", "cannot be told apart", "better-3", unclear=True)),
    ],
)
def test_a_duel_is_won_only_where_its_p_is_below_the_level(p, ahead, cell):
    assert _judge_pair(p, ahead=ahead) == cell
