from __future__ import annotations

import math

from mtbench.charts.lines import DOT, MOST_POINTS, draw_curves, draw_progress, draw_ranks
from mtbench.charts.plots import MIDDLE


def test_a_budget_curve_climbs_at_each_better_trial_and_goes_on_to_its_end():
    runs = [("mmoe", [(1, 40.0), (2, math.nan), (3, 44.0), (4, 41.0)]), ("ple", [(1, math.nan), (2, 43.0)])]
    plot = draw_progress(runs, "trials", "score")
    assert [mark.title for mark in plot.marks] == ["ple: score 43.00, trials 2", "mmoe: score 44.00, trials 4"]
    at = {line.title: line.path for line in plot.lines}
    heights = [float(step.partition("H")[0]) for step in at["mmoe"].split("V")[1:]]
    assert heights[0] > heights[1] == heights[2]  # downwards in a picture; nothing at 2, better at 3, not at 4
    assert at["ple"].count("V") == 0


def test_coloured_runs_keep_the_colour_of_their_place_and_show_every_trial_that_is_not_far_below():
    runs = [("mmoe", [(1, 0.40), (2, 0.10), (3, 0.39)]), ("ple", [(1, 0.30), (2, 0.42), (3, None)])]
    plot = draw_progress(runs, "trials", "score", form=".4f", coloured=True)
    assert {line.title: line.hue for line in plot.lines} == {"mmoe": "series-0", "ple": "series-1"}
    dots = {mark.title: mark for mark in plot.marks if mark.radius == DOT}
    assert set(dots) == {
        "mmoe, trial 1: 0.4000", "mmoe, trial 3: 0.3900", "ple, trial 1: 0.3000", "ple, trial 2: 0.4200",
    }  # fmt: skip
    assert dots["mmoe, trial 3: 0.3900"].y > dots["mmoe, trial 1: 0.4000"].y
    assert [text for _, text in plot.x_ticks] == ["0", "1", "2", "3"]


def test_the_chosen_epoch_is_marked_and_long_curves_are_thinned():
    values = [0.5 + 0.0001 * epoch for epoch in range(5000)]
    plot = draw_curves([("seed 0", values, 4321)], "epoch", "auc")
    assert plot.lines[0].path.count("L") < 2 * MOST_POINTS
    (mark,) = plot.marks
    assert mark.title == "seed 0: 0.9321 in epoch 4322, chosen"


def test_a_curve_of_two_epochs_has_a_tick_at_each():
    plot = draw_curves([("seed 0", [0.5, 0.6], 1)], "epoch", "auc")
    assert [text for _, text in plot.x_ticks] == ["1", "2"]


def test_the_first_rank_is_on_top_and_a_model_without_a_rank_yet_begins_later():
    plot = draw_ranks({"mmoe": [1, 2, 2], "ple": [None, 1, 1]}, "trials")
    marks = {mark.title: mark for mark in plot.marks}
    assert set(marks) == {
        "mmoe: rank 1 after 1", "mmoe: rank 2 after 2", "mmoe: rank 2 after 3",
        "ple: rank 1 after 2", "ple: rank 1 after 3",
    }  # fmt: skip
    first, second = marks["ple: rank 1 after 3"], marks["mmoe: rank 2 after 3"]
    assert MIDDLE.top < first.y < second.y < MIDDLE.bottom
    assert first.x == second.x
    assert (first.label, second.label) == ("ple", "mmoe")
    assert [text for _, text in plot.y_ticks] == ["1", "2"]


def test_models_that_share_a_rank_at_the_end_do_not_write_over_each_other():
    plot = draw_ranks({"mmoe": [1], "ple": [1], "stem": [3]}, "trials")
    assert sorted(mark.label for mark in plot.marks) == ["", "ple", "stem"]
