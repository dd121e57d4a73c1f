"""What a framework is asked to do, the rows that it gets, and what it reports.

Each ``run_*.py`` beside this file is started in an environment of its own with a job's JSON file as argument, and
writes ``result.json`` and ``predictions.npy`` (test rows, tasks) beside it.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


epochs: list[float] = []
"""Seconds of each epoch of mtbench, whose script is loaded twice, by the interpreter and as a plugin."""


@dataclass(frozen=True)
class Job:
    """One training: rows, architecture and settings, the same for every framework."""

    rows: str
    categorical: list[str]
    numeric: list[str]
    tasks: list[str]
    model: str
    layers: list[int]
    experts: int
    level_experts: int
    embedding: int
    towers: list[int]
    dropout: float
    batch: int
    learning_rate: float
    epochs: int
    seed: int
    started: float
    folder: str

    @classmethod
    def read(cls) -> Job:
        """Return the job of the file that the script was started with."""
        return cls(**json.loads(Path(sys.argv[1]).read_text()))

    @property
    def work(self) -> Path:
        """Folder for whatever a framework writes."""
        return Path(self.folder)

    def report(
        self,
        *,
        epochs: Sequence[float],
        train_rows: int,
        predictions: np.ndarray,
        predicted_in: float | None = None,
        **more: float,
    ) -> None:
        """Write what was measured: seconds of each training epoch and of the prediction of all test rows."""
        result = {
            "seconds": time.time() - self.started,
            "training": train_rows / min(epochs),
            "memory": peak_memory(),
            **({} if predicted_in is None else {"evaluation": len(predictions) / predicted_in}),
            **more,
        }
        np.save(self.work / "predictions.npy", np.asarray(predictions, np.float32))
        (self.work / "result.json").write_text(json.dumps(result))


class Part(NamedTuple):
    """The rows of a split: a column for each feature, and labels (rows, tasks)."""

    features: dict[str, np.ndarray]
    labels: np.ndarray


def encode(job: Job) -> tuple[dict[str, int], dict[str, Part]]:
    """Return the number of codes of each categorical feature, and train, valid and test, as a peer's user makes them.

    That is with pandas and scikit-learn; the encoders know the training rows alone, code 0 is what they have not seen.
    """
    import pandas as pd  # noqa: PLC0415 - mtbench reads the file itself
    from sklearn.preprocessing import OrdinalEncoder, StandardScaler  # noqa: PLC0415

    table = pd.read_csv(job.rows, dtype=dict.fromkeys(job.categorical, str), keep_default_na=False)
    train = table["split"] == "train"
    columns: dict[str, np.ndarray] = {}
    sizes = {}
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.int64)
    codes = encoder.fit(table.loc[train, job.categorical]).transform(table[job.categorical]) + 1
    for at, name in enumerate(job.categorical):
        columns[name] = codes[:, at]
        sizes[name] = len(encoder.categories_[at]) + 1
    if job.numeric:
        numbers = StandardScaler().fit(table.loc[train, job.numeric]).transform(table[job.numeric])
        columns |= dict(zip(job.numeric, numbers.T.astype(np.float32), strict=True))
    labels = table[job.tasks].to_numpy(np.float32)
    parts = {}
    for split in ("train", "valid", "test"):
        chosen = (table["split"] == split).to_numpy()
        parts[split] = Part({name: column[chosen] for name, column in columns.items()}, labels[chosen])
    return sizes, parts


def time_calls(owner: Any, method: str) -> list[float]:
    """Let a method of an object note how many seconds each call takes; return the list that it notes them in."""
    inner, seconds = getattr(owner, method), []

    def outer(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return inner(*arguments, **named)
        finally:
            seconds.append(time.perf_counter() - started)

    setattr(owner, method, outer)
    return seconds


def peak_memory() -> int:
    """Return the highest resident memory of this process in bytes. The kernel's VmHWM knows no parent."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
