from __future__ import annotations

import json
from importlib import metadata

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

import mtbench
from mtbench.experiment import load_experiment
from mtbench.model import MultiTaskModel
from mtbench.plan import make_plan
from mtbench.registry import Registry
from mtbench.testing.examples import TASKS, examples, schema
from mtbench.training.balancing import Aggregator
from mtbench.training.module import TrainingModule, _take_probe

REGISTRY = Registry.load()
NAMES = [entry.name for entry in REGISTRY.registrations("balancer") if entry.plugin.distribution == "mtbench"]
NETWORKS = [
    entry.name
    for entry in REGISTRY.registrations("model")
    if entry.plugin.distribution == "mtbench" and issubclass(REGISTRY.resolve("model", entry.name), MultiTaskModel)
]
KEEPING = ["uncertainty", "dwa", "famo", "nash-mtl", "random", "pcgrad", "graddrop", "gradnorm"]
"""Balancers with a state, or that draw random numbers."""


def fast(name: str) -> dict:
    """Return a balancer's settings, with which Nash-MTL too takes seconds."""
    return {"name": name} | ({"every": 10, "iterations": 5} if name == "nash-mtl" else {})


def outcome(written: mtbench.record.Written) -> tuple:
    record = json.loads(written.path.read_text())
    runs = record["measured"]["seeds"].items()
    return (
        record["results"],
        record["predictions"],
        {seed: {name: part for name, part in run.items() if name != "seconds"} for seed, run in runs},
    )


def build(name: str, tasks: int = 4):
    cls = REGISTRY.resolve("model", name)
    columns = examples(TASKS[:tasks], cls.inputs(cls.Config(), schema(TASKS[:tasks])))
    torch.manual_seed(0)
    return cls(cls.Config(), columns.spec), columns


def names(model, parameters) -> set[str]:
    return {name for name, one in model.named_parameters() if any(one is each for each in parameters)}


@pytest.fixture
def mixed(tmp_path) -> dict:
    """Return a binary task, one whose label is known of few rows, and a regression."""
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 3000))
    seconds = 30_000 + 9_000 * x + 1500 * rng.normal(size=3000)
    click, buy = (rng.random((2, 3000)) < 1 / (1 + np.exp(-2 * np.stack([x, z])))).astype(int)
    bought = np.where(rng.random(3000) < 0.04, buy.astype(str), "")
    lines = [f"{a},{b},{c},{d},{e}" for a, b, c, d, e in zip(x, z, seconds, click, bought, strict=True)]
    (tmp_path / "rows.csv").write_text("x,z,play_ms,click,buy\n" + "\n".join(lines) + "\n")
    return {
        "name": "table",
        "path": str(tmp_path / "rows.csv"),
        "tasks": [
            {"name": "click"},
            {"name": "buy", "metric": "logloss"},
            {"name": "play_ms", "kind": "regression"},
        ],
        "features": [{"name": "x", "kind": "numeric"}, {"name": "z", "kind": "numeric"}],
    }


@pytest.mark.parametrize("name", NAMES)
def test_each_balancer_trains_networks_with_and_without_gates(small, tmp_path, name):
    small["dataset"] |= {"rows": 4000}
    small["training"] |= {"max_epochs": 4, "patience": 4, "batch_size": 256, "learning_rate": 0.01}
    small["models"] = [*small["models"], {"name": "shared-bottom", "bottom_layers": [16], "tower_layers": [8]}]
    for written in mtbench.run(small | {"balancer": fast(name)}, records=tmp_path):
        losses = written.record.measured.seeds["0"].loss
        assert losses.keys() == {"click", "conversion", "like"}
        assert sum(each[-1] - each[0] for each in losses.values()) < -0.01
        assert written.record.results["click"]["auc"].test[0] > 0.55


