from __future__ import annotations

import ast
import json
from dataclasses import fields
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from rich.console import Console

from mtbench.registry import Registry
from mtbench.schema import Task
from mtbench.testing.examples import examples
from mtbench.training import efficiency

SCRIPT = Path(__file__).parents[2] / "performance" / "peers.py"
PARTS = SCRIPT.with_suffix("")


@pytest.fixture(scope="module")
def peers(load):
    return load("peers")


@pytest.fixture(scope="module")
def job(load):
    return load("peers/job")


def result(framework, model="mmoe", **values):
    measured = {"training": 100.0, "evaluation": 500.0, "memory": 2e9, "seconds": 9.0, "auc": 0.75, "aucs": {"a": 0.75}}
    share = {"training": 0.3, "evaluation": 0.5}
    return {
        "dataset": "d", "size": "s", "model": model, "framework": framework, "share": share, **measured, **values
    }  # fmt: skip


def values(rows=600):
    """Return rows in which a category and a number decide two tasks; the last part is test."""
    rng = np.random.default_rng(0)
    letter, number = rng.integers(4, size=rows), rng.normal(size=rows)
    score = np.column_stack([letter - 1.5 + number, 1.5 - letter + number]) + 0.2 * rng.normal(size=(rows, 2))
    labels = (score > 0).astype(np.int8)
    part = np.where(np.arange(rows) < 0.7 * rows, "train", np.where(np.arange(rows) < 0.85 * rows, "valid", "test"))
    letters = np.array(["a", "b", "c", ""])[letter]
    letters[-1] = "never seen in training"
    columns = {"letter": letters, "number": number, "up": labels[:, 0], "down": labels[:, 1], "split": part}
    return pa.table(columns), ["letter"], ["number"], ["up", "down"]


@pytest.mark.parametrize("tasks", [2, 4])
@pytest.mark.parametrize("name", ["shared-bottom", "mmoe", "ple"])
def test_operations_are_those_that_are_counted(peers, name, tasks):
    layers, own = (12, 6), peers["count_level_experts"](tasks)
    cls = Registry.load().resolve("model", name)
    settings = {
        "shared-bottom": {"bottom_layers": layers},
        "mmoe": {"expert_layers": layers, "experts": 8},
        "ple": {"expert_layers": layers, "levels": 1, "task_experts": own, "shared_experts": own},
    }[name]
    columns = examples([Task(name=f"task{number}") for number in range(tasks)])
    model = cls(cls.Config(tower_layers=(64, 32), wide=False, norm="batch", **settings), columns.spec)
    counted = efficiency.count_flops_per_row(model, columns.train.take(torch.arange(64)))
    assert peers["count_flops"](name, model.embed.width, tasks, layers) == pytest.approx(counted)


def test_a_level_of_ple_has_about_as_many_experts_as_mmoe(peers):
    assert [peers["count_level_experts"](tasks) * (tasks + 1) for tasks in (2, 4)] == [9, 10]


def test_shares_are_of_the_bound(peers):
    # 10 operations a row: of 6,000 a second, 200 rows can train and 600 be predicted
    shares = peers["add_shares"]({"training": 100.0, "evaluation": 150.0}, 10.0, 6000.0)["share"]
    assert shares == pytest.approx({"training": 0.5, "evaluation": 0.25})


def test_the_best_of_the_rounds_counts(peers):
    rounds = [
        {"training": 5, "evaluation": 9, "memory": 3, "seconds": 4, "warm": 3, "auc": 0.5, "aucs": {"a": 0.5}},
        {"error": "fell over"},
        {"training": 7, "evaluation": 8, "memory": 2, "seconds": 6, "warm": 1, "auc": 0.7, "aucs": {"a": 0.7}},
    ]
    found = peers["take_best"](rounds)
    assert found.pop("aucs") == {"a": pytest.approx(0.6)}
    assert found == {
        "training": 7, "evaluation": 9, "memory": 3, "seconds": 4, "warm": 1, "auc": pytest.approx(0.6)
    }  # fmt: skip
    assert peers["take_best"](rounds[1:2]) == {"error": "fell over"}


def test_ratios_are_to_the_best_peer(load):
    results = [
        result("mtbench", training=300.0, seconds=5.0),
        result("slow", training=50.0, seconds=20.0),
        result("fast", training=200.0, seconds=10.0),
        {"dataset": "d", "size": "s", "model": "mmoe", "framework": "broken", "error": "no module"},
    ]
    ratio = load("peers_tables")["write_ratio"]
    assert ratio(results, "training") == "1.5"
    assert ratio(results, "seconds") == "0.5"
    assert ratio(results[1:], "training") == ratio(results[:1], "training") == ""


