"""The tables of a comparison: which records share one, in which order, with which numbers."""

from __future__ import annotations

import numpy as np
import pytest

from mtbench.board.groups import group_records
from mtbench.board.labels import tell_apart
from mtbench.board.wording import UNDEFINED
from mtbench.record.store import Written
from tests.mtbench.board.conftest import main_tables, metric_tables, row


def test_the_numbers_are_numpys(page, make_record):
    rng = np.random.default_rng(3)
    values = {
        "click": {"auc": list(rng.uniform(0.6, 0.8, 5)), "logloss": list(rng.uniform(0.2, 0.4, 5))},
        "rating": {"rmse": list(rng.uniform(0.8, 1.2, 5))},
    }
    html = page(make_record("mmoe", values))

    def shown(numbers):
        return f"{np.mean(numbers):.4f} ± {np.std(numbers, ddof=1):.4f}"

    means = [f"{np.mean(values[task][metric]):.4f}" for task, metric in (("click", "auc"), ("rating", "rmse"))]
    assert row(main_tables(html)[0], "mmoe")[3:5] == means
    test, valid = metric_tables(html)[:2]
    assert test[0] == ["Model", "auc ↑", "logloss ↓"]
    assert test[1][1:] == [shown(values["click"]["auc"]), shown(values["click"]["logloss"])]
    assert valid[1][1:] == [shown(np.add(numbers, 0.01)) for numbers in values["click"].values()]


@pytest.mark.parametrize(("value", "shown"), [(1234.5678, "1,234.6"), (0.00012345, "1.23e-04"), (0.0, "0.0000")])
def test_large_and_tiny_numbers_keep_their_digits(page, make_record, value, shown):
    assert row(main_tables(page(make_record("mmoe", {"spend": {"rmse": [value]}})))[0], "mmoe")[3] == shown


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe: recipe["dataset"]["settings"].update(threshold=3),
        lambda recipe: recipe["dataset"].update(version=2),
        lambda recipe: recipe["dataset"]["files"].update({"u.data": "0" * 64}),
        lambda recipe: recipe["split"]["settings"].update(by="random"),
        lambda recipe: recipe["split"]["fingerprints"].update(test="dd"),
        lambda recipe: recipe["metrics"]["auc"].update(version=2),
        lambda recipe: recipe["metrics"]["auc"]["provenance"].update(distribution="another"),
        lambda recipe: recipe["tasks"][0].update(column="clicked"),
    ],
)
def test_records_that_cannot_be_compared_share_no_table(page, make_record, change):
    first = make_record("mmoe")
    recipe = first.recipe.model_dump(mode="json")
    change(recipe)
    recipe["model"]["name"] = "ple"
    second = make_record(**{key: value for key, value in recipe.items() if key != "model"} | {"model": "ple"})
    tables = main_tables(page(first, second))
    assert len(tables) == 2
    assert sorted(table[1][0].split()[0] for table in tables) == ["mmoe", "ple"]


def test_what_may_be_compared_shares_a_table_and_is_told_apart(page, make_record):
    usual = {"max_epochs": 5, "batch_size": 2048, "learning_rate": 0.001, "select": "mean"}
    html = page(
        make_record("mmoe", {"click": {"auc": [0.8, 0.81]}}, settings={"experts": 16, "dropout": 0.1}),
        make_record("mmoe", {"click": {"auc": [0.7, 0.71]}}, settings={"experts": 8, "dropout": 0.1}, training=usual),
        make_record("ple", {"click": {"auc": [0.6, 0.61]}}, training={**usual, "learning_rate": 0.01}),
    )
    (table,) = main_tables(html)
    names = sorted(cells[0] for cells in table[1:4])
    assert names == ["mmoe experts 16", "mmoe experts 8", "ple training.learning_rate 0.01"]


CODE = {"distribution": "mtbench", "sha256": "5d41402abc4b2a76b9719d911017c592"}
TUNED = {"kind": "tuned", "sampler": "tpe", "pruner": "median", "seed": 1000}
SPACE = {"model.experts": {"low": 2, "high": 16, "log": False}, "training.learning_rate": [0.001, 0.01], "balancer": []}


def test_what_a_sweep_chose_tells_no_rows_apart_but_its_budget_does(page, make_record, tmp_path):
    def tuned(model, experts, rate, balancer, trials):
        return make_record(
            model,
            settings={"experts": experts, "levels": 1},
            training={"max_epochs": 5, "learning_rate": rate},
            balancer={"name": balancer, "settings": {}, "provenance": CODE},
            budget=TUNED | {"trials": trials, "space": SPACE},
        )

    def gather(records):
        (group,) = group_records(Written(record, tmp_path) for record in records)
        return group

    same = [tuned("mmoe", 4, 0.001, "equal", 20), tuned("mmoe", 6, 0.01, "dwa", 20)]
    assert [set(each) for each in tell_apart(gather(same))] == [set(), set()]
    other = [*same, tuned("ple", 4, 0.001, "equal", 40), make_record("ple", training={"max_epochs": 5})]
    found = tell_apart(gather(other))
    assert found[2]["budget"] == "tuned, 40 trials (tpe, pruner median, seed 1000)"
    assert found[3]["budget"] == "default settings"
    text = page(tuned("mmoe", 4, 0.001, "equal", 20), make_record("ple"))
    assert "Tuned, 20 trials (tpe, pruner median, seed 1000)" in text
    assert "Default settings" in text


