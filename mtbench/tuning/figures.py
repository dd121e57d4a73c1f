"""The pictures of a sweep's report: its trials as charts draw them."""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mtbench.charts.best import undominated
from mtbench.charts.lines import draw_progress, draw_ranks
from mtbench.charts.plots import framed
from mtbench.charts.points import Point, Trade, draw_pareto, draw_trades
from mtbench.charts.settings import Axis, Tried, draw_parallel, draw_slice
from mtbench.tuning.history import rank_models
from mtbench.tuning.space import to_stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.charts.plots import Plot
    from mtbench.tuning.history import History

LARGE, NARROW = framed(600, 340), framed(390, 290)
MOST_TASKS = 4
COSTS = {"parameters": "parameters", "flops": "operations per row", "seconds": "seconds of training"}


def draw_budget(histories: Sequence[History]) -> list[Plot]:
    """Draw the best score against the slots that were used, and the models' ranks by it where there are several."""
    runs = [(one.label, [(trial.slot + 1, trial.score) for trial in one.outcomes]) for one in histories]
    progress = draw_progress(runs, "trials", "score on validation", form=".4f", coloured=True, frame=LARGE)
    placed = draw_ranks(rank_models(histories), "trials", frame=LARGE) if len(histories) > 1 else None
    return [plot for plot in (progress, placed) if plot]


def draw_tasks(histories: Sequence[History], tasks: Sequence[str]) -> list[Plot]:
    """Draw the tasks against each other, two at a time; full dots are trials that no other beats in all tasks."""
    finished = [
        (series, f"{one.label}, trial {trial.slot + 1}", trial.tasks or {})
        for series, one in enumerate(histories)
        for trial in one.finished
    ]
    free = undominated(np.array([[values[task] for task in tasks] for _, _, values in finished]))
    plots = [
        draw_trades(
            [
                Trade(label, values[across], values[up], bool(strong), series)
                for (series, label, values), strong in zip(finished, free, strict=True)
            ],
            across,
            up,
            frame=NARROW,
        )
        for across, up in combinations(tasks[:MOST_TASKS], 2)
    ]
    return [plot for plot in plots if plot]


def draw_costs(histories: Sequence[History]) -> list[Plot]:
    """Draw the score against what a trial costs, as far as it is known."""
    plots = [
        draw_pareto(
            [
                Point(f"{one.label}, trial {trial.slot + 1}", getattr(trial, cost), trial.score, series)
                for series, one in enumerate(histories)
                for trial in one.finished
            ],
            title,
            "score on validation",
            form=".4f",
            frame=NARROW,
        )
        for cost, title in COSTS.items()
    ]
    return [plot for plot in plots if plot]


def draw_slices(history: History) -> list[Plot]:
    """Draw the score against each setting."""
    tried = _list_tried(history)
    return [draw_slice(axis, tried) for axis in _make_axes(history)]


def draw_settings(history: History) -> Plot:
    """Draw each finished trial as a line through its settings, by score."""
    return draw_parallel(_make_axes(history), _list_tried(history))


def _make_axes(history: History) -> list[Axis]:
    axes = []
    for name, described in history.space.items():
        if isinstance(described, dict):
            low, high = described["low"], described["high"]
            whole = isinstance(low, int) and isinstance(high, int)
            axes.append(Axis(name, low, high, described["log"], whole))
        else:
            axes.append(Axis.of(name, [write_value(value) for value in described]))
    return axes


def _list_tried(history: History) -> list[Tried]:
    tried = []
    for trial in history.finished:
        values = {
            name: value if isinstance(history.space[name], dict) else write_value(value)
            for name, value in (trial.params or {}).items()
        }
        tried.append(Tried(f"trial {trial.slot + 1}", values, trial.score or 0.0))
    return tried


def write_value(value: Any) -> str:
    """Return a setting as text: a number with a fraction in four digits, lists and mappings as JSON."""
    if isinstance(value, float):
        return f"{value:.4g}"
    kept = to_stored(value)
    return kept if isinstance(kept, str) else json.dumps(kept)