@pytest.mark.parametrize("name", NAMES)
def test_with_one_task_every_balancer_is_plain_training(small, tmp_path, mixed, name):
    mixed["tasks"] = mixed["tasks"][:1]
    small |= {"dataset": mixed, "metrics": ["auc"]}
    small["training"] |= {"max_epochs": 2, "weight_decay": 1e-4}
    plain, balanced = (
        mtbench.run(small | {"balancer": one}, records=tmp_path / "records")[0] for one in ("equal", fast(name))
    )
    assert outcome(plain)[2] == outcome(balanced)[2]


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_task_may_be_missing_from_batches(small, tmp_path, mixed, name):
    small |= {"dataset": mixed, "metrics": ["auc", "logloss", "rmse"]}
    small["training"] |= {"max_epochs": 4, "patience": 4, "batch_size": 32, "learning_rate": 0.01}
    (written,) = mtbench.run(small | {"balancer": fast(name)}, records=tmp_path / "records")
    assert all(np.isfinite(each).all() for each in written.record.measured.seeds["0"].loss.values())
    assert written.record.mean("play_ms", "rmse") < 6500  # the constant predictor: about 9000
    assert written.record.mean("click", "auc") > 0.75


class Interruption(pl.Callback):
    def on_train_epoch_start(self, trainer, pl_module):  # noqa: ARG002
        if trainer.current_epoch == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", KEEPING)
def test_a_resumed_training_gives_the_bits_of_the_uninterrupted_one(small, tmp_path, monkeypatch, name):
    small["training"] |= {"max_epochs": 5, "patience": 5}
    small["balancer"] = fast(name)
    (whole,) = mtbench.run(small, records=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "callbacks", lambda *_: [Interruption()])
        with pytest.raises(KeyboardInterrupt):
            mtbench.run(small, records=tmp_path / "part")
    (resumed,) = mtbench.run(small, records=tmp_path / "part")
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("name", ["famo", "upgrad", "gradnorm"])
def test_half_precision_trains(small, tmp_path, name):
    small["training"] |= {"precision": "bf16-mixed", "learning_rate": 0.01}
    (written,) = mtbench.run(small | {"balancer": fast(name)}, records=tmp_path)
    losses = written.record.measured.seeds["0"].loss
    assert sum(each[-1] - each[0] for each in losses.values()) < -0.01


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_the_whole_batch_is_refused_with_several_processes(small, name):
    small["training"] |= {"devices": 2}
    experiment = load_experiment(small | {"balancer": name})
    if name in {"equal", "weighted", "uncertainty", "imtl-l", "dwa"}:
        assert make_plan(experiment, REGISTRY).balancer.balancer.distributed
        return
    with pytest.raises(mtbench.MTBenchError, match=rf"training\.devices: balancer '{name}' needs the whole batch"):
        make_plan(experiment, REGISTRY)


@pytest.mark.parametrize(("name", "package"), [("cagrad", "clarabel"), ("nash-mtl", "ecos"), ("cagrad", "cvxpy")])
def test_a_missing_package_is_named_before_training(small, monkeypatch, name, package):
    version = metadata.version

    def without(wanted: str) -> str:
        if wanted == package:
            raise metadata.PackageNotFoundError(wanted)
        return version(wanted)

    monkeypatch.setattr(metadata, "version", without)
    with pytest.raises(mtbench.MTBenchError, match=rf"balancer: balancer '{name}' needs the package {package}, which"):
        make_plan(load_experiment(small | {"balancer": name}), REGISTRY)


def test_a_record_names_the_version_of_what_balanced(small, tmp_path):
    (written,) = mtbench.run(small | {"balancer": "pcgrad"}, records=tmp_path)
    assert written.record.measured.environment["torchjd"] == metadata.version("torchjd")


def test_the_loss_of_an_epoch_is_told_without_batches_that_have_no_rows(small, tmp_path, mixed, monkeypatch):
    told = []
    monkeypatch.setattr("mtbench_balancers.losses.DWA.end_epoch", lambda _, losses: told.append(losses.tolist()))
    small |= {"dataset": mixed, "metrics": ["logloss"], "balancer": "dwa"}
    small["training"] |= {"max_epochs": 1, "batch_size": 32, "learning_rate": 1e-12}
    (written,) = mtbench.run(small, records=tmp_path / "records")
    click, buy, _ = told[0]
    assert click == pytest.approx(written.record.measured.seeds["0"].loss["click"][0], rel=1e-5)
    assert buy > 1.02 * written.record.measured.seeds["0"].loss["buy"][0]


