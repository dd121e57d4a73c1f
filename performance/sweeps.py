"""What a sweep is worth: how near it comes to the best, what pruning saves, what a second worker brings.

    python performance/sweeps.py

sweeps planted data, where the width of the network and the learning rate matter, three times over: an exhaustive grid
of both (every trial kept, nothing pruned) against TPE with 30 trials in the same ranges; TPE with and without pruning
at equal trials; and the same sweep by one worker and by two of one thread each. Results go to
``results/sweeps.{json,md}``.
"""

from __future__ import annotations

import os
import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sheets import Sheet, publish

from mtbench.experiment import load_experiment
from mtbench.registry import Registry
from mtbench.tuning.history import History, read_history
from mtbench.tuning.space import to_stored
from mtbench.tuning.studies import Storage
from mtbench.tuning.sweep import Crew, make_launcher, make_studies, worker_command
from mtbench.tuning.trials import SweepPlan
from mtbench.tuning.worker import work

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
RATES = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3, 1.28e-2)
WIDTHS = (2, 4, 8, 16, 32, 64)
TRIALS = 30


def make_experiment(rows: int, epochs: int, seed: int = 1000, **asked: Any) -> dict[str, Any]:
    """Return the experiment: what is searched are the widths of embeddings and bottom, and the learning rate."""
    space = {
        "training.learning_rate": {"low": RATES[0], "high": RATES[-1], "log": True},
        "model.bottom_layers": [[width] for width in WIDTHS],
    }
    return {
        "dataset": {"name": "planted", "rows": rows},
        "models": [
            {
                "name": "shared-bottom", "embedding_dim": 8, "embedding_dropout": 0.0, "wide": False, "dropout": 0.0,
                "tower_layers": [16], "bottom_layers": [16], "norm": "none",
            }
        ],
        "training": {
            "max_epochs": epochs, "patience": epochs, "batch_size": 512, "weight_decay": 0.0, "learning_rate": 1e-3,
            "accelerator": "cpu",
        },
        "balancer": "equal",
        "metrics": ["auc"],
        "seeds": [0],
        "sweep": {"trials": TRIALS, "seed": seed, "pruner": "none", "space": space} | asked,
    }  # fmt: skip


def run_sweep(content: dict[str, Any], folder: Path, workers: int = 0) -> tuple[History, float]:
    """Return the trials of a sweep, and its seconds from first to last trial; without workers, in this process."""
    registry = Registry.load()
    asked = load_experiment(content)
    sweep_plan = SweepPlan(asked, registry)
    storage = f"sqlite:///{folder}/sweep.db"
    studies = make_studies(sweep_plan, Storage(storage, asked.sweep.heartbeat), "bench")
    if workers:
        command, launcher = worker_command("bench", folder, ()), make_launcher(asked, registry, "bench")
        Crew(launcher, command, storage, workers, folder / "workers").work(studies, lambda _: None)
    else:
        work("bench", storage, folder)
    trials = studies[0].trials()
    seconds = max(trial.datetime_complete for trial in trials) - min(trial.datetime_start for trial in trials)
    return read_history(studies[0]), seconds.total_seconds()


def run_grid(
    content: dict[str, Any], folder: Path, rates: Sequence[float] = RATES, widths: Sequence[int] = WIDTHS
) -> History:
    """Return the trials of every width with every learning rate."""
    cells = list(product(rates, widths))
    asked = load_experiment(content | {"sweep": content["sweep"] | {"trials": len(cells)}})
    sweep_plan = SweepPlan(asked, Registry.load())
    [candidate] = sweep_plan.candidates
    study = Storage(f"sqlite:///{folder}/sweep.db").make(
        "bench/shared-bottom", candidate.made_of, asked, candidate.space.defaults()
    )
    for rate, width in cells:
        study.study.enqueue_trial({"training.learning_rate": rate, "model.bottom_layers": to_stored([width])})
    work("bench", str(study.place), folder)
    return read_history(study)


def average_auc(history: History) -> float:
    """Return the mean AUC over tasks of the best trial."""
    assert history.best is not None
    assert history.best.tasks is not None
    return sum(history.best.tasks.values()) / len(history.best.tasks)


def count_epochs(history: History) -> int:
    """Return the epochs of all trials."""
    return sum(outcome.epochs for outcome in history.outcomes)


def main(
    rows: Annotated[int, typer.Option(help="Rows of the planted data.")] = 20_000,
    most: Annotated[int, typer.Option(help="Epochs of a training at most.")] = 10,
    seeds: Annotated[int, typer.Option(min=1, help="Sweeps with other seeds.")] = 3,
    trials: Annotated[int, typer.Option(min=4, help="Trials of a sweep.")] = TRIALS,
    results: Annotated[Path, typer.Option(help="Folder for the tables.")] = HERE / "results",
) -> None:
    """Measure what a sweep is worth."""
    lines: list[dict[str, Any]] = []

    def add(what: str, **values: float) -> None:
        lines.append({"what": what} | values)
        publish("sweeps", lines, [make_sheet(lines)], results, f"{rows:,} planted rows, {most} epochs at most")

    with tempfile.TemporaryDirectory() as folder:

        def run(name: str, workers: int = 0, **asked: Any) -> tuple[History, float]:
            place = Path(folder) / name
            place.mkdir()
            return run_sweep(make_experiment(rows, most, **({"trials": trials} | asked)), place, workers)

        place = Path(folder) / "grid"
        place.mkdir()
        best = average_auc(run_grid(make_experiment(rows, most), place))
        add("exhaustive grid", trials=len(RATES) * len(WIDTHS), auc=best)
        for seed in range(1000, 1000 + seeds):
            full, _ = run(f"full-{seed}", seed=seed)
            add(
                f"TPE, seed {seed}",
                trials=trials,
                auc=average_auc(full),
                behind_grid=best - average_auc(full),
                epochs=count_epochs(full),
            )
            for pruner in ("median", "halving"):
                pruned, _ = run(f"{pruner}-{seed}", seed=seed, pruner=pruner)
                add(
                    f"TPE, seed {seed}, pruner {pruner}", trials=trials, auc=average_auc(pruned),
                    behind_grid=best - average_auc(pruned), behind_unpruned=average_auc(full) - average_auc(pruned),
                    epochs=count_epochs(pruned), epochs_saved=1 - count_epochs(pruned) / count_epochs(full),
                )  # fmt: skip
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, set(sorted(cores)[:1]))
        _, alone = run("one", workers=1, sampler="random")
        os.sched_setaffinity(0, set(sorted(cores)[:2]))
        _, together = run("two", workers=2, sampler="random")
        os.sched_setaffinity(0, cores)
        add("1 worker, one thread", trials=trials, trials_per_minute=60 * trials / alone)
        add(
            "2 workers, one thread each", trials=trials, trials_per_minute=60 * trials / together,
            times_one_worker=alone / together,
        )  # fmt: skip


FORMS = {
    "trials": "d", "auc": ".4f", "behind_grid": ".4f", "behind_unpruned": ".4f", "epochs": "d", "epochs_saved": ".0%",
    "trials_per_minute": ".1f", "times_one_worker": ".2f",
}  # fmt: skip


def make_sheet(lines: list[dict[str, Any]]) -> Sheet:
    """Return the lines as a table."""
    heads = ["what", *(name.replace("_", " ") for name in FORMS)]
    return Sheet(
        heads,
        [
            [line["what"], *(format(line[name], form) if name in line else "" for name, form in FORMS.items())]
            for line in lines
        ],
    )


if __name__ == "__main__":
    typer.run(main)
