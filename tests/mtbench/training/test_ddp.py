from __future__ import annotations

import json
import sys

import pytest
import torch

import mtbench
from mtbench.evaluation import predictions
from mtbench.experiment import load_experiment
from mtbench.plan import make_plan
from mtbench.registry import Registry
from mtbench.training.prepare import prepare_data

PLAIN = {"dropout": 0.0, "embedding_dropout": 0.0, "norm": "none"}

# What a spawned process must be able to import: it has no test modules.
PROBE = """
import pytorch_lightning as pl
import torch


class FirstGradient(pl.Callback):
    def __init__(self, path):
        self.path = path

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == 0 and trainer.is_global_zero:
            torch.save({name: p.grad for name, p in pl_module.model.named_parameters()}, self.path)
"""


@pytest.fixture
def probe(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "gradient_probe.py").write_text(PROBE)
    monkeypatch.syspath_prepend(folder)
    import gradient_probe  # noqa: PLC0415

    yield gradient_probe.FirstGradient
    sys.modules.pop("gradient_probe")


@pytest.mark.parametrize("name", ["mmoe", "ple"])
def test_the_first_gradient_of_two_processes_is_that_of_one(small, tmp_path, monkeypatch, probe, name):
    small["models"] = [{"name": name, **PLAIN, "expert_layers": [16], "tower_layers": [8]}]
    small["training"] |= {"max_epochs": 1, "batch_size": 511}  # odd: the two shares differ in size
    found = {}
    for devices in (1, 2):
        path = tmp_path / f"gradient-{devices}.pt"
        monkeypatch.setattr(Registry, "callbacks", lambda *_, path=path: [probe(path)])
        small["training"] |= {"devices": devices}
        mtbench.run(small, records=tmp_path / str(devices))
        found[devices] = torch.load(path, weights_only=True)
    assert found[1].keys() == found[2].keys()
    for parameter, gradient in found[1].items():
        assert gradient.abs().sum() > 0, parameter
        torch.testing.assert_close(found[2][parameter], gradient, rtol=0, atol=1e-6)


def test_two_processes_run_a_model_from_a_plugin_file_and_predict_each_row_once(small, tmp_path):
    plugin = tmp_path / "linear_plugin.py"
    plugin.write_text(
        "import torch\n"
        "from mtbench import MultiTaskModel, hookimpl\n"
        "from mtbench.nn import FeatureEmbedding\n\n\n"
        "class Linear(MultiTaskModel):\n"
        '    """One linear layer."""\n\n'
        "    def __init__(self, config, data):\n"
        "        super().__init__(config, data)\n"
        "        self.embed = FeatureEmbedding(data, 4)\n"
        "        self.out = torch.nn.Linear(self.embed.width, data.num_tasks)\n\n"
        "    def forward(self, batch):\n"
        "        self.place = float(batch.rows.double().mean())\n"
        "        return self.out(self.embed(batch))\n\n"
        "    def statistics(self):\n"
        '        return {"place": self.place}\n\n\n'
        "@hookimpl\n"
        "def mtbench_models(register):\n"
        '    register("linear", Linear)\n'
    )
    small["models"] = ["linear"]
    small["training"] |= {"devices": 2, "batch_size": 511}
    columns = prepare_data(make_plan(load_experiment(small | {"models": ["mmoe"]}), Registry.load()))
    (written,) = mtbench.run(small, records=tmp_path / "records", plugins=[plugin])
    table = predictions.read(written.path.with_suffix(".parquet")).to_pandas()
    for split in ("valid", "test"):
        rows = table[(table.split == split) & (table.task == "click")].row
        assert rows.is_unique
        assert len(rows) == columns.counts[split]
    history = written.record.measured.seeds["0"]
    assert history.statistics["place"] == pytest.approx(
        [float(columns.valid.rows.double().mean())] * len(history.seconds)
    )
    kept = {task: values[history.chosen[task]] for task, values in history.valid.items()}
    for task, value in kept.items():  # gathered from two processes during training, from one after it
        assert written.record.results[task]["auc"].valid[0] == pytest.approx(value, abs=1e-6)


def test_a_mistake_in_a_spawned_process_is_told_as_one(small, tmp_path):
    small["training"] |= {"devices": 2, "learning_rate": 1e30}
    with pytest.raises(mtbench.MTBenchError, match=r"^mmoe: seed 0: .*learning_rate") as caught:
        mtbench.run(small, records=tmp_path)
    assert "Traceback" not in str(caught.value)


def test_an_error_of_a_plugin_in_a_spawned_process_is_told_with_its_own_lines(small, tmp_path):
    plugin = tmp_path / "broken_plugin.py"
    plugin.write_text(
        "from mtbench import MultiTaskModel, hookimpl\n"
        "from mtbench.nn import FeatureEmbedding\n\n\n"
        "class Broken(MultiTaskModel):\n"
        "    def __init__(self, config, data):\n"
        "        super().__init__(config, data)\n"
        "        self.embed = FeatureEmbedding(data, 4)\n\n"
        "    def forward(self, batch):\n"
        "        return self.embed(batch) @ self.absent\n\n\n"
        "@hookimpl\n"
        "def mtbench_models(register):\n"
        '    register("broken", Broken)\n'
    )
    small["models"] = ["broken"]
    small["training"] |= {"devices": 2}
    said = r"^broken: seed 0: AttributeError: 'Broken' object has no .*\n  .*broken_plugin\.py:11, in forward: return"
    with pytest.raises(mtbench.ModelsError, match=said):
        mtbench.run(small, records=tmp_path / "records", plugins=[plugin])


def test_devices_lie_outside_the_key(small, tmp_path):
    (one,) = mtbench.run(small, records=tmp_path)
    assert "devices" not in json.loads(one.path.read_text())["recipe"]["training"]
    assert one.record.measured.processes == 1