def test_tables_and_plot_say_what_was_not_available(peers, tmp_path):
    results = [
        result("mtbench", training=1234.0, warm=4.0),
        result("other", training=617.0),
        result("mtbench", model="ple"),
        {"dataset": "d", "size": "s", "model": "ple", "framework": "other", "error": "ValueError: no such model"},
    ]
    conditions = {"epochs": 5, "rows": None, "rounds": 1, "products": 3e11}
    report = {"machine": {"CPUs": 2}, "results": [conditions | one for one in results]}
    printed = Console(file=StringIO(), width=200)
    peers["write"](report, tmp_path)
    peers["show"](results, printed)
    text = (tmp_path / "peers.md").read_text()
    assert "| d | s | mmoe | 1,234 (30%) | 617 (30%) | 2 |" in text
    assert "| d | s | mmoe | 9.0 (warm 4.0) | 9.0 | 1 |" in text
    assert "| d | s | ple | 100 (30%) | not available |  |" in text
    assert "* other, d, s, ple: ValueError: no such model" in text
    assert "not available" in printed.file.getvalue()
    assert json.loads((tmp_path / "peers.json").read_text()) == report
    assert "mtbench" in (tmp_path / "peers.svg").read_text()
    assert text.startswith("CPUs 2; matrix products 300 to 300 GFLOP/s; s 5 epochs, all rows, 1 rounds.\n")


def test_what_was_measured_before_of_other_models_stays_on_the_same_machine_alone(peers):
    def report(machine, *models):
        case = {"dataset": "census-income", "size": "narrow", "framework": "mtbench"}
        return {"machine": {"CPUs": machine}, "results": [case | {"model": name, "of": machine} for name in models]}

    both = peers["merge_reports"](report(2, "mmoe"), report(2, "ple", "shared-bottom") | {})
    assert [one["model"] for one in both["results"]] == ["shared-bottom", "mmoe", "ple"]
    assert peers["merge_reports"](report(2, "mmoe"), report(4, "ple")) == report(2, "mmoe")
    newer = report(2, "mmoe")
    newer["results"][0]["of"] = 3
    assert peers["merge_reports"](newer, report(2, "mmoe")) == newer


def test_every_framework_has_a_script_that_parses_and_pinned_requirements(peers):
    for framework in peers["FRAMEWORKS"]:
        script = PARTS / f"run_{framework.replace('-', '_')}.py"
        imported = {
            (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
            for node in ast.walk(ast.parse(script.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert ("mtbench" in imported) == (framework == "mtbench")
        if framework != "mtbench":
            lines = (PARTS / f"{framework}.txt").read_text().split()
            assert lines[0].startswith(f"{framework}==")
            assert all("==" in line for line in lines)


def test_a_job_is_what_the_scripts_read(peers, job):
    rows = peers["Rows"](Path("rows.csv"), ["letter"], [], ["up", "down"])
    case = peers["Case"]("d", "narrow", "ple", "torch-rechub")
    given = peers["make_job"](rows, case, peers["SIZES"]["narrow"], 0)
    assert given.pop("script") == "run_torch_rechub.py"
    assert {*given, "started", "folder"} == {field.name for field in fields(job["Job"])}


def test_peers_rows_are_encoded_by_training_rows_alone(peers, job, tmp_path):
    table, *names = values()
    rows, truth = peers["write_table"]((table, *names), tmp_path / "rows.csv")
    case = peers["Case"]("d", "narrow", "mmoe", "fuxictr")
    given = peers["make_job"](rows, case, peers["SIZES"]["narrow"], 0)
    del given["script"]
    sizes, parts = job["encode"](job["Job"](**given, started=0.0, folder=str(tmp_path)))
    assert sizes == {"letter": 5}
    train, test = parts["train"], parts["test"]
    assert set(train.features["letter"]) == {1, 2, 3, 4}
    assert test.features["letter"][-1] == 0
    assert (train.features["number"].mean(), train.features["number"].std()) == pytest.approx((0, 1), abs=1e-6)
    assert np.array_equal(test.labels, truth)


@pytest.mark.parametrize("model", ["shared-bottom", "mmoe", "ple"])
def test_mtbenchs_script_learns_and_reports(peers, tmp_path, model):
    rows, truth = peers["write_table"](values(), tmp_path / "rows.csv")
    python = peers["find_python"]("mtbench", tmp_path)
    case = peers["Case"]("d", "narrow", model, "mtbench")
    job = peers["make_job"](rows, case, peers["Size"]((16, 8), 4, 8, None), 0) | {"batch": 32, "learning_rate": 0.01}
    found = peers["run"](python, job, truth)
    assert found.get("error") is None
    assert min(found["aucs"].values()) > 0.9
    assert 0 < found["warm"] < found["seconds"]
    assert min(found["training"], found["evaluation"], found["memory"]) > 0


def test_a_script_that_fails_is_told(peers, tmp_path):
    rows, truth = peers["write_table"](values(), tmp_path / "rows.csv")
    case = peers["Case"]("d", "narrow", "mmoe", "mtbench")
    job = peers["make_job"](rows, case, peers["SIZES"]["narrow"], 0) | {"rows": str(tmp_path / "absent.csv")}
    assert "absent.csv" in peers["run"](peers["find_python"]("mtbench", tmp_path), job, truth)["error"]
    assert peers["run"]("no environment", job, truth) == {"error": "no environment"}
