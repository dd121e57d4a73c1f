"""Where a training step's time goes: operation by operation, beside what its matrix products alone would take.

    python performance/profile_step.py configs/census-income.yaml

trains each model of an experiment for some steps, in a bare loop and under torch's profiler. What Lightning's loop
adds, as ``mtbench run`` uses it, is measured on batches of a few rows, in turns with the bare loop, for it is the same
for any batch. Prints a table for each model and writes ``results/profile_step.{json,md}``. A loop's figure is the
median over steps, the least of the rounds.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from peers import measure_product_rate
from sheets import Sheet, publish
from torch.profiler import ProfilerActivity, profile

from mtbench.data.rows import Batches
from mtbench.experiment import load_experiment
from mtbench.plan import make_plan
from mtbench.registry import Registry
from mtbench.training import efficiency, fit
from mtbench.training.display import StepProgress
from mtbench.training.memory import keep_freed
from mtbench.training.module import TrainingModule
from mtbench.training.prepare import add_inputs, prepare_data
from mtbench.training.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtbench.plan import Plan, PlannedModel

RESULTS = Path(__file__).parent / "results"
ROUNDS = 3
WARMUP = 3
FEW_ROWS, FEW_ROWS_STEPS = 16, 200


class Clocked(TrainingModule):
    """Notes when each step starts."""

    def on_train_batch_start(self, *_: object) -> None:
        """Note the time."""
        self.starts.append(time.perf_counter())

    def on_train_start(self) -> None:
        """Forget the last round."""
        self.starts: list[float] = []


def median_step(starts: list[float]) -> float:
    """Return the median time from one step's start to the next one's, without the first steps."""
    return statistics.median(b - a for a, b in pairwise(starts[WARMUP:]))


def take_steps(module: TrainingModule, steps: int) -> Iterator[None]:
    """Take steps without Lightning; yields before each."""
    model, optimizer = module.model.train(), module.configure_optimizers()
    batches = Batches(module.columns.train, module.training_settings.rows_per_step, shuffle=0)
    for batch in islice(batches, steps):
        yield
        loss = model.loss(model(batch), batch).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def time_bare(module: TrainingModule, steps: int) -> float:
    """Return the seconds of a step without Lightning."""
    return median_step([time.perf_counter() for _ in take_steps(module, steps)])


def time_lightning(module: Clocked, steps: int) -> float:
    """Return the seconds of a step of the loop that trains."""
    with tempfile.TemporaryDirectory() as folder, fit.quiet():
        trainer = fit.make_lightning_trainer(module.training_settings, [StepProgress(None)], Path(folder))
        trainer.limit_train_batches, trainer.limit_val_batches = steps, 0
        trainer.fit(module)
    return median_step(module.starts)


def profile_operations(module: TrainingModule, steps: int) -> list[dict[str, Any]]:
    """Return the operations of a step, the dearest first: calls, and the milliseconds of their own."""
    for _ in take_steps(module, WARMUP):
        pass
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in take_steps(module, steps):
            pass
    costs = [
        {
            "operation": one.key.removeprefix("aten::"),
            "calls": one.count / steps,
            "ms": one.self_cpu_time_total / 1e3 / steps,
        }
        for one in profiled.key_averages()
    ]
    return sorted(costs, key=lambda one: -one["ms"])


def measure(plan: Plan, model: PlannedModel, steps: int) -> dict[str, Any]:
    """Return what was measured of one model."""
    columns = add_inputs(plan, prepare_data(plan), model)
    training = plan.experiment.training.for_rows(columns.counts["train"]).model_copy(update={"max_epochs": 1})
    scorer = Scorer(columns, plan.metrics)
    torch.manual_seed(0)
    network = model.cls(model.config, columns.spec)
    rows = training.rows_per_step
    flops = 3 * rows * efficiency.count_flops_per_row(network, columns.train.take(torch.arange(256)))

    def module(batch_size: int) -> Clocked:
        settings = training.model_copy(update={"batch_size": batch_size})
        return Clocked(copy.deepcopy(network), copy.deepcopy(plan.balancer.balancer), scorer, columns, settings, seed=0)

    rounds = [
        (
            time_bare(module(rows), steps),
            time_bare(module(FEW_ROWS), FEW_ROWS_STEPS),
            time_lightning(module(FEW_ROWS), FEW_ROWS_STEPS),
            1 / measure_product_rate(),
        )
        for _ in range(ROUNDS)
    ]
    loop, few, trained, seconds = (min(values) for values in zip(*rounds, strict=True))
    return {
        "model": model.name,
        "rows": rows,
        "bare_ms": 1e3 * loop,
        "lightning_ms": 1e3 * (trained - few),
        "products_ms": 1e3 * flops * seconds,
        "operations": profile_operations(module(rows), steps),
    }


def write_heading(result: dict[str, Any]) -> str:
    """Return what a model's table says in one line."""
    share = result["products_ms"] / result["bare_ms"]
    more = result["lightning_ms"]
    return (
        f"{result['model']}: {result['bare_ms']:.1f} ms for {result['rows']:,} rows, of which matrix products need "
        f"{result['products_ms']:.1f} ms ({share:.0%}); Lightning adds {more:.2f} ms ({more / result['bare_ms']:.1%})"
    )


def list_lines(result: dict[str, Any], top: int) -> list[list[str]]:
    """Return the lines of a model's table."""
    total = sum(one["ms"] for one in result["operations"])
    return [
        [one["operation"], f"{one['calls']:.0f}", f"{one['ms']:.2f}", f"{one['ms'] / total:.1%}"]
        for one in result["operations"][:top]
    ]


HEADER = ["operation", "calls a step", "ms a step", "share"]


def main(
    source: Annotated[Path, typer.Argument(help="Experiment file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes as a.b=value.")] = None,
    steps: Annotated[int, typer.Option(min=WARMUP + 2, help="Steps of each round.")] = 30,
    top: Annotated[int, typer.Option(help="Operations in a table.")] = 15,
    results: Annotated[Path, typer.Option(help="Folder for the tables.")] = RESULTS,
) -> None:
    """Profile the training step of an experiment's models."""
    plan = make_plan(load_experiment(source, overrides or []), Registry.load(), str(source))
    keep_freed()
    measurements = [measure(plan, model, steps) for model in plan.models]
    sheets = [Sheet(HEADER, list_lines(result, top), write_heading(result)) for result in measurements]
    publish("profile_step", measurements, sheets, results, plan.experiment.dataset.name)


if __name__ == "__main__":
    typer.run(main)
