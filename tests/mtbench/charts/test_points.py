from __future__ import annotations

from mtbench.charts.points import Point, Trade, draw_pareto, draw_trades


def test_only_what_nothing_beats_in_both_is_joined():
    points = [
        Point("cheap", 1, 44), Point("good", 10, 50), Point("beaten", 20, 45), Point("best", 100, 51),
        Point("same", 100, 50.5), Point("far below", 0.1, 0), Point("free", 0, 60), Point("unknown", None, 60),
    ]  # fmt: skip
    plot = draw_pareto(points, "seconds", "improvement")
    strong = {mark.title.partition(":")[0] for mark in plot.marks if mark.strong}
    weak = {mark.title.partition(":")[0] for mark in plot.marks if not mark.strong}
    assert (strong, weak) == ({"cheap", "good", "best"}, {"beaten", "same"})
    assert plot.lines[0].path.count("V") == 2
    assert {mark.label for mark in plot.marks} == {"cheap", "good", "best", ""}


def test_costs_lie_by_their_logarithms_and_better_is_higher():
    plot = draw_pareto([Point("a", 1, 1), Point("b", 10, 2), Point("c", 100, 3)], "cost", "quality")
    a, b, c = plot.marks
    assert b.x - a.x == c.x - b.x > 0
    assert a.y - b.y == b.y - c.y > 0


def test_points_of_series_have_their_colours_instead_of_names():
    plot = draw_pareto([Point("a, trial 1", 1, 1, 0), Point("b, trial 1", 10, 2, 1)], "cost", "quality")
    assert [(mark.hue, mark.label, mark.strong) for mark in plot.marks] == [
        ("series-0", "", True), ("series-1", "", True),
    ]  # fmt: skip
    assert plot.lines[0].hue == "quiet"


def test_trades_that_nothing_beats_are_drawn_over_the_others():
    plot = draw_trades([Trade("best", 0.8, 0.9, True, 0), Trade("beaten", 0.7, 0.6, False, 11)], "click", "buy")
    beaten, best = plot.marks
    assert (beaten.strong, beaten.hue, best.strong, best.hue) == (False, "series-1 again", True, "series-0")
    assert best.x > beaten.x
    assert best.y < beaten.y
    assert best.title == "best: click 0.8000, buy 0.9000"
