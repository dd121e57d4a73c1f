from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import mtbench
from mtbench.board.groups import group_records
from mtbench.board.labels import tell_apart
from mtbench.board.page import build
from mtbench.board.wording import UNDEFINED
from mtbench.cli.table import show_results
from mtbench.data.columns import Columns
from mtbench.errors import ModelsError
from mtbench.experiment import PLACEMENT, load_experiment
from mtbench.plan import make_plan
from mtbench.record.store import read
from mtbench.registry import Registry
from mtbench.training import run as running

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
import numpy as np
import torch
from mtbench import Reference, hookimpl
from mtbench.schema import Component, Settings

class Own(Reference):
    "Predicts what its setting says."

    class Config(Settings):
        value: str = "0.5"

    @classmethod
    def inputs(cls, config, schema):
        return [Component(name="recent", length=5)]

    def fit(self, train, valid):
        recent = train.inputs["recent"]
        assert len(recent.items) == len(train) and train.rows.tolist() == list(range(len(train)))
        lists = train.multi["recent items"]
        assert list(train.multi) == list(self.data.multi) and len(lists.offsets) == len(train) + 1
        assert not lists.offsets[0] and lists.offsets[-1] == len(lists.values)
        assert train.numeric.shape[1] == len(self.data.numeric)
        assert valid.rows[0] == len(train)
        self.value = {"0.5": 0.5, "nan": float("nan")}.get(self.config.value)

    def predict(self, rows):
        if self.value is None:
            return np.full(len(rows), 0.5)
        noise = np.random.default_rng(self.seed).random((len(rows), self.data.num_tasks))
        return self.value + 0.1 * noise

class Missing(Own):
    packages = ("surely-not-installed",)

@hookimpl
def mtbench_models(register):
    register("own", Own)
    register("missing", Missing)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(SOURCE)
    return path


def test_a_reference_is_run_and_recorded_like_any_model(small, tmp_path, capsys):
    small |= {"models": ["constant", *small["models"], "lightgbm"], "seeds": 2}
    small["training"] |= {"max_epochs": 1}
    done = mtbench.run(small, records=tmp_path, progress=True)
    constant, network, trees = (written.record for written in done)
    for record in (constant, trees):
        assert record.recipe.balancer is None
        assert record.recipe.training == {}
        assert record.measured.flops_per_row is None
        assert record.measured.test_opened == 1
        assert record.measured.latency_seconds > 0
        assert record.predictions.rows == network.predictions.rows
        for run in record.measured.seeds.values():
            assert set(run.chosen.values()) == {0}
            assert run.loss == {}
            assert [len(values) for values in run.valid.values()] == [1, 1, 1]
    for task, metrics in constant.bounds["constant"].items():
        for metric, cell in metrics.items():
            for split in ("valid", "test"):
                assert getattr(constant.results[task][metric], split) == getattr(cell, split) * 2
    assert constant.measured.parameters == 3
    assert {"lightgbm"} == set(trees.measured.environment) - set(network.measured.environment)
    for task in ("click", "like"):
        assert trees.results[task]["auc"].valid == [run.valid[task][0] for run in trees.measured.seeds.values()]
        assert trees.mean(task, "auc") > 0.52
    first, second = trees.results["click"]["auc"].test
    assert first != second
    err = capsys.readouterr().err
    assert "lightgbm, seed 1: validation click 0." in err
    assert err.count("epoch 1 of 1") == 2  # of the network's seeds alone


def test_tables_and_pages_show_networks_and_references_side_by_side(small, tmp_path, plugin, capsys):
    small |= {"models": [*small["models"], "own", "constant", "means"], "inputs": {"give": ["recent"]}}
    small["dataset"] |= {"ids": True}
    small["training"] |= {"max_epochs": 1}
    done = mtbench.run(small, records=tmp_path, plugins=[plugin])
    site = build(tmp_path, tmp_path / "site").parent
    pages = {record.recipe.model.name: (site / "records" / f"{path.stem}.html").read_text() for record, path in done}
    (group,) = group_records(done)
    found = zip(group.records, tell_apart(group), strict=True)
    told = {record.recipe.model.name: settings for record, settings in found}
    assert told == {"mmoe": {}, "constant": {}, "means": {}, "own": told["own"]}
    assert all(key.startswith("inputs.asked") for key in told["own"])
    (data,) = (site / "data").glob("*.html")
    assert all(f">{name}<" in data.read_text() for name in told)
    balancers = {name: page.count('<th scope="row">balancer</th>') for name, page in pages.items()}
    assert balancers == {"mmoe": 2, "constant": 0, "means": 0, "own": 0}  # among its settings and its code
    assert "not counted" in pages["own"]
    show_results(done, {})
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("own")]
    assert any(UNDEFINED in line for line in lines)  # its parameters


