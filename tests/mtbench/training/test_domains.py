from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mtbench
from mtbench.evaluation import predictions
from mtbench.experiment import load_experiment
from mtbench.plan import make_plan
from mtbench.registry import Registry
from mtbench.training.prepare import prepare_data

ROWS = 600
SEEN = ["de", "fr", "it"]
BY_DOMAIN = """
import torch
from torch import nn

from mtbench import ModelConfig, MultiTaskModel, hookimpl


class ByDomain(MultiTaskModel):
    '''Learns a logit for each domain, and nothing else.'''

    def __init__(self, config, data):
        super().__init__(config, data)
        self.logits = nn.Parameter(torch.zeros(data.domains, data.num_tasks))

    def forward(self, batch):
        assert batch.domain.shape == (len(batch),)
        return self.logits[batch.domain]


@hookimpl
def mtbench_models(register):
    register("by-domain", ByDomain)
"""


@pytest.fixture
def table(tmp_path):
    """Write visits of three countries, the last of them from a fourth, and some from nobody knows where."""
    rng = np.random.default_rng(0)
    country = rng.choice(SEEN, ROWS)
    country[-20:] = "se"
    rate = pd.Series(country).map({"de": 0.2, "fr": 0.5, "it": 0.8, "se": 0.5}).to_numpy()
    rows = pd.DataFrame({
        "user": rng.integers(30, size=ROWS),
        "item": rng.integers(20, size=ROWS),
        "title": [f"title {word}" for word in rng.integers(20, size=ROWS)],
        "time": np.arange(ROWS),
        "country": np.where(rng.random(ROWS) < 0.05, "", country),
        "click": (rng.random(ROWS) < rate).astype(int),
        "like": (rng.random(ROWS) < rate).astype(int),
    })  # fmt: skip
    rows.to_csv(tmp_path / "visits.csv", index=False)
    return rows


@pytest.fixture
def experiment(tmp_path, table):  # noqa: ARG001 - the file comes first
    """Return an experiment over the visits whose domain is the country."""
    return {
        "dataset": {
            "name": "table", "path": str(tmp_path / "visits.csv"), "tasks": ["click", "like"], "texts": ["title"],
            "user": "user", "item": "item", "time": "time", "domain": "country",
        },
        "models": [{"name": "by-domain", "wide": False}],
        "seeds": 1,
        "training": {"max_epochs": 1, "batch_size": 128, "accelerator": "cpu"},
        "metrics": ["auc"],
    }  # fmt: skip


def domains_of(table, rows):
    """Return what the file says of these rows, None for an empty cell."""
    return [country or None for country in table["country"].to_numpy()[rows]]


@pytest.mark.parametrize("ids", [True, False])
def test_a_model_sees_the_domain_and_its_predictions_name_it(experiment, table, tmp_path, ids):
    plugin = tmp_path / "by_domain.py"
    plugin.write_text(BY_DOMAIN)
    experiment["dataset"]["ids"] = ids
    experiment["training"] |= {"max_epochs": 30, "patience": 30, "learning_rate": 0.1}
    (written,) = mtbench.run(experiment, records=tmp_path / "records", plugins=[plugin])
    found = predictions.read(written.path.with_suffix(".parquet"))
    assert found["domain"].to_pylist() == domains_of(table, found["row"].to_numpy())
    found = found.to_pandas()
    test = found[found["split"] == "test"]
    assert {*SEEN, "se"} == set(test["domain"].dropna())
    for task, lines in test.groupby("task", observed=True):
        of_domain = lines["prediction"].groupby(lines["domain"].astype(object).fillna("none"))
        learned = of_domain.first()
        assert (of_domain.max() - of_domain.min() < 1e-6).all(), task
        assert learned["de"] < learned["fr"] < learned["it"], task
        assert learned["se"] == 0.5, "no row has taught the code of unknown values"
        assert learned["none"] != 0.5, "training has rows without a country"


def test_the_domain_is_a_feature_with_codes_of_its_own(experiment, table):
    registry = Registry.load()
    columns = prepare_data(make_plan(load_experiment(experiment | {"models": ["mmoe"]}), registry, "test"))
    assert list(columns.spec.categorical) == ["user", "item", "country"]
    assert columns.spec.domains == columns.spec.categorical["country"] == 5  # unknown, three countries, missing
    codes = {None: 4, "se": 0, "de": 1, "fr": 2, "it": 3}
    for rows in (columns.train, columns.valid, columns.open_test()):
        batch = rows.whole()
        assert batch.domain.tolist() == [codes[country] for country in domains_of(table, columns.row_ids(rows))]


@pytest.mark.parametrize("model", Registry.load().names("model"))
def test_every_model_runs_on_domains(experiment, table, tmp_path, model):
    (written,) = mtbench.run(experiment | {"models": [model]}, records=tmp_path / "records")
    found = predictions.read(written.path.with_suffix(".parquet"))
    assert found["domain"].to_pylist() == domains_of(table, found["row"].to_numpy())
    assert np.isfinite(found["prediction"].to_numpy()).all()
