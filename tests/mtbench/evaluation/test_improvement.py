from __future__ import annotations

import numpy as np
import pytest

from mtbench.board.values import average_improvement
from mtbench.evaluation.comparison import Sample, mean_share
from mtbench.evaluation.improvement import compute_improvement


@pytest.mark.parametrize(
    ("value", "constant", "best", "expected"),
    [(0.5, 0.5, 1.0, 0.0), (0.75, 0.5, 1.0, 0.5), (0.4, 0.5, 1.0, -0.2), (3.0, 4.0, 0.0, 0.25), (5.0, 4.0, 0.0, -0.25)],
)
def test_it_is_the_share_of_the_way_to_perfect(value, constant, best, expected):
    assert compute_improvement(value, constant, best) == pytest.approx(expected, abs=1e-15)


def test_of_a_constant_predictor_that_is_perfect_there_is_none():
    with pytest.raises(ZeroDivisionError):
        compute_improvement(0.1, 0.0, 0.0)


def average_slowly(values, constants, bests):
    """Return the mean over tasks of the part of the gap to perfect that is closed, one number at a time."""
    total = 0.0
    for value, constant, best in zip(values, constants, bests, strict=True):
        gap, rest = abs(best - constant), abs(best - value)
        total += 1 - rest / gap
    return total / len(values)


@pytest.mark.parametrize("number", range(5))
def test_resamples_and_records_have_the_mean_that_a_slow_version_has(number, make_record):
    rng = np.random.default_rng(number)
    tasks, bests = ["click", "buy", "rating"], [1.0, 1.0, 0.0]
    constants = [*rng.uniform(0.4, 0.6, 2), rng.uniform(1, 2)]
    seeds = np.stack([*rng.uniform(0.3, 0.99, (2, 4)), rng.uniform(0.1, 3, 4)])
    replicates = np.stack([*rng.uniform(0.3, 0.99, (2, 7)), rng.uniform(0.1, 3, 7)])
    share = mean_share([Sample(*pair) for pair in zip(seeds, replicates, strict=True)], constants, bests)
    assert share.seeds == pytest.approx([average_slowly(column, constants, bests) for column in seeds.T])
    assert share.replicates == pytest.approx([average_slowly(column, constants, bests) for column in replicates.T])
    metrics = ["auc", "gauc", "rmse"]
    record = make_record(
        results={task: {metric: list(values)} for task, metric, values in zip(tasks, metrics, seeds, strict=True)},
        bounds={
            "constant": {task: {metric: value} for task, metric, value in zip(tasks, metrics, constants, strict=True)}
        },
    )
    assert average_improvement(record) == pytest.approx(average_slowly(seeds.mean(axis=1), constants, bests))