def test_the_key_of_a_reference_does_not_depend_on_balancer_and_training(small, tmp_path):
    keys = set()
    for balancer, epochs in (("equal", 1), ("equal", 2), ({"name": "weighted", "weights": {"click": 2.0}}, 2)):
        small |= {"models": ["constant"], "balancer": balancer}
        small["training"] |= {"max_epochs": epochs}
        keys.add(mtbench.run(small, records=tmp_path)[0].record.key)
    assert len(keys) == 1


def test_a_finished_reference_is_kept_and_an_interrupted_one_starts_over(small, tmp_path, monkeypatch):
    small |= {"models": ["means", "lightgbm"], "seeds": 2}
    small["dataset"] |= {"ids": True}
    whole = [written.record for written in mtbench.run(small, records=tmp_path / "whole")]

    opened = Columns.open_test

    def interrupt(self: Columns) -> object:
        if len(list((tmp_path / "cut").glob("*.json"))) == 1:
            raise KeyboardInterrupt
        return opened(self)

    monkeypatch.setattr(Columns, "open_test", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mtbench.run(small, records=tmp_path / "cut")
    (kept,) = (tmp_path / "cut").glob("*.json")
    monkeypatch.undo()
    means, trees = mtbench.run(small, records=tmp_path / "cut")
    assert means.path == kept
    assert [record.results for record in whole] == [means.record.results, trees.record.results]
    assert whole[1].predictions == trees.record.predictions


def test_a_reference_without_randomness_is_fitted_once(small, tmp_path, monkeypatch):
    from mtbench_models.means import Means  # noqa: PLC0415

    fits = []
    fit = Means.fit
    monkeypatch.setattr(Means, "fit", lambda self, train, valid: fits.append(self.seed) or fit(self, train, valid))
    small |= {"models": ["means"], "seeds": [3, 4, 5]}
    small["dataset"] |= {"ids": True}
    (written,) = mtbench.run(small, records=tmp_path)
    assert fits == [3]
    for metrics in written.record.results.values():
        for cell in metrics.values():
            assert len(cell.test) == 3
            assert len(set(cell.test)) == 1
    assert [run.seconds == [0.0] for run in written.record.measured.seeds.values()] == [False, True, True]


def test_a_reference_gets_whole_splits_with_what_was_asked_for_and_given(small, tmp_path, plugin):
    small |= {"models": ["own"], "inputs": {"give": ["recent"]}, "seeds": 2}
    (written,) = mtbench.run(small, records=tmp_path, plugins=[plugin])
    assert [part.name for part in written.record.recipe.inputs.asked] == ["recent"]
    assert written.record.measured.parameters is None
    assert len(set(written.record.results["click"]["auc"].test)) == 2  # two seeds, two noises


def test_given_inputs_reach_the_columns_of_references(small, tmp_path):
    small |= {"models": [{"name": "lightgbm", "rounds": 30}, "logistic-regression"]}
    without = mtbench.run(small, records=tmp_path / "without")
    given = mtbench.run(small | {"inputs": {"give": ["recent"]}}, records=tmp_path / "given")
    for plain, more in zip(without, given, strict=True):
        assert plain.record.results != more.record.results
    assert given[1].record.measured.parameters > without[1].record.measured.parameters


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nan", r"own: seed 0: predict\(\) returned nan for task 'click'; predictions must be finite"),
        ("flat", r"own: seed 0: predict\(\) returned shape \(\d+,\); return \(rows, tasks\), \(\d+, 3\)"),
    ],
)
def test_predictions_that_are_none_are_refused(small, tmp_path, plugin, value, message):
    small |= {"models": [{"name": "own", "value": value}], "inputs": {"give": ["recent"]}}
    with pytest.raises(mtbench.MTBenchError, match=message):
        mtbench.run(small, records=tmp_path, plugins=[plugin])


def test_a_missing_package_is_named_before_anything_is_run(small, plugin):
    small |= {"models": ["own", "missing"]}
    with pytest.raises(mtbench.MTBenchError, match=r"models\.1: model 'missing' needs the package surely-not-inst"):
        make_plan(load_experiment(small), Registry.load([plugin]))


def test_a_dataset_that_a_reference_cannot_do_with_is_no_fault_of_the_other_models(small, tmp_path):
    small |= {"models": ["means", *small["models"]]}
    with pytest.raises(ModelsError, match=r"^means: model 'means' needs the id of user or item among the features"):
        mtbench.run(small, records=tmp_path)
    (record,) = (read(path) for path in tmp_path.glob("*.json"))
    assert record.recipe.model.name == small["models"][1]["name"]


def test_the_recipe_of_a_network_keeps_its_balancer_and_training(small):
    plan = make_plan(load_experiment(small), Registry.load())
    training = plan.experiment.training.for_rows(4800)
    columns = running.prepare_data(plan)
    recipe = running.make_recipe(plan, columns, plan.models[0])
    assert recipe.balancer is not None
    assert recipe.balancer.name == "equal"
    assert recipe.training == training.model_dump(mode="json", exclude=PLACEMENT)
    assert np.isfinite(recipe.training["learning_rate"])
