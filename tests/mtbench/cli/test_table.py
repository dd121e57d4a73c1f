from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtbench.board.wording import UNDEFINED
from mtbench.cli.table import shorten, show_results
from mtbench.record.store import Written

TASKS = ["click", "conversion", "long_view", "follow", "comment", "a_task_with_quite_a_long_name"]


@pytest.fixture
def shown(capsys, monkeypatch):
    def show(made, width):
        monkeypatch.setenv("COLUMNS", str(width))
        show_results([Written(record, Path("x.json")) for record in made], {})
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("tasks", [1, 2, 3, 6])
def test_every_number_is_there_whole(shown, make_record, width, tasks):
    rng = np.random.default_rng(tasks)
    models = ["shared-bottom", "mmoe", "a-model-with-quite-a-long-name"]
    values = {model: {task: list(rng.uniform(0.6, 0.8, 3)) for task in TASKS[:tasks]} for model in models}
    levels = {"constant": 0.5, "reachable": 0.81234, "optimum": 0.86543}
    bounds = {
        kind: {task: {"auc": level + index / 1000} for index, task in enumerate(TASKS[:tasks])}
        for kind, level in levels.items()
    }
    made = [
        make_record(
            model, {task: {"auc": found} for task, found in each.items()}, bounds=bounds,
            measured={"parameters": 1000 + index, "seconds": 1234.56 + index},
        )
        for index, (model, each) in enumerate(values.items())
    ]  # fmt: skip
    out = shown(made, width)
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    for each in values.values():
        for found in each.values():
            assert f"{np.mean(found):.4f} ± {np.std(found, ddof=1):.4f}" in out
    for of in bounds.values():
        for found in of.values():
            assert f"{found['auc']:.4f}" in out
    for model in models:
        assert model in out
    for text in ("constant predictor", "reachable optimum", "optimum", "1,234.6", "1,236.6", "over 3 seeds"):
        assert text in out
    joined = "".join(out.split())
    assert all(task in joined or task == TASKS[-1] for task in TASKS[:tasks])


def test_the_best_mean_is_bold_in_the_direction_of_the_metric(make_record, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def show(*values):
        made = [
            make_record(f"m{index}", {"click": {"auc": auc}, "rating": {"rmse": rmse}})
            for index, (auc, rmse) in enumerate(values)
        ]
        show_results([Written(record, Path("x.json")) for record in made], {})
        return capsys.readouterr().out

    out = show(([0.7, 0.72], [1.0, 1.02]), ([0.8, 0.82], [1.1, 1.12]))
    assert "\x1b[1m0.8100" in out
    assert "\x1b[1m1.0100" in out
    assert "\x1b[1m0.7100" not in out
    assert "\x1b[1m1.1100" not in out
    out = show(([0.7], [1.0]), ([0.8], [1.1]))
    assert "\x1b[1m0.8" not in out
    assert "±" not in out


def test_an_undefined_value_is_a_dash_with_its_reason(shown, make_record):
    reason = "only the value 0 among 12 rows"
    out = shown([make_record("mmoe", {"click": {"auc": [0.7, None]}}, undefined={"click.auc.test.1": reason})], 80)
    line = next(line for line in out.splitlines() if line.startswith("mmoe"))
    assert line.split()[1] == UNDEFINED
    assert f"mmoe, click auc: seed 1: {reason}" in out


def test_two_rows_of_a_model_are_told_apart_and_names_are_no_markup(shown, make_record):
    made = [make_record("[red]mmoe", settings={"experts": count, "dropout": 0.1}) for count in (4, 8)]
    lines = [line.strip() for line in shown(made, 80).splitlines()]
    assert sum(line.startswith("[red]mmoe") for line in lines) == 2
    assert {"experts 4", "experts 8"} <= set(lines)
    assert not any("dropout" in line for line in lines)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (1234, "1.23k"),
        (45_123_456, "45.1M"),
        (999_999, "1M"),
        (2 * 10**12, "2,000B"),
    ],
)
def test_counts_have_three_digits_and_a_unit(count, text):
    assert shorten(count) == text


def test_trainings_that_ended_too_early_are_counted(make_record, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    record = make_record("mmoe", {"click": {"auc": [0.7, 0.71]}})
    last = record.recipe.training["max_epochs"] - 1
    runs = {seed: run.model_copy(update={"chosen": {"click": last}}) for seed, run in record.measured.seeds.items()}
    late = record.model_copy(update={"measured": record.measured.model_copy(update={"seeds": runs})})
    show_results([Written(record, Path("a.json"))], {})
    assert "last epoch" not in capsys.readouterr().out
    show_results([Written(late, Path("b.json"))], {})
    assert f"{len(runs)} of {len(runs)} trainings were best in their last epoch" in capsys.readouterr().out
