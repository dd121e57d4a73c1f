"""Grouped metrics against torchmetrics' retrieval metrics, which loop over groups: seconds, and how far values differ.

    python performance/evaluation.py

Every user has as many items, some positive and some not, and no two predictions alike, so that both define the same
number. Writes ``results/evaluation.{json,md}``; ratios are the result.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from sheets import Sheet, publish
from torchmetrics.retrieval import RetrievalAUROC, RetrievalHitRate, RetrievalNormalizedDCG

from mtbench.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

RESULTS = Path(__file__).parent / "results"
CUTOFF = 10


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


def measure(users: int, items: int) -> list[dict[str, Any]]:
    """Return one entry per metric."""
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


def main(
    users: Annotated[int, typer.Option(help="Groups.")] = 20_000,
    items: Annotated[int, typer.Option(help="Rows of each group.")] = 20,
    results: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
) -> None:
    """Measure grouped metrics."""
    entries = measure(users, items)
    head = ("metric", "mtbench, s", "torchmetrics, s", "ratio", "difference")
    lines = [
        (
            entry["metric"],
            f"{entry['seconds']:.3f}",
            f"{entry['torchmetrics']:.2f}",
            f"{entry['ratio']:.0f}x",
            f"{entry['difference']:.1e}",
        )
        for entry in entries
    ]
    publish("evaluation", entries, [Sheet(head, lines)], results, f"{users:,} users x {items} items")


if __name__ == "__main__":
    typer.run(main)
