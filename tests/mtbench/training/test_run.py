from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mtbench
from mtbench.data.columns import Columns
from mtbench.evaluation import predictions
from mtbench.files import hash_file
from mtbench.model import MultiTaskModel
from mtbench.record.store import read

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 20  # in all, half of them for each way of selection


def outcome(folder: Path) -> dict:
    """Return everything of a folder's records that must be the same whenever the same thing is run."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        runs = record["measured"]["seeds"].items()
        seeds = {seed: {name: part for name, part in run.items() if name != "seconds"} for seed, run in runs}
        found[record["key"]] = (record["results"], record["bounds"], record["predictions"], seeds)
    return found


def test_same_seed_same_bits(small, tmp_path):
    for name in ("a", "b"):
        mtbench.run(small, records=tmp_path / name)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")


def test_other_seed_other_bits(small, tmp_path):
    (first,) = mtbench.run(small | {"seeds": [0]}, records=tmp_path)
    (second,) = mtbench.run(small | {"seeds": [1]}, records=tmp_path)
    assert first.record.predictions.sha256 != second.record.predictions.sha256


def test_a_seed_does_not_depend_on_its_neighbours(small, tmp_path):
    (both,) = mtbench.run(small | {"seeds": [0, 1]}, records=tmp_path)
    (alone,) = mtbench.run(small | {"seeds": [1]}, records=tmp_path)
    for task, metrics in both.record.results.items():
        for metric, cell in metrics.items():
            assert cell.test[1] == alone.record.results[task][metric].test[0]


def _run(experiment: dict, folder: Path) -> None:
    torch.set_num_threads(1)
    mtbench.run(experiment, records=folder)


@pytest.mark.parametrize("select", ["mean", "per-task"])
def test_killed_at_random_moments_and_resumed_gives_the_bits_of_the_uninterrupted_run(small, tmp_path, select):
    small["seeds"] = 2
    small["training"] |= {"select": select, "max_epochs": 4}
    small["models"] = [*small["models"], "shared-bottom"]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mtbench.training.run", "pytorch_lightning"])

    def start(folder: Path) -> multiprocessing.Process:
        process = context.Process(target=_run, args=(small, folder))
        process.start()
        return process

    start(tmp_path / "warm-up").join()
    began = time.monotonic()
    whole = start(tmp_path / "whole")
    whole.join()
    duration = time.monotonic() - began
    assert whole.exitcode == 0
    expected = outcome(tmp_path / "whole")
    assert len(expected) == 2

    rng = np.random.default_rng(0)
    kills, attempt = 0, 0
    while kills < KILLS // 2:
        folder = tmp_path / f"killed-{attempt}"
        attempt += 1
        for _ in range(4):  # times that one run is killed
            process = start(folder)
            process.join(rng.uniform(0.0, duration))
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            process.join()
        last = start(folder)
        last.join()
        assert last.exitcode == 0
        assert outcome(folder) == expected
        assert not list((folder / ".work").glob("*"))


def test_resume_keeps_finished_records(small, tmp_path):
    (first,) = mtbench.run(small, records=tmp_path)
    (again,) = mtbench.run(small, records=tmp_path)
    assert again.path == first.path
    (fresh,) = mtbench.run(small, records=tmp_path, resume=False)
    assert fresh.record.key == first.record.key
    assert len(list(tmp_path.glob("*.json"))) == 2  # two contents of one key stand side by side


def test_the_test_split_is_opened_once_per_record_after_every_choice(small, tmp_path, monkeypatch):
    seen = []
    opened, saved = Columns.open_test, torch.save
    monkeypatch.setattr(Columns, "open_test", lambda self: seen.append("open") or opened(self))
    monkeypatch.setattr(torch, "save", lambda *args, **kwargs: seen.append("save") or saved(*args, **kwargs))
    (written,) = mtbench.run(small | {"seeds": 2}, records=tmp_path)
    assert seen.count("open") == written.record.measured.test_opened == 1
    assert seen[-1] == "open"


def test_no_label_of_the_test_split_reaches_training(small, tmp_path):
    path = tmp_path / "rows.csv"
    rng = np.random.default_rng(0)
    x, noise = rng.integers(0, 5, 3000), rng.random(3000)
    clicked = (noise < (x + 1) / 7).astype(int)

    def write(labels: np.ndarray) -> None:
        rows = [f"{t},{v},{y}" for t, (v, y) in enumerate(zip(x, labels, strict=True))]
        path.write_text("time,x,click\n" + "\n".join(rows) + "\n")

    small["dataset"] = {"name": "table", "path": str(path), "time": "time", "tasks": ["click"], "features": ["x"]}
    small["split"] = {"by": "time", "valid": 0.1, "test": 0.2}
    results = []
    for labels in (clicked, np.concatenate([clicked[:2400], 1 - clicked[2400:]])):
        write(labels)
        (written,) = mtbench.run(small, records=tmp_path / "records")
        table = predictions.read(written.path.with_suffix(".parquet"))
        results.append((written.record.measured.seeds["0"].valid, table["prediction"].to_numpy()))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_predictions_hold_each_row_that_counts_once_and_give_the_results_again(small, tmp_path):
    (written,) = mtbench.run(small | {"seeds": 2}, records=tmp_path)
    table = predictions.read(written.path.with_suffix(".parquet")).to_pandas()
    assert not table.duplicated(["seed", "split", "task", "row"]).any()
    record = written.record
    clicks = table[(table.task == "click") & (table.seed == 0)]
    assert (clicks.split == "test").sum() == record.recipe.split.rows["test"]
    clicked = clicks[(clicks.split == "test") & (clicks.label == 1)].row
    bought = table[(table.task == "conversion") & (table.seed == 0) & (table.split == "test")].row
    assert set(bought) == set(clicked)
    assert hash_file(written.path.with_suffix(".parquet")) == record.predictions.sha256
    assert read(written.path) == record


def test_planted_results_lie_between_the_constant_and_the_optimum(small, tmp_path):
    small["dataset"] |= {"rows": 40_000}
    small["training"] |= {"max_epochs": 4}
    (written,) = mtbench.run(small, records=tmp_path)
    bounds = written.record.bounds
    for task in ("click", "like"):
        constant, optimum = (bounds[kind][task]["auc"].test[0] for kind in ("constant", "optimum"))
        assert constant == 0.5
        assert constant + 0.02 < written.record.mean(task, "auc") <= optimum + 0.005
        assert bounds["optimum"][task]["logloss"].test[0] < written.record.mean(task, "logloss")


def test_each_task_keeps_its_own_best_epoch(small, tmp_path):
    small["training"] |= {"select": "per-task", "max_epochs": 6, "learning_rate": 0.02, "patience": 6}
    (written,) = mtbench.run(small, records=tmp_path)
    run = written.record.measured.seeds["0"]
    for task, values in run.valid.items():
        assert run.chosen[task] == int(np.argmax(values))
        cell = written.record.results[task]["auc"]
        assert cell.valid[0] == pytest.approx(max(values), abs=1e-12)


def test_training_stops_when_validation_no_longer_improves(small, tmp_path):
    small["training"] |= {"max_epochs": 60, "learning_rate": 0.05, "patience": 2}
    (written,) = mtbench.run(small, records=tmp_path)
    run = written.record.measured.seeds["0"]
    assert len(run.seconds) == max(run.chosen.values()) + 1 + 2


def test_a_loss_that_is_not_finite_stops_with_epoch_task_and_advice(small, tmp_path):
    small["training"] |= {"learning_rate": 1e30}
    with pytest.raises(mtbench.MTBenchError, match=r"mmoe: seed 0: epoch 1.*task 'click' is nan.*learning_rate"):
        mtbench.run(small, records=tmp_path)


def test_statistics_that_are_not_finite_are_named(small, tmp_path, monkeypatch):
    monkeypatch.setattr(MultiTaskModel, "statistics", lambda _: {"entropy": math.nan})
    with pytest.raises(mtbench.MTBenchError, match=r"statistics\(\).* nan for 'entropy'"):
        mtbench.run(small, records=tmp_path)


def test_regression_and_classification_together(small, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    seconds = 30_000 + 9_000 * x + 1500 * rng.normal(size=4000)
    click = rng.random(4000) < 1 / (1 + np.exp(-2 * x))
    lines = [f"{a},{b},{int(c)}" for a, b, c in zip(x, seconds, click, strict=True)]
    (tmp_path / "rows.csv").write_text("x,play_ms,click\n" + "\n".join(lines) + "\n")
    small["dataset"] = {
        "name": "table",
        "path": str(tmp_path / "rows.csv"),
        "tasks": [{"name": "click"}, {"name": "play_ms", "kind": "regression"}],
        "features": [{"name": "x", "kind": "numeric"}],
    }
    small["metrics"] = ["auc", "rmse"]
    small["training"] |= {"max_epochs": 30, "patience": 30, "learning_rate": 0.01, "batch_size": 256}
    (written,) = mtbench.run(small, records=tmp_path / "records")
    assert written.record.mean("play_ms", "rmse") < 3000  # the constant predictor: about 9000
    assert written.record.mean("click", "auc") > 0.8
    assert written.record.bounds["constant"]["play_ms"]["rmse"].test[0] > 8000


def test_two_processes_never_run_the_same_thing_into_one_folder(small, tmp_path):
    context = multiprocessing.get_context("forkserver")
    small["training"] |= {"max_epochs": 400, "patience": 400}
    other = context.Process(target=_run, args=(small, tmp_path))
    other.start()
    try:
        while not list(tmp_path.glob(".work/*.lock")):
            assert other.is_alive()
            time.sleep(0.05)
        with pytest.raises(mtbench.MTBenchError, match="another process is running the same thing"):
            mtbench.run(small, records=tmp_path)
    finally:
        other.kill()
        other.join()
    small["training"] |= {"max_epochs": 1}
    mtbench.run(small, records=tmp_path)


def test_what_was_chosen_is_what_is_recorded_in_half_precision_too(small, tmp_path):
    small["training"] |= {"precision": "bf16-mixed"}
    (written,) = mtbench.run(small, records=tmp_path)
    run = written.record.measured.seeds["0"]
    for task, values in run.valid.items():
        assert written.record.results[task]["auc"].valid[0] == values[run.chosen[task]]


def test_the_default_batch_size_fits_the_rows(small, tmp_path):
    del small["training"]["batch_size"]
    (written,) = mtbench.run(small, records=tmp_path)
    assert written.record.recipe.training["batch_size"] == 4800 // 64


def test_a_loss_that_is_not_per_task_is_refused(small, tmp_path, monkeypatch):
    from mtbench_models.mmoe import MMoE  # noqa: PLC0415

    monkeypatch.setattr(MMoE, "loss", lambda self, outputs, batch: outputs.square().mean())  # noqa: ARG005
    with pytest.raises(mtbench.MTBenchError, match=r"one loss per task, shape \(3,\)"):
        mtbench.run(small, records=tmp_path)
