"""Verification: a seed of a record is trained again from the record alone, and must come out the same."""

from __future__ import annotations

import random
import tempfile
from typing import TYPE_CHECKING, NamedTuple

import torch

from mtbench.board import checks, recipes
from mtbench.board.admission import SAME_PLATFORM, find_unknown_code, measure_gap
from mtbench.board.consistency import find_contradictions
from mtbench.board.environments import list_packages
from mtbench.errors import MTBenchError
from mtbench.evaluation import predictions
from mtbench.record import store
from mtbench.training.run import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mtbench.board.checks import Check
    from mtbench.record.form import Recipe, Record
    from mtbench.registry import Registry

ELSEWHERE = 0.005
"""How far a metric may lie from the record's where platform or code differ: other sums, the same model."""


class RepeatedValue(NamedTuple):
    """A value of the record beside the one that came out now."""

    task: str
    metric: str
    split: str
    recorded: float | None
    again: float | None

    @property
    def gap(self) -> float:
        """How far they lie apart."""
        return measure_gap(self.recorded, self.again)


class Verification(NamedTuple):
    """A seed of a record, trained again.

    ``differences`` are those of platform and code.
    """

    record: Record
    seed: int
    differences: list[str]
    values: list[RepeatedValue]
    tolerance: float

    @property
    def worst(self) -> RepeatedValue:
        """The value that lies farthest from the record's."""
        return max(self.values, key=lambda value: value.gap)

    @property
    def passed(self) -> bool:
        """Whether no value lies farther away than allowed."""
        return self.worst.gap <= self.tolerance

    def check(self, environment: dict[str, str]) -> Check:
        """Return the check that a board keeps of it."""
        return checks.make(
            self.record, "re-run", environment, [self.seed], difference=self.worst.gap, tolerance=self.tolerance
        )


def verify(
    path: Path,
    registry: Registry,
    *,
    seed: int | None = None,
    tolerance: float = ELSEWHERE,
    plugins: Sequence[str | Path] = (),
    progress: bool = False,
) -> tuple[Verification, Check]:
    """Train a seed of a record again, one at random unless given, and compare every value.

    On the same platform with the same code the values must have the same bits, elsewhere lie within ``tolerance``.
    Raises MTBenchError if the record contradicts itself or the data here is not the record's.
    """
    record = store.read(path)
    if reasons := find_contradictions(record):
        raise MTBenchError("\n".join(f"{path.name}: {reason}" for reason in reasons))
    recipe = record.recipe
    seed = random.choice(recipe.seeds) if seed is None else seed  # noqa: S311 - no secret
    if seed not in recipe.seeds:
        raise MTBenchError(f"--seed {seed}: the record has the seeds {', '.join(map(str, recipe.seeds))}")
    threads = record.measured.environment.get("threads", "")
    if threads.isdigit() and int(threads):
        torch.set_num_threads(int(threads))  # sums depend on it
    device, processes = record.measured.device, record.measured.processes
    where = {"accelerator": "cpu" if device == "cpu" else "auto", "devices": processes}
    experiment = recipes.make_experiment(recipe) | {"seeds": [seed], "training": recipe.training | where}
    with tempfile.TemporaryDirectory() as folder:
        [(again, _)] = run(
            experiment, records=folder, plugins=plugins, progress=progress, budget=recipe.budget,
            tuning=record.measured.tuning, benchmark=recipe.benchmark,
        )  # fmt: skip
    if other := _compare_data(recipe, again.recipe):
        raise MTBenchError("\n".join(f"{path.name}: the data here is not the record's: {line}" for line in other))
    differences = [*_compare_platforms(record, again), *find_unknown_code(record, registry)]
    here = again.measured.environment
    values = list(_pair_values(record, again, seed))
    verification = Verification(record, seed, differences, values, tolerance if differences else 0.0)
    return verification, verification.check(here)


def _compare_data(recorded: Recipe, here: Recipe) -> list[str]:
    pairs = {
        "dataset.version": (recorded.dataset.version, here.dataset.version),
        "dataset.files": (recorded.dataset.files, here.dataset.files),
        "split.fingerprints": (recorded.split.fingerprints, here.split.fingerprints),
        "tasks": (recorded.tasks, here.tasks),
    }
    return [f"{place}: {theirs}, here {mine}" for place, (theirs, mine) in pairs.items() if theirs != mine]


def _compare_platforms(record: Record, again: Record) -> list[str]:
    """Return in what the platforms differ."""
    theirs = record.measured.environment | record.measured.versions | {"device": record.measured.device}
    mine = again.measured.environment | again.measured.versions | {"device": again.measured.device}
    names = dict.fromkeys((*SAME_PLATFORM, "threads", "mtbench", "device", *list_packages(record)))
    return [
        f"{name}: {theirs.get(name)} in the record, {mine.get(name)} here"
        for name in names
        if theirs.get(name) != mine.get(name)
    ]


def _pair_values(record: Record, again: Record, seed: int) -> Iterable[RepeatedValue]:
    place = record.recipe.seeds.index(seed)
    for task, cells in record.results.items():
        for metric, cell in cells.items():
            for split in predictions.SPLITS:
                now = getattr(again.results[task][metric], split)[0]
                yield RepeatedValue(task, metric, split, getattr(cell, split)[place], now)
