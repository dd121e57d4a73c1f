"""How long metrics take: by user beside torchmetrics, which loops over groups, and how the time grows with the rows.

    python performance/evaluation.py

Beside torchmetrics every user has as many items, some positive and some not, and no two predictions alike, so that
both define the same number. Growth is that of the time to score shuffled rows, five per user and about a third of them
positive, when there are ten times the users: AUC and GAUC may take twelve times as long. Its seconds are the
processor's, the least of the rounds. All is on one thread, as metrics always are, so that the same rows give the same
bits. Writes ``results/evaluation.{json,md}``; ratios are the result.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from sheets import Sheet, publish
from torchmetrics.retrieval import RetrievalAUROC, RetrievalHitRate, RetrievalNormalizedDCG

from mtbench.evaluation.evaluate import score
from mtbench.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torchmetrics import Metric

RESULTS = Path(__file__).parent / "results"
CUTOFF = 10
FEW_ITEMS = 5
GROWTH = 10
BAR = 12
BARRED = ("auc", "gauc")


def draw_rows(users: int, items: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return predictions, labels and users of shuffled rows; every user has both classes."""
    generator = torch.Generator().manual_seed(0)
    count = users * items
    predictions = (torch.randperm(count, generator=generator).double() + 0.5) / count
    labels = torch.rand(users, items, generator=generator) < 0.2  # noqa: PLR2004
    labels[:, 0], labels[:, 1] = True, False
    user = torch.arange(users).repeat_interleave(items)
    order = torch.randperm(count, generator=generator)
    return predictions[order], labels.flatten().long()[order], user[order]


def time_metric(metric: Metric, given: tuple[Tensor, Tensor, Tensor], times: int) -> tuple[float, float]:
    """Return the value, and the seconds of the fastest of several times."""
    predictions, labels, user = given
    best, value = float("inf"), 0.0
    for _ in range(times):
        metric.reset()
        started = time.perf_counter()
        metric.update(predictions, labels, indexes=user)
        value = float(metric.compute())
        best = min(best, time.perf_counter() - started)
    return value, best


def compare(users: int, items: int) -> list[dict[str, Any]]:
    """Return one entry per metric that torchmetrics has too."""
    registry, given = Registry.load(), draw_rows(users, items)
    pairs = {
        "gauc": RetrievalAUROC(),
        f"ndcg@{CUTOFF}": RetrievalNormalizedDCG(top_k=CUTOFF),
        f"hr@{CUTOFF}": RetrievalHitRate(top_k=CUTOFF),
    }
    entries = []
    for name, theirs in pairs.items():
        value, seconds = time_metric(registry.metric(name), given, times=3)
        expected, looped = time_metric(theirs, given, times=1)
        entry = {"metric": name, "seconds": seconds, "torchmetrics": looped, "ratio": looped / seconds}
        entries.append(entry | {"difference": abs(value - expected)})
    return entries


def time_score(metric: Metric, given: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
    """Return the processor's seconds for one score."""
    started = time.process_time()
    score(metric, *given)
    return time.process_time() - started


def measure_growth(users: int, rounds: int) -> list[dict[str, Any]]:
    """Return one entry per metric of binary tasks: its seconds, those for more users, and their ratio."""
    registry = Registry.load()
    names = ["auc", "gauc", "pr_auc", "calibration_error", "logloss", "normalized_entropy", "ndcg@3", "hr@3"]
    sizes = [users, users * GROWTH]
    seconds = {name: [float("inf")] * len(sizes) for name in names}
    for _ in range(rounds):
        for place, size in enumerate(sizes):
            predictions, labels, user = (column.numpy() for column in draw_rows(size, FEW_ITEMS))
            for name, least in seconds.items():
                given = (predictions, labels.astype(float), user)
                least[place] = min(least[place], time_score(registry.metric(name), given))
    return [
        {"metric": name, "seconds": few, "more": more, "growth": more / few} for name, (few, more) in seconds.items()
    ]


def main(
    users: Annotated[int, typer.Option(help="Groups, beside torchmetrics.")] = 20_000,
    items: Annotated[int, typer.Option(help="Rows of each group, beside torchmetrics.")] = 20,
    growing: Annotated[int, typer.Option(help="Groups from which the growth is measured.")] = 100_000,
    rounds: Annotated[int, typer.Option(help="Rounds of the growth.")] = 5,
    results: Annotated[Path, typer.Option(help="Folder for the tables.")] = RESULTS,
) -> None:
    """Measure metrics."""
    torch.set_num_threads(1)
    compared, grown = compare(users, items), measure_growth(growing, rounds)
    beside = [
        (
            entry["metric"],
            f"{entry['seconds']:.3f}",
            f"{entry['torchmetrics']:.2f}",
            f"{entry['ratio']:.0f}x",
            f"{entry['difference']:.1e}",
        )
        for entry in compared
    ]
    growth = [
        (
            entry["metric"],
            f"{entry['seconds']:.3f}",
            f"{entry['more']:.3f}",
            f"{entry['growth']:.1f}x",
            judge(entry),
        )
        for entry in grown
    ]
    few, more = (f"{size * FEW_ITEMS:,} rows, s" for size in (growing, growing * GROWTH))
    sheets = [
        Sheet(
            ("metric", "mtbench, s", "torchmetrics, s", "ratio", "difference"),
            beside,
            f"{users:,} users x {items} items",
        ),
        Sheet(
            ("metric", few, more, "growth", f"bar, {BAR}x"),
            growth,
            f"{growing:,} users x {FEW_ITEMS} items, and {GROWTH} times the users",
        ),
    ]
    publish("evaluation", {"beside": compared, "growth": grown}, sheets, results)


def judge(entry: dict[str, Any]) -> str:
    """Return whether a metric that has a bar keeps it."""
    if entry["metric"] not in BARRED:
        return ""
    return "pass" if entry["growth"] <= BAR else "fail"


if __name__ == "__main__":
    typer.run(main)