def test_a_metric_of_two_versions_has_two_columns(page, make_record):
    first = make_record("mmoe", {"click": {"auc": [0.7, 0.8], "gauc": [0.61, 0.62]}})
    metrics = first.recipe.model_dump(mode="json")["metrics"]
    metrics["gauc"]["version"] = 2
    second = make_record("ple", {"click": {"auc": [0.7, 0.8], "gauc": [0.63, 0.64]}}, metrics=metrics)
    tables = metric_tables(page(first, second))
    assert tables[0][0] == ["Model", "auc ↑", "gauc (v1) ↑", "gauc (v2) ↑"]
    assert [cells[3] for cells in tables[0][1:3]] == [f"{UNDEFINED} 2", "0.6350 ± 0.0071"]


def test_two_contents_of_one_key_are_two_rows(page, make_record):
    first = make_record("mmoe", {"click": {"auc": [0.7, 0.71, 0.72]}})
    second = make_record("mmoe", {"click": {"auc": [0.6, 0.61, 0.62]}})
    assert first.key == second.key
    (table,) = main_tables(page(first, second))
    assert {cells[3] for cells in table[1:]} == {"0.7100", "0.6100"}
    for made in (first, second):
        assert sum(f"record {made.file_stem[-16:]}" in cells[0] for cells in table) == 1


def test_equal_outcomes_of_one_recipe_are_one_row(page, make_record):
    values = {"click": {"auc": [0.7, 0.71, 0.72]}}
    moments = ("2026-01-01T10:00:00+00:00", "2026-01-02T10:00:00+00:00", "2026-01-03T10:00:00+00:00")
    same = [make_record("mmoe", values, measured={"created": created}) for created in moments]
    assert len({made.file_stem for made in same}) == 3
    (table,) = main_tables(page(*same[:2], make_record("ple", values)))
    assert sorted(cells[0] for cells in table[1:]) == ["mmoe reproduced twice", "ple"]
    html = page(*same[::-1])
    assert sorted(cells[0] for cells in main_tables(html)[0][1:]) == ["mmoe reproduced 3 times", "ple"]
    assert f"records/{same[0].file_stem}.html" in html


def test_rows_are_ordered_by_the_mean_improvement(page, make_record):
    bounds = {
        "constant": {"click": {"auc": 0.5}, "rating": {"rmse": 2.0}},
        "optimum": {"click": {"auc": 0.9}, "rating": {"rmse": 0.5}},
    }

    def make(model, auc, rmse):
        return make_record(model, {"click": {"auc": auc}, "rating": {"rmse": rmse}}, bounds=bounds)

    html = page(
        make("a", [0.75] * 5, [1.5] * 5),  # (0.5 + 0.25) / 2
        make("b", [0.6] * 5, [1.0] * 5),  # (0.2 + 0.5) / 2
        make("c", [0.7] * 5, [1.0] * 5),  # (0.4 + 0.5) / 2
        make("d", [0.9, 0.9, 0.9, 0.9, None], [0.1] * 5),
    )
    (table,) = main_tables(html)
    assert [(cells[0], cells[2]) for cells in table[1:]] == [
        ("c", "45.0"),
        ("a", "37.5"),
        ("b", "35.0"),
        ("d", UNDEFINED),
        ("constant predictor", "0.0"),
        ("optimum", "77.5"),
    ]
    assert table[-1][3:5] == ["0.9000", "0.5000"]


def test_without_a_constant_predictor_rows_are_ordered_by_name(page, make_record):
    html = page(make_record("b", {"click": {"auc": [0.9]}}), make_record("a", {"click": {"auc": [0.6]}}))
    assert [cells[0].split()[0] for cells in main_tables(html)[0][1:]] == ["a", "b"]
    assert "ordered by name" in html


def test_the_undefined_is_a_dash_with_its_reason(page, make_record):
    made = make_record(
        "mmoe", {"click": {"auc": [0.7, None, 0.8]}}, undefined={"click.auc.test.1": "only the value 0 among 12 rows"}
    )
    html = page(made)
    assert row(main_tables(html)[0], "mmoe")[3] == f"{UNDEFINED} 1"
    assert "click auc on test: seed 1: only the value 0 among 12 rows</li>" in html
    assert "0.75" not in html


def test_fewer_than_five_seeds_are_unranked(page, make_record):
    bounds = {"constant": {"click": {"auc": 0.5}}}
    four, five = (make_record("m", {"click": {"auc": [0.7] * seeds}}, bounds=bounds) for seeds in (4, 5))
    html = page(four, five)
    assert "unranked: 4 seeds, 5 are needed</li>" in html
    (table,) = main_tables(html)
    assert sorted(cells[1] for cells in table[1:3]) == ["unranked 1", "unranked 2"]
    assert "unranked: not resampled; mtbench compare does it where its predictions are</li>" in html


def test_a_record_that_lacks_what_it_names_is_shown_with_gaps(page, make_record):
    made = make_record("mmoe", {"click": {"auc": [0.7, 0.8]}})
    gaps = made.model_copy(
        update={
            "results": {},
            "bounds": {"constant": {}},
            "measured": made.measured.model_copy(update={"seeds": {}, "flops_per_row": None}),
        }
    )
    html = page(gaps)
    assert [cells[3] for cells in main_tables(html)[0][1:]] == [f"{UNDEFINED} 1", f"{UNDEFINED} 2"]
