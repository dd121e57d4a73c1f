"""How long it takes until something happens: commands, imports, and a run on prepared data until its first step.

    python performance/startup.py

starts every command in a process of its own, round by round, and prints the least of the rounds beside the time of
Python itself and of importing torch and Lightning, which no run can do without. Writes ``results/startup.{json,md}``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track
from sheets import Sheet, publish

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results"
EXPERIMENT = {
    "dataset": {"name": "planted", "rows": 200_000},
    "models": ["mmoe"],
    "seeds": 1,
    "training": {"max_epochs": 1},
    "metrics": ["auc"],
}
FIRST_STEP = """
import json, os, sys, time
import mtbench
from pytorch_lightning import Callback
from mtbench.training import run
imported = time.perf_counter()

class First(Callback):
    def on_train_batch_end(self, *_):
        print(time.perf_counter() - imported, flush=True)
        os._exit(0)

from mtbench.registry import Registry
Registry.callbacks = lambda self, experiment: [First()]
mtbench.run(json.loads(sys.argv[1]), records=sys.argv[2])
"""
"""Prints the seconds from the end of imports to the end of the first step."""


def list_commands() -> dict[str, list[str]]:
    """Return what is timed as a whole process."""
    python, mtbench = sys.executable, str(Path(sys.executable).with_name("mtbench"))
    return {
        "python -c pass": [python, "-c", "pass"],
        "import torch": [python, "-c", "import torch"],
        "import pytorch_lightning": [python, "-c", "import pytorch_lightning"],
        "everything a run imports": [python, "-c", "import mtbench.training.run, mtbench_models.mmoe"],
        "mtbench --help": [mtbench, "--help"],
        "mtbench list models": [mtbench, "list", "models"],
        "mtbench show model mmoe": [mtbench, "show", "model", "mmoe"],
        "mtbench show dataset census-income": [mtbench, "show", "dataset", "census-income"],
    }


def time_command(command: Sequence[str]) -> float:
    """Return how long a command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - commands of our own
    return time.perf_counter() - started


def time_first_step(folder: Path) -> float:
    """Return the seconds from the end of imports to the end of a run's first step."""
    command = [sys.executable, "-c", FIRST_STEP, json.dumps(EXPERIMENT), str(folder / "records")]
    environment = os.environ | {"MTBENCH_CACHE": str(folder / "cache")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603
    return float(done.stdout)


def measure(rounds: int) -> dict[str, float]:
    """Return the least seconds of each."""
    times: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        time_first_step(Path(folder))  # prepares the data
        for _ in track(range(rounds), "measuring"):
            for name, command in list_commands().items():
                times[name].append(time_command(command))
            times["a run on prepared data, from imports to the end of its first step"].append(
                time_first_step(Path(folder))
            )
    return {name: min(several) for name, several in times.items()}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the least of them counts.")] = 3,
    results: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
) -> None:
    """Measure how long things take to begin."""
    times = measure(rounds)
    sheet = Sheet(("what", "seconds"), [(name, f"{value:.2f}") for name, value in times.items()])
    publish("startup", times, [sheet], results, "files in the system's cache")


if __name__ == "__main__":
    typer.run(main)
