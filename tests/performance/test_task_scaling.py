from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mtbench.model import MultiTaskModel
from mtbench.nn import FeatureEmbedding, StackedLinear

SCRIPT = Path(__file__).parents[2] / "performance" / "task_scaling.py"


@pytest.fixture(scope="module")
def task_scaling(load):
    return load("task_scaling")


class Linear(MultiTaskModel):
    """As many linear maps as tasks."""

    def __init__(self, config, data):
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, config.embedding_dim)
        self.out = StackedLinear(data.num_tasks, self.embed.width, 1)

    def forward(self, batch):
        return self.out(self.embed(batch)).squeeze(-1).t()


def test_what_is_counted_is_a_models_own(task_scaling):
    one, four = task_scaling["measure"]({"linear": Linear}, [1, 4], rows=64, rounds=1)
    model, _, rows = task_scaling["prepare_model"](Linear, 1)
    assert rows > 64
    assert one["flops"] == pytest.approx(2 * model.embed.width + 2 * len(model.data.numeric), rel=0.05)
    assert four["flops"] == pytest.approx(4 * one["flops"])
    of_a_task = model.embed.width + 1 + sum(parameter.numel() for parameter in model.wide.parameters())
    assert four["parameters"] - one["parameters"] == 3 * of_a_task
    assert min(one["step"], one["inference"], four["step"], four["inference"]) > 0


def test_growth_is_the_ratio_to_the_fewest_tasks_and_the_least_comes_first(task_scaling):
    results = [
        {"model": model, "tasks": tasks, "inference": value}
        for model, values in {"heavy": [2.0, 8.0], "light": [3.0, 3.3]}.items()
        for tasks, value in zip([1, 32], values, strict=True)
    ]
    assert task_scaling["list_growth"](results, "inference") == [["light", "3", "1.10x"], ["heavy", "2", "4.00x"]]


def test_names_stand_beside_the_ends_of_their_lines_or_above_where_they_would_touch(task_scaling):
    results = [
        {"model": model, "tasks": tasks, "inference": value}
        for model, values in {"grec": [2.0, 4.0], "heavy": [1.0, 32.0], "heavier": [1.0, 32.0]}.items()
        for tasks, value in zip([1, 32], values, strict=True)
    ]
    plot = task_scaling["draw_growth"](results)
    ends = {mark.title.partition(",")[0]: mark.y for mark in plot.marks if ", 32 tasks" in mark.title}
    names = {text.words: text.y - 4 for text in plot.texts}
    assert names["grec"] == ends["grec"] > ends["heavy"] == ends["heavier"]
    assert sorted(ends["heavy"] - names[name] for name in ("heavy", "heavier")) == [0, 13]
    assert [text for _, text in plot.x_ticks] == ["1", "32"]
    assert [text for _, text in plot.y_ticks] == ["1", "2", "4", "8", "16", "32"]
    assert plot.lines[-1].title == "grec"


def test_a_small_run_writes_table_and_plot(tmp_path):
    size = ["--model", "mmoe", "--model", "grec", "--tasks", "1", "--tasks", "2", "--rows", "32", "--rounds", "1"]
    subprocess.run([sys.executable, SCRIPT, *size, "--results", tmp_path], check=True, capture_output=True)
    found = json.loads((tmp_path / "task_scaling.json").read_text())
    assert [(each["model"], each["tasks"]) for each in found] == [("mmoe", 1), ("mmoe", 2), ("grec", 1), ("grec", 2)]
    assert "| grec |" in (tmp_path / "task_scaling.md").read_text()
    assert "grec" in (tmp_path / "task_scaling.svg").read_text()