def test_famo_sees_each_batch_again_with_the_same_dropout(small, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("mtbench_balancers.losses.FAMO.forward", lambda _, losses: seen.append(losses) or losses.sum())
    monkeypatch.setattr("mtbench_balancers.losses.FAMO.after_step", lambda _, losses: seen.append(losses))
    small["training"] |= {"max_epochs": 1, "learning_rate": 1e-12}
    small["models"] = [{"name": "shared-bottom", "dropout": 0.5}]
    mtbench.run(small | {"balancer": "famo"}, records=tmp_path)
    before, after = torch.stack(seen[::2]), torch.stack(seen[1::2])
    torch.testing.assert_close(after, before, rtol=1e-6, atol=0)
    assert len(before) == 10


def test_shared_parameters_of_a_shared_bottom_are_embeddings_and_bottom():
    model, columns = build("shared-bottom")
    found = names(model, model.shared_parameters(_take_probe(columns.train)))
    assert found == {name for name, _ in model.named_parameters() if name.startswith(("embed.", "bottom."))}


def test_single_task_networks_share_nothing():
    model, columns = build("single-task")
    assert model.shared_parameters(_take_probe(columns.train)) == []


def test_layers_that_start_at_zero_hide_nothing():
    model, columns = build("shared-bottom")
    expected = names(model, model.shared_parameters(_take_probe(columns.train)))
    torch.nn.init.zeros_(model.towers.head.weight)
    assert names(model, model.shared_parameters(_take_probe(columns.train))) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_the_probe_leaves_every_model_and_random_numbers_as_they_are(name):
    model, columns = build(name)
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    batch = _take_probe(columns.train)
    found = names(model, model.shared_parameters(batch))
    assert names(model, model.shared_parameters(batch)) == found
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    if name != "single-task":
        assert "embed.table" in found


@pytest.mark.parametrize("name", NETWORKS)
def test_aggregators_set_the_gradients_of_any_model(name):
    class Sum(Aggregator):
        def combine(self, gradients):
            return [each.sum(0) for each in gradients]

    model, columns = build(name)
    shared = list(model.shared_parameters(_take_probe(columns.train)))
    own = [each for each in model.parameters() if all(each is not one for one in shared)]
    batch = columns.train.take(torch.arange(100))
    balancer = Sum(Sum.Config(), columns.schema.tasks)
    torch.manual_seed(0)
    model.loss(model(batch), batch).sum().backward()
    expected = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    torch.manual_seed(0)
    balancer.backward(balancer(model.loss(model(batch), batch)), shared, own)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        if gradient is None:
            assert parameter.grad is None or not parameter.grad.any()
        else:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_a_model_may_name_its_shared_parameters_itself(small, tmp_path, monkeypatch):
    from mtbench_models.mmoe import MMoE  # noqa: PLC0415

    seen = []
    monkeypatch.setattr(MMoE, "shared_parameters", lambda self, _: list(self.experts.parameters()))
    monkeypatch.setattr(TrainingModule, "on_fit_end", lambda self: seen.append(names(self.model, self.shared)))
    mtbench.run(small | {"balancer": "mgda"}, records=tmp_path)
    assert seen
    assert all(name.startswith("experts.") for name in seen[0])


def test_the_probe_has_rows_of_every_task():
    columns = examples(TASKS[:4], ())
    batch = _take_probe(columns.train)
    assert (batch.mask.sum(0) >= 64).all()
    assert batch.rows.max() >= columns.train.rows[-100]


@pytest.mark.parametrize("name", ["uncertainty", "dwa"])
def test_two_processes_balance_as_one_does(small, tmp_path, mixed, name):
    small |= {"dataset": mixed, "metrics": ["logloss"], "balancer": name}
    small["models"] = [{"name": "shared-bottom", "dropout": 0.0, "embedding_dropout": 0.0}]
    losses = []
    for devices in (1, 2):
        small["training"] |= {"devices": devices, "max_epochs": 4, "patience": 4, "batch_size": 65}
        (written,) = mtbench.run(small, records=tmp_path / str(devices))
        losses.append(np.array(list(written.record.measured.seeds["0"].loss.values())))
    np.testing.assert_allclose(*losses, rtol=1e-3)
