"""Clusters of a macro graph, snapshot after snapshot: mtbench's k-means beside plain uses of scikit-learn's.

    python performance/kmeans.py

clusters users and items of real and planted data as the macro graph does. Each way goes its own road through the
snapshots, from what it made of the one before; all see the same vectors, so their inertias can be divided. *Plain warm
start* is `KMeans(init=centroids, n_init=1)` from the centroids of those that were together before, after ten fresh
starts in the first snapshot; *fresh starts* is mtbench's k-means without a past, renumbered by overlap. Kept is the
share of nodes with the number that they had in the snapshot before; runs that differ are those of 2 or 4 threads whose
clusters are not those of 1 thread. Then come vectors that make k-means stumble. Writes ``results/kmeans.{json,md}``.
"""

from __future__ import annotations

import os
import tempfile
import time
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any
from unittest.mock import patch

import numpy as np
import typer
from rich.progress import track
from sheets import Sheet, publish
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from mtbench.data.prepare import prepare
from mtbench.inputs.interactions import collect_interactions, collect_rows
from mtbench.registry import Registry
from mtbench_datasets.planted import Planted, PlantedConfig
from mtbench_inputs.macro import clusters
from mtbench_inputs.macro.clusters import kmeans, renumber, scale_to_one
from mtbench_inputs.macro.grouping import Grouping
from mtbench_inputs.macro.scores import choose_tasks, merge, score_combinations
from mtbench_inputs.macro_graph import MacroGraphConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scipy import sparse

    from mtbench.data.columns import Columns

    Way = Callable[[np.ndarray, np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]

RESULTS = Path(__file__).parent / "results"
DATASETS = ["planted", "movietweetings", "kuairand-pure"]
CLUSTERS = [10, 100]
THREADS = (2, 4)


def plain_warm_start(
    vectors: np.ndarray, weights: np.ndarray, before: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the clusters that scikit-learn makes from the centroids before; empty ones begin anywhere."""
    init: Any = "k-means++"
    if before.any():
        numbers = [number for number in range(1, count + 1) if (before == number).any()]
        means = [np.average(vectors[before == number], axis=0, weights=weights[before == number]) for number in numbers]
        init = np.array([*means, *rng.choice(vectors, count - len(means))])
    model = KMeans(count, init=init, n_init=1 if before.any() else 10, random_state=0)
    return renumber(model.fit_predict(vectors, sample_weight=weights) + 1, before, count)


def fresh_starts(
    vectors: np.ndarray, weights: np.ndarray, before: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the clusters of vectors without a past, under the numbers before."""
    return renumber(kmeans(vectors, weights, np.zeros_like(before), count, rng), before, count)


WAYS: dict[str, Way] = {
    "mtbench": kmeans,
    "plain warm start": plain_warm_start,
    "fresh starts": fresh_starts,
}


@dataclass(frozen=True)
class Clustered:
    """One side of one snapshot: ``kept`` is None in the first, ``differing`` counts runs with other clusters."""

    nodes: int
    inertia: float
    kept: float | None
    seconds: float
    differing: int


def measure_inertia(vectors: np.ndarray, weights: np.ndarray, numbers: np.ndarray) -> float:
    """Return the weighted sum of squared distances to the means of the clusters."""
    total = 0.0
    for number in np.unique(numbers[weights > 0]):
        own, weight = vectors[numbers == number].astype(np.float64), weights[numbers == number]
        total += float(weight @ ((own - np.average(own, axis=0, weights=weight)) ** 2).sum(1))
    return total


def make_snapshots(columns: Columns, config: MacroGraphConfig) -> tuple[Grouping, Iterator[sparse.csr_array]]:
    """Return what groups nodes, and the scores of one snapshot after another."""
    events, tasks = collect_interactions(columns), choose_tasks(columns.schema.tasks, config.tasks)
    names = [columns.schema.tasks[task].name for task in tasks]
    table = score_combinations(config.scores, names, config.table, config.beta)
    merged = merge(events, tasks, names, table)
    seen = (merged.seen_by(chunk) for chunk in range(events.chunks))
    matrices = (part.matrix(part.score, events.users, events.items) for part in seen)
    return Grouping(config, events, collect_rows(columns), columns), matrices


def cluster_snapshots(way: Way, columns: Columns, count: int) -> list[Clustered]:
    """Take one way through all snapshots of a dataset."""
    road = []

    def step(vectors: np.ndarray, weights: np.ndarray, before: np.ndarray, *rest: Any) -> np.ndarray:
        again = [deepcopy(rest) for _ in THREADS]
        with threadpool_limits(1):
            started = time.process_time()
            numbers = way(vectors, weights, before, *rest)
            seconds = time.process_time() - started
        differing = 0
        for threads, same in zip(THREADS, again, strict=True):
            with threadpool_limits(threads):
                differing += int((way(vectors, weights, before, *same) != numbers).any())
        known = before > 0
        kept = float((numbers == before)[known].mean()) if known.any() else None
        road.append(Clustered(len(vectors), measure_inertia(vectors, weights, numbers), kept, seconds, differing))
        return numbers

    grouping, matrices = make_snapshots(columns, MacroGraphConfig(user_clusters=count, item_clusters=count))
    with patch.object(clusters, "kmeans", step):
        for chunk, scores in enumerate(matrices):
            grouping.next(scores, chunk)
    return road


def write_line(way: str, road: Sequence[Clustered], first: Sequence[Clustered]) -> list[str]:
    """Return a line of the table; inertias are divided by those of the first way."""
    ratios = [one.inertia / other.inertia for one, other in zip(road, first, strict=True)]
    kept = [one.kept for one in road if one.kept is not None]
    differing = sum(one.differing for one in road)
    return [
        way,
        f"{fmean(ratios):.4f}",
        f"{max(ratios):.4f}",
        f"{fmean(kept):.3f}",
        f"{min(kept):.3f}",
        f"{sum(one.seconds for one in road):.2f}",
        f"{differing} of {len(THREADS) * len(road)}",
    ]


def make_hard_cases() -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Return vectors, clusters before, and the number of clusters that there should be when 8 are asked for."""
    rng = np.random.default_rng(0)
    few = scale_to_one(rng.normal(size=(5, 6)).astype(np.float32))
    many = scale_to_one(rng.normal(size=(900, 6)).astype(np.float32))
    group = rng.integers(5, size=900)
    noise = 1e-7 * rng.normal(size=(900, 6)).astype(np.float32)
    return {
        "5 vectors": (few, np.zeros(5, int), 5),
        "900 vectors, 5 different ones": (few[group], np.zeros(900, int), 5),
        "900 vectors, 5 up to rounding": (few[group] + noise, np.zeros(900, int), 5),
        "the same, 2 clusters before": (few[group] + noise, 1 + (group > 2), 5),  # noqa: PLR2004 - some of them
        "900 vectors, all zero": (np.zeros((900, 6), np.float32), np.zeros(900, int), 1),
        "900 vectors, all different": (many, np.zeros(900, int), 8),
        "the same, 3 clusters before": (many, 1 + group % 3, 8),
    }


def count_clusters(way: Way, vectors: np.ndarray, before: np.ndarray) -> str:
    """Return how many of 8 clusters there are, or the name of the error."""
    try:
        numbers = way(vectors, np.ones(len(vectors)), before, 8, np.random.default_rng(0))
    except ValueError as error:
        return type(error).__name__
    return str(len(np.unique(numbers)))


def prepare_dataset(name: str) -> Columns:
    """Return a dataset as it is by default; the planted one has groups that behave alike."""
    cls = Registry.load().resolve("dataset", name)
    config = PlantedConfig(rows=100_000, users=2000, items=500, signal="graph") if cls is Planted else cls.Config()
    dataset = cls(config)
    return prepare(name, dataset, dataset.split, source="")


def main(
    dataset: Annotated[list[str], typer.Option(help="Datasets with users and items.")] = DATASETS,
    count: Annotated[list[int], typer.Option(min=1, help="Clusters of users, and of items.")] = CLUSTERS,
    results: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
) -> None:
    """Measure clusters of macro graphs."""
    roads: dict[str, dict[str, list[Clustered]]] = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MTBENCH_CACHE"] = cache
        columns = {name: prepare_dataset(name) for name in track(dataset, "preparing")}
        for name, number, way in track(list(product(dataset, count, WAYS)), "clustering"):
            title = f"{name}, {number} clusters of users and {number} of items"
            roads.setdefault(title, {})[way] = cluster_snapshots(WAYS[way], columns[name], number)
    head = ("way", "inertia", "highest", "kept", "lowest", "CPU seconds", "runs that differ")
    sheets = [
        Sheet(head, [write_line(way, road, of["mtbench"]) for way, road in of.items()], title)
        for title, of in roads.items()
    ]
    stumbles = {
        what: {"should be": str(best)} | {name: count_clusters(way, vectors, before) for name, way in WAYS.items()}
        for what, (vectors, before, best) in make_hard_cases().items()
    }
    rows = [[what, *of.values()] for what, of in stumbles.items()]
    sheets.append(Sheet(("vectors", "should be", *WAYS), rows, "Clusters where 8 are asked for"))
    whole = {title: {way: [asdict(one) for one in road] for way, road in of.items()} for title, of in roads.items()}
    publish("kmeans", {"roads": whole, "stumbles": stumbles}, sheets, results, "inertia relative to mtbench's")


if __name__ == "__main__":
    typer.run(main)
