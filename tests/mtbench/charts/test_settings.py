from __future__ import annotations

import pytest

from mtbench.charts.bars import draw_bars
from mtbench.charts.settings import SMALL, Axis, Tried, draw_parallel, draw_slice

RATE = Axis("training.learning_rate", 1e-4, 1e-2, log=True)
EXPERTS = Axis("model.experts", 2, 10, whole=True)
BALANCER = Axis.of("balancer", ["equal", "uncertainty", "dwa"])


def tried(number, score, rate=1e-3, experts=4, balancer="equal"):
    values = {"training.learning_rate": rate, "model.experts": experts, "balancer": balancer}
    return Tried(f"trial {number}", values, score)


def test_a_slice_over_powers_of_ten_has_them_at_equal_distances_and_the_best_full_on_top():
    trials = [tried(2, 0.5, 1e-2), tried(1, 0.3, 1e-3), tried(3, 0.4, 1e-4)]
    plot = draw_slice(RATE, trials)
    *beaten, best = plot.marks
    assert best.strong
    assert not any(mark.strong for mark in beaten)
    assert best.title == "trial 2: score 0.5000, 0.01"
    places = {mark.title.partition(":")[0]: mark for mark in plot.marks}
    assert places["trial 2"].x - places["trial 1"].x == pytest.approx(places["trial 1"].x - places["trial 3"].x)
    assert places["trial 2"].y < places["trial 3"].y < places["trial 1"].y
    assert [text for _, text in plot.x_ticks] == ["0.0001", "0.001", "0.01"]
    assert plot.frame == SMALL


def test_choices_keep_the_order_of_the_space_and_are_slanted_where_they_would_touch():
    plot = draw_slice(BALANCER, [tried(1, 0.3, balancer="dwa"), tried(2, 0.5, balancer="equal")])
    assert [text for _, text in plot.x_ticks] == ["equal", "uncertainty", "dwa"]
    assert [mark.x for mark in plot.marks] == [plot.x_ticks[2][0], plot.x_ticks[0][0]]
    assert plot.slanted
    assert not draw_slice(Axis.of("model.wide", ["true", "false"]), [Tried("t", {"model.wide": "true"}, 1.0)]).slanted


def test_ticks_of_whole_settings_are_whole():
    plot = draw_slice(Axis("model.experts", 1, 3, whole=True), [tried(1, 0.3, experts=2)])
    assert [text for _, text in plot.x_ticks] == ["1", "2", "3"]


def test_a_long_choice_is_cut_and_one_that_is_not_in_the_space_is_an_error():
    axis = Axis.of("balancer", ["a-very-long-name", "b"])
    assert draw_slice(axis, [tried(1, 0.3, balancer="b")]).x_ticks[0][1] == "a-very-lon…"
    with pytest.raises(ValueError, match="other"):
        draw_slice(axis, [tried(1, 0.3, balancer="other")])


def test_a_line_goes_through_the_places_of_its_values_on_every_axis():
    trials = [tried(1, 0.2, 1e-4, 2, "equal"), tried(2, 0.6, 1e-2, 10, "dwa"), tried(3, 0.4, 1e-3, 6, "uncertainty")]
    plot = draw_parallel([RATE, EXPERTS, BALANCER], trials)
    bottom, top = plot.frame.bottom, plot.frame.top
    middle = (bottom + top) / 2
    paths = {line.title: line for line in plot.lines if line.hue != "quiet"}
    heights = {title: [float(place.split()[1]) for place in line.path[1:].split("L")] for title, line in paths.items()}
    assert heights == {
        "trial 1: score 0.2000": [bottom] * 3,
        "trial 3: score 0.4000": [middle] * 3,
        "trial 2: score 0.6000": [top] * 3,
    }
    assert [line.hue for line in paths.values()] == ["heat-0", "heat-5", "heat-10"]
    assert list(paths)[-1] == "trial 2: score 0.6000"
    assert [mark.y for mark in plot.marks] == [top] * 3
    words = [text.words for text in plot.texts]
    assert words == [
        "training", "learning_rate", "0.0001", "0.01", "model", "experts", "2", "10",
        "balancer", "equal", "uncertainty", "dwa",
    ]  # fmt: skip


def test_equal_scores_and_a_range_of_one_value_can_be_drawn():
    axis = Axis("model.experts", 4, 4, whole=True)
    plot = draw_parallel([axis, BALANCER], [tried(1, 0.3), tried(2, 0.3)])
    assert [line.hue for line in plot.lines if line.hue != "quiet"] == ["heat-10", "heat-10"]


def test_bars_are_as_long_as_their_shares_and_keep_their_order():
    plot = draw_bars({"mtbench": 0.8, "other": 0.4, "broken": None}, longest=1.0, told="mtbench")
    room = plot.frame.right - plot.frame.left
    assert [bar.width / room for bar in plot.bars] == pytest.approx([0.8, 0.4], abs=0.001)
    assert [bar.hue for bar in plot.bars] == ["", "quiet"]
    assert plot.bars[0].y < plot.bars[1].y
    assert [text.words for text in plot.texts] == ["mtbench", "80 %", "other", "40 %", "broken", "not available"]
