from __future__ import annotations

from mtbench.tuning.figures import draw_budget, draw_costs, draw_settings, draw_slices, draw_tasks, write_value
from mtbench.tuning.history import History, Outcome

SPACE = {
    "model.layers": [[32], [64, 32]],
    "balancer": ["equal", {"name": "dwa", "beta": 1}],
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}


def finished(slot, tasks, layers="[32]", balancer="equal", rate=1e-3, **costs):
    params = {"model.layers": layers, "balancer": balancer, "training.learning_rate": rate}
    return Outcome(slot, "finished", sum(tasks) / len(tasks), dict(zip("abc", tasks, strict=False)), params, **costs)


def titles(plot, *, strong):
    return {mark.title.partition(":")[0] for mark in plot.marks if mark.strong == strong}


def test_a_trial_is_beaten_in_all_tasks_or_not_at_all_whichever_two_are_shown():
    mmoe = History("mmoe", 3, {}, [finished(0, (0.5, 0.5, 0.9)), finished(1, (0.6, 0.6, 0.6))], 0)
    ple = History("ple", 3, {}, [finished(0, (0.7, 0.4, 0.5)), finished(1, (0.5, 0.5, 0.5))], 0)
    plots = draw_tasks([mmoe, ple], ["a", "b", "c"])
    assert [(plot.x_title, plot.y_title) for plot in plots] == [("a", "b"), ("a", "c"), ("b", "c")]
    for plot in plots:
        assert titles(plot, strong=True) == {"mmoe, trial 1", "mmoe, trial 2", "ple, trial 1"}
        assert titles(plot, strong=False) == {"ple, trial 2"}


def test_what_has_no_parameters_is_in_the_picture_of_seconds_alone():
    network = History("mmoe", 1, {}, [finished(0, (0.5,), parameters=100, flops=200.0, seconds=2.0)], 0)
    reference = History("means", 1, {}, [finished(0, (0.4,), seconds=1.0)], 0)
    plots = draw_costs([network, reference])
    assert [(plot.x_title, len(plot.marks)) for plot in plots] == [
        ("parameters", 1), ("operations per row", 1), ("seconds of training", 2),
    ]  # fmt: skip
    assert [plot.x_title for plot in draw_costs([reference])] == ["seconds of training"]


def test_ranks_are_drawn_of_several_models_alone_and_a_slot_without_score_is_spent_all_the_same():
    mmoe = History("mmoe", 3, {}, [Outcome(0, "failed"), finished(1, (0.5,)), Outcome(2, "pruned")], 0)
    (progress,) = draw_budget([mmoe])
    assert progress.marks[0].title == "mmoe, trial 2: 0.5000"
    assert progress.marks[-1].title == "mmoe: score on validation 0.5000, trials 3"
    ple = History("ple", 3, {}, [finished(0, (0.4,)), finished(1, (0.4,)), finished(2, (0.4,))], 0)
    _, placed = draw_budget([mmoe, ple])
    assert {mark.title for mark in placed.marks} == {
        "mmoe: rank 1 after 2", "mmoe: rank 1 after 3",
        "ple: rank 1 after 1", "ple: rank 2 after 2", "ple: rank 2 after 3",
    }  # fmt: skip


def test_lists_and_mappings_are_found_among_the_choices_as_they_are_kept():
    trials = [
        finished(0, (0.5,)),
        finished(1, (0.6,), layers="[64,32]", balancer='{"beta":1,"name":"dwa"}', rate=1e-2),
        finished(2, (0.4,), rate=1e-4),
    ]
    history = History("mmoe", 3, SPACE, trials, 0)
    layers, balancer, rate = draw_slices(history)
    assert [text for _, text in layers.x_ticks] == ["[32]", "[64,32]"]
    assert [mark.x for mark in layers.marks] == [layers.x_ticks[place][0] for place in (0, 0, 1)]
    assert [mark.x for mark in balancer.marks] == [balancer.x_ticks[place][0] for place in (0, 0, 1)]
    assert [mark.title for mark in rate.marks][-1] == "trial 2: score 0.6000, 0.01"
    lines = [line for line in draw_settings(history).lines if line.hue != "quiet"]
    assert [line.title for line in lines] == [
        f"trial {n}: score {s}" for n, s in ((3, "0.4000"), (1, "0.5000"), (2, "0.6000"))
    ]


def test_settings_as_text():
    values = [0.000123456, 3, "equal", True, None, [64, 32], {"name": "dwa", "beta": 1}]
    assert [write_value(value) for value in values] == [
        "0.0001235", "3", "equal", "true", "null", "[64,32]", '{"beta":1,"name":"dwa"}',
    ]  # fmt: skip
