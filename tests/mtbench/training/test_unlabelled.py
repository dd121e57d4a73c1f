"""Test rows of an official split whose labels are missing are predicted, and not judged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

import mtbench
from mtbench.board import resamples
from mtbench.board.admission import inspect
from mtbench.board.page import build
from mtbench.errors import MTBenchError
from mtbench.evaluation import predictions
from mtbench.registry import Registry

ROWS = 600
RNG = np.random.default_rng(0)
CLICK = RNG.random(ROWS) < 0.5
FRAME = pd.DataFrame({
    "user": RNG.integers(40, size=ROWS),
    "item": RNG.integers(20, size=ROWS),
    "click": CLICK.astype(float),
    "buy": (CLICK & (RNG.random(ROWS) < 0.4)).astype(float),
    "stars": RNG.normal(size=ROWS),
    "part": np.repeat(["train", "valid", "test"], [400, 100, 100]),
})  # fmt: skip
TEST = FRAME["part"] == "test"
TASKS = ["click", {"name": "buy", "given": "click"}, {"name": "stars", "kind": "regression"}]
LABELS = ["click", "buy", "stars"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a frame, and returns what was written and the lines of the test rows by task."""
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path / "cache"))

    def run_frame(frame, split="part"):
        dataset = {"name": "table", "path": frame, "user": "user", "item": "item", "tasks": TASKS, "split": split}
        experiment = {"dataset": dataset, "models": ["means"], "seeds": 1, "metrics": ["auc", "gauc", "rmse"]}
        (written,) = mtbench.run(experiment, records=tmp_path / "records")
        lines = predictions.read(written.path.with_suffix(".parquet")).to_pandas()
        lines = lines[lines["split"] == "test"].set_index("row")
        return written, {task: lines[lines["task"] == task] for task in LABELS}

    return run_frame


def without(rows, *labels):
    frame = FRAME.copy()
    frame.loc[TEST & rows, [*labels]] = np.nan
    return frame


def test_what_is_predicted_and_judged_is_what_all_labels_would_give(run):
    _, full = run(FRAME)
    hidden = np.arange(ROWS) % 2 == 0
    written, lines = run(without(hidden, *LABELS))
    for task in ("click", "stars"):
        assert lines[task]["prediction"].tolist() == full[task]["prediction"].tolist()
        assert lines[task]["label"].isna().tolist() == hidden[TEST].tolist()
        assert lines[task]["label"].dropna().equals(full[task]["label"][~hidden[TEST]])
    known = lines["click"].dropna(subset="label")
    value = written.record.results["click"]["auc"].test
    assert value == [pytest.approx(roc_auc_score(known["label"], known["prediction"]))]
    # of those without a click that is known, none can be left out; of the others those that were not given
    expected = [row for row in np.flatnonzero(TEST) if hidden[row] or CLICK[row]]
    assert lines["buy"].index.tolist() == expected
    assert lines["buy"]["label"].isna().tolist() == [bool(hidden[row]) for row in expected]
    assert written.record.undefined == {}
    assert written.record.predictions.rows == pq.read_metadata(written.path.with_suffix(".parquet")).num_rows


@pytest.mark.parametrize("labels", [LABELS, ["click"], ["buy"]])
def test_a_task_without_any_test_label_is_undefined_and_all_goes_on(run, tmp_path, labels):
    written, lines = run(without(np.ones(ROWS, bool), *labels))
    record = written.record
    undefined = {*labels, "buy"}  # which is not known where a click is not
    assert {key.split(".")[0] for key in record.undefined} == undefined
    assert {reason for key, reason in record.undefined.items() if ".auc." in key} == {"there are no rows"}
    assert all(len(lines[task]) and lines[task]["label"].isna().all() for task in undefined)
    warned = [line for line in record.measured.warnings if "no labelled row in the test rows" in line]
    assert [line.split("'")[1] for line in warned] == [task for task in LABELS if task in undefined]
    if undefined == {*LABELS}:
        with pytest.raises(MTBenchError, match="no test rows with labels"):
            resamples.make(written, Registry.load())
    else:
        tasks = resamples.make(written, Registry.load()).model_dump()["tasks"]
        assert {task for task, drawn in tasks.items() if None not in drawn["values"]} == {*LABELS} - undefined
    assert inspect(written.path, Registry.load()).check.level == "checked"
    build(tmp_path / "records", tmp_path / "site")
    (page,) = (tmp_path / "site" / "data").glob("*.html")
    assert "buy auc on test: there are no rows" in page.read_text()


def test_labels_that_are_missing_elsewhere_are_neither_predicted_nor_judged(run):
    frame = FRAME.copy()
    frame.loc[frame["part"] == "valid", "stars"] = np.where(np.arange(100) % 2, np.nan, 1.0) * np.arange(100)
    written, lines = run(frame)
    whole = predictions.read(written.path.with_suffix(".parquet"))
    assert whole["label"].null_count == 0
    assert len(lines["stars"]) == 100
    _, lines = run(without(np.arange(ROWS) % 2 == 0, "stars").drop(columns="part"), split=None)
    assert not any(lines[task]["label"].isna().any() for task in LABELS)


def test_all_training_or_validation_labels_are_needed(run):
    frame = FRAME.copy()
    frame.loc[frame["part"] == "valid", "stars"] = np.nan
    with pytest.raises(MTBenchError, match=r"'stars'.* no labelled row in the valid rows; leave the task out"):
        run(frame)
