"""mtbench: ``mtbench.run`` over the table, as a user calls it.

Everything that a run does beyond training is in its time: leak gates, metrics on validation after every epoch,
predictions of two splits and a record. The file is a plugin of the run as well: its callback times the epochs.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import job as shared
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from pytorch_lightning import Callback

import mtbench
from mtbench.experiment import load_experiment
from mtbench.plan import make_plan
from mtbench.registry import Registry
from mtbench.training.module import predict
from mtbench.training.prepare import prepare_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.experiment import Experiment

WIDTHS = {"shared-bottom": "bottom_layers", "mmoe": "expert_layers", "ple": "expert_layers"}


class Epochs(Callback):
    """Notes how many seconds each epoch takes, without its validation."""

    seconds: list[float] = shared.epochs

    def on_train_epoch_start(self, *_: object) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_validation_start(self, *_: object) -> None:
        """Stop the clock."""
        self.seconds.append(time.perf_counter() - self.started)


@mtbench.hookimpl
def mtbench_callbacks(experiment: Experiment) -> Sequence[Callback]:  # noqa: ARG001
    """Return the clock."""
    return [Epochs()]


def make_experiment(job: shared.Job) -> dict[str, Any]:
    """Return the experiment; ``wide``, ``embedding_dropout`` and the levels of PLE are set to what the peers have."""
    model: dict[str, Any] = {
        "name": job.model, WIDTHS[job.model]: job.layers, "tower_layers": job.towers, "embedding_dim": job.embedding,
        "dropout": job.dropout, "norm": "batch", "wide": False, "embedding_dropout": 0.0,
    }  # fmt: skip
    if job.model == "mmoe":
        model["experts"] = job.experts
    if job.model == "ple":
        model |= {"levels": 1, "task_experts": job.level_experts, "shared_experts": job.level_experts}
    features = [*job.categorical, *({"name": name, "kind": "numeric"} for name in job.numeric)]
    return {
        "dataset": {"name": "table", "path": job.rows, "tasks": job.tasks, "features": features, "split": "split"},
        "models": [model],
        "seeds": [job.seed],
        "training": {
            "max_epochs": job.epochs, "patience": job.epochs, "batch_size": job.batch,
            "learning_rate": job.learning_rate, "accelerator": "cpu",
        },
        "metrics": ["auc"],
    }  # fmt: skip


def main() -> None:
    """Run the job; ``warm`` is its time without the preparation of the data."""
    job = shared.Job.read()
    experiment = load_experiment(make_experiment(job))
    plan = make_plan(experiment, Registry.load(), "job")
    started = time.perf_counter()
    columns = prepare_data(plan)
    preparation = time.perf_counter() - started
    [(_, path)] = mtbench.run(experiment, records=job.work / "records", plugins=[Path(__file__)])
    test = pq.read_table(path.with_suffix(".parquet")).filter(pc.field("split") == "test").sort_by("row")
    predictions = np.column_stack([test.filter(pc.field("task") == task)["prediction"] for task in job.tasks])
    seconds = time.time() - job.started
    [planned] = plan.models
    model, rows = planned.cls(planned.config, columns.spec), columns.open_test()
    started = time.perf_counter()
    predict(model, rows, experiment.training, torch.device("cpu"))
    evaluation = len(rows) / (time.perf_counter() - started)
    job.report(
        epochs=shared.epochs,
        train_rows=columns.counts["train"],
        predictions=predictions,
        seconds=seconds,
        warm=seconds - preparation,
        evaluation=evaluation,
    )


if __name__ == "__main__":
    main()
