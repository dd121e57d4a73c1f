"""Every model with inputs trains on every kind of split, with and without a time."""

from __future__ import annotations

import numpy as np
import pytest

import mtbench
from mtbench.evaluation import predictions

PLUGIN = '''
import numpy as np
from pydantic import Field

from mtbench import Card, Dataset, DatasetConfig, hookimpl
from mtbench.testing.inputs import Generated, generate_table


class VisitsConfig(DatasetConfig):
    """Settings of the visits."""

    timed: bool = Field(True, description="Whether the rows have a time.")


class Visits(Dataset[VisitsConfig]):
    """Visits whose official parts are mixed in time."""

    Config = VisitsConfig
    card = Card(
        title="", licence="", citation="", url="", description="", acknowledged={"time-order": "The parts are mixed."}
    )

    def table(self):
        rng = np.random.default_rng(0)
        table = generate_table(rng, 400, 12, 9, timed=self.config.timed)
        table["part"] = rng.choice(["train", "valid", "test"], 400, p=[0.7, 0.15, 0.15])
        return table

    def schema(self):
        return Generated(self.table()).schema().model_copy(update={"split": "part"})

    def load(self, files):
        return self.table()


@hookimpl
def mtbench_datasets(register):
    register("visits", Visits)
'''
MODELS = [
    {"name": "grec", "width": 8, "experts": 2, "head_width": 8},
    {"name": "mgoe"},
    {"name": "macgnn"},
    {"name": "lightgcn"},
    {"name": "shared-bottom", "bottom_layers": [8]},
]
GIVEN = ["recent", "rates", {"name": "macro-graph", "user_clusters": 4, "item_clusters": 3}, "full-graph"]


@pytest.mark.parametrize("warmup", [0.0, 0.3])
@pytest.mark.parametrize(
    ("by", "timed"),
    [("time", True), ("random", True), ("random", False), ("official", True), ("official", False)],
)
def test_every_model_with_inputs_trains(tmp_path, by, timed, warmup):
    (tmp_path / "visits.py").write_text(PLUGIN)
    experiment = {
        "dataset": {"name": "visits", "timed": timed},
        "split": {"by": by},
        "models": MODELS,
        "seeds": 1,
        "training": {"max_epochs": 1, "batch_size": 64, "accelerator": "cpu"},
        "metrics": ["auc"],
        "inputs": {"warmup": warmup, "give": GIVEN},
    }
    written = mtbench.run(experiment, records=tmp_path / "records", plugins=[tmp_path / "visits.py"])
    assert len(written) == len(MODELS)
    for record, path in written:
        predicted = predictions.read(path.with_suffix(".parquet"))["prediction"].to_numpy()
        assert np.isfinite(predicted).all(), record.recipe.model.name
        assert record.mean("click", "auc") is not None


@pytest.mark.parametrize("signal", ["none", "graph", "sequence"])
def test_generated_data_are_divided_at_random_too(tmp_path, signal):
    experiment = {
        "dataset": {"name": "planted", "rows": 2000, "signal": signal},
        "split": {"by": "random"},
        "models": ["grec"],
        "seeds": 1,
        "training": {"max_epochs": 1, "accelerator": "cpu"},
    }
    ((record, _),) = mtbench.run(experiment, records=tmp_path)
    assert record.bounds["reachable"]["click"]["auc"].test[0] <= record.bounds["optimum"]["click"]["auc"].test[0] + 0.02
