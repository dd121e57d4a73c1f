from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtbench.board import checks, resamples
from mtbench.board.admission import add, check_all, inspect, read_groups
from mtbench.errors import MTBenchError
from mtbench.evaluation import predictions
from mtbench.files import hash_file
from mtbench.record import store
from mtbench.record.form import Record
from mtbench.registry import Registry


@pytest.fixture
def registry():
    return Registry.load()


@pytest.fixture
def desk(planted_board, tmp_path):
    """Return a copy of the records, the benchmarks' folder, and a board that is empty."""
    shutil.copytree(planted_board / "records", tmp_path / "records")
    return tmp_path / "records", planted_board / "configs" / "benchmarks", tmp_path / "board"


def of(model, folder):
    return next(each for each in store.read_all(folder)[0] if each.record.recipe.model.name == model)


def forged(written, change, *, table=None):
    """Write what ``change`` makes of a record, its hashes and its name being as they should; return the path."""
    content = json.loads(written.path.read_text())
    change(content)
    if table is not None:
        pq.write_table(table, written.path.with_name("other.parquet"))
        content["predictions"]["sha256"] = hash_file(written.path.with_name("other.parquet"))
    record = Record.model_validate(content)
    record = record.model_copy(update={"key": record.recipe.key})
    path = store.write(record, written.path.parent)
    source = written.path.with_name("other.parquet") if table is not None else written.path.with_suffix(".parquet")
    shutil.copy(source, path.with_suffix(".parquet"))
    return path


def test_a_good_record_is_admitted_checked_and_ready_to_be_ranked(desk, registry):
    records, known, board = desk
    for written in store.read_all(records)[0]:
        found = inspect(written.path, registry, known=known)
        assert found.notes == []
        assert found.check.difference == 0.0
        assert found.check.tolerance == 0.0
        add(found, board, registry)
        add(found, board, registry)
    assert check_all(board, registry, known) == (2, [])
    verified, _ = checks.read_all(board)
    assert {checks.find_badge(each) for each in verified.values()} == {"checked"}
    assert all(len(each) == 1 for each in verified.values())
    assert resamples.read_all(board)[0].keys() == verified.keys()
    assert not list(board.rglob("*.parquet"))


def test_without_its_predictions_it_is_claimed(desk, registry):
    records, known, board = desk
    written = of("constant", records)
    written.path.with_suffix(".parquet").unlink()
    found = inspect(written.path, registry, known=known)
    assert found.check is None
    assert found.notes == ["there are no predictions beside it, so its numbers are claimed"]
    add(found, board, registry)
    assert checks.find_badge(checks.read_all(board)[0].get(written.record.file_stem, ())) == "claimed"


def test_a_changed_digit_is_refused(desk, registry):
    records, known, _board = desk
    written = of("shared-bottom", records)
    text = written.path.read_text()
    value = str(written.record.results["click"]["auc"].test[2])
    digit = value[-1]
    written.path.write_text(text.replace(value, value[:-1] + ("1" if digit != "1" else "2"), 1))
    with pytest.raises(MTBenchError, match="it was changed"):
        inspect(written.path, registry, known=known)


@pytest.mark.parametrize("metric", ["auc", "logloss", "gauc"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_changed_digit_is_refused_with_hashes_made_anew(desk, registry, metric, split):
    records, known, _board = desk

    def change(content):
        values = content["results"]["click"][metric][split]
        text = repr(values[2])
        place = np.random.default_rng(len(metric + split)).integers(text.index(".") + 1, len(text))
        values[2] = float(text[:place] + str((int(text[place]) + 5) % 10) + text[place + 1 :])

    path = forged(of("shared-bottom", records), change)
    with pytest.raises(MTBenchError, match=rf"click.{metric}.{split}, seed 2: .* predictions give|s.2: task click had"):
        inspect(path, registry, known=known)


def test_a_change_of_what_was_chosen_on_validation_is_seen_without_predictions(desk, registry):
    records, known, _board = desk

    def change(content):
        content["results"]["click"]["auc"]["valid"][1] += 0.01

    path = forged(of("shared-bottom", records), change)
    path.with_suffix(".parquet").unlink()
    with pytest.raises(MTBenchError, match=r"seeds.1: task click had .* on validation in the chosen epoch, but"):
        inspect(path, registry, known=known)


def without_task(content):
    del content["results"]["like"]


def without_task_everywhere(content):
    without_task(content)
    content["recipe"]["tasks"] = [task for task in content["recipe"]["tasks"] if task["name"] != "like"]


def without_metric(content):
    del content["results"]["click"]["logloss"]


def of_other_data(content):
    content["recipe"]["dataset"]["version"] = 2


def of_other_rows(content):
    content["recipe"]["split"]["fingerprints"]["test"] = "ab"


def with_fewer_seeds(content):
    content["recipe"]["seeds"].pop()


def longer_trained(content):
    content["recipe"]["training"]["max_epochs"] = 20


def searched_in_secret(content):
    content["recipe"]["budget"]["trials"] = 100


def tuned(content, *, seed=1000, trials=2, best=1, layers=None):
    """Make it a tuned record of two trials, the second of which was better and has the record's settings."""
    layers = layers or content["recipe"]["model"]["settings"]["bottom_layers"]
    content["recipe"]["budget"] |= {
        "kind": "tuned", "trials": trials, "sampler": "tpe", "pruner": "halving", "seed": seed,
        "space": {"model.bottom_layers": [[128, 64], [16]]},
    }  # fmt: skip
    content["measured"]["tuning"] = {
        "trials": [
            {"settings": {"model.bottom_layers": each}, "ended": "finished", "score": score, "epochs": 2, "seconds": 1}
            for each, score in [([16], 0.4), (layers, 0.5)]
        ],
        "best": best,
    }


def on_the_judges_seed(content):
    tuned(content, seed=0)


def with_trials_left_out(content):
    tuned(content, trials=20)


def not_the_best(content):
    tuned(content, best=0)


def with_other_settings_than_chosen(content):
    tuned(content, layers=[32, 8])


def searched_more_than_said(content):
    tuned(content)
    content["recipe"]["budget"]["space"] = {}


def balanced_by_hand(content):
    content["recipe"]["balancer"]["name"] = "uncertainty"


def set_by_hand(content):
    content["recipe"]["model"]["settings"]["bottom_layers"] = [16]


def opened_twice(content):
    content["measured"]["test_opened"] = 2


def better_than_perfect(content):
    content["results"]["click"]["auc"]["test"][0] = 1.5


def unexplained(content):
    content["results"]["click"]["auc"]["test"][0] = None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_task, "results: task like is missing"),
        (without_task_everywhere, "tasks.like: the benchmark has 'auc', the record nothing"),
        (without_metric, "results.click.logloss: is missing"),
        (of_other_data, "recipe.dataset.version: 2; here the dataset has version 1"),
        (of_other_rows, "split.fingerprints.test: the benchmark has"),
        (with_fewer_seeds, "5 values for 4 seeds"),
        (longer_trained, "training.max_epochs: the benchmark has 2, the record 20"),
        (searched_in_secret, "default settings, but there are traces of a search"),
        (on_the_judges_seed, "recipe.budget.seed: 0 is one of the seeds"),
        (with_trials_left_out, "measured.tuning: 2 trials, asked were 20"),
        (not_the_best, "measured.tuning: trial 2 scored higher than the chosen one, trial 1"),
        (with_other_settings_than_chosen, "the chosen trial had model.bottom_layers [32, 8], the record [8]"),
        (searched_more_than_said, "model.bottom_layers: tried but not searched, or searched but not tried"),
        (balanced_by_hand, "balancer: the benchmark has 'equal', the record 'uncertainty'"),
        (set_by_hand, "recipe.model.settings.bottom_layers: [16], by default [128, 64]"),
        (opened_twice, "the test split was opened 2 times, not once"),
        (better_than_perfect, "results.click.auc: 1.5 is better than perfect"),
        (unexplained, "undefined: click.auc.test.0: there must be a reason"),
    ],
)
def test_each_fault_is_refused_with_its_reason(desk, registry, change, reason):
    records, known, board = desk
    path = forged(of("shared-bottom", records), change)
    with pytest.raises(MTBenchError) as raised:
        inspect(path, registry, known=known)
    assert reason in str(raised.value)
    assert all(line.startswith(path.name) for line in str(raised.value).splitlines())
    assert not board.exists()


def test_predictions_of_another_record_are_refused(desk, registry):
    records, known, _board = desk
    mine, other = of("shared-bottom", records), of("constant", records)
    shutil.copy(other.path.with_suffix(".parquet"), mine.path.with_suffix(".parquet"))
    with pytest.raises(MTBenchError, match="predictions: sha256 of"):
        inspect(mine.path, registry, known=known)
    table = predictions.read(other.path.with_suffix(".parquet"))
    path = forged(mine, lambda _: None, table=table)
    with pytest.raises(MTBenchError, match=r"results.click.auc.test, seed 0: .* but the predictions give 0.5"):
        inspect(path, registry, known=known)


def test_predictions_of_other_rows_are_refused(desk, registry):
    records, known, _board = desk
    written = of("shared-bottom", records)
    table = predictions.read(written.path.with_suffix(".parquet"))
    moved = table.set_column(3, predictions.SCHEMA.field("row"), pa.array(np.asarray(table["row"]) + 1))
    with pytest.raises(MTBenchError, match="predictions: the test rows are not those of the split"):
        inspect(forged(written, lambda _: None, table=moved), registry, known=known)
    fewer = table.filter(np.asarray(table["seed"]) < 4)

    def count(content):
        content["predictions"]["rows"] = fewer.num_rows

    with pytest.raises(MTBenchError, match=r"predictions: of seeds \[0, 1, 2, 3\]"):
        inspect(forged(written, count, table=fewer), registry, known=known)
    with pytest.raises(MTBenchError, match=rf"predictions: {fewer.num_rows} rows, in the record"):
        inspect(forged(written, lambda _: None, table=fewer), registry, known=known)


def test_code_that_is_not_here_is_named(desk, registry):
    records, known, _board = desk

    def change(content):
        content["recipe"]["model"]["name"] = "deep-thought"
        content["recipe"]["model"]["provenance"] = {"distribution": "magrathea", "sha256": "f00d"}
        content["measured"]["versions"]["magrathea"] = "4.2"

    found = inspect(forged(of("shared-bottom", records), change), registry, known=known)
    assert found.notes == ["model deep-thought: code of magrathea 4.2, sha256 f00d, which is not here"]
    assert found.check is not None

    def stranger(content):
        change(content)
        content["recipe"]["metrics"]["auc"]["provenance"]["distribution"] = "magrathea"

    with pytest.raises(MTBenchError, match=r"metrics.auc: version 1 of magrathea is not here"):
        inspect(forged(of("shared-bottom", records), stranger), registry, known=known)


def test_a_benchmark_that_is_not_known_is_refused_and_none_needs_none(desk, registry):
    records, known, _board = desk
    written = of("constant", records)
    for name in ("planted-v7", "../planted-v1"):

        def other(content, name=name):
            content["recipe"]["benchmark"]["name"] = name

        with pytest.raises(MTBenchError, match="there is no benchmark"):
            inspect(forged(written, other), registry, known=known)

    def free(content):
        content["recipe"]["benchmark"] = None

    assert inspect(forged(written, free), registry, known=known).check is not None


def test_a_constant_predictor_unlike_the_others_is_refused(desk, registry):
    records, known, board = desk
    add(inspect(of("constant", records).path, registry, known=known), board, registry)

    def change(content):
        content["bounds"]["constant"]["click"]["auc"]["test"] = [0.2]

    with pytest.raises(MTBenchError, match=r"bounds.constant.click.auc: 0.2, but 0.5 in"):
        inspect(forged(of("shared-bottom", records), change), registry, read_groups(board), known)


def test_everything_that_is_wrong_in_a_boards_folder_is_found(desk, registry):
    records, known, board = desk
    for written in store.read_all(records)[0]:
        add(inspect(written.path, registry, known=known), board, registry)
    (board / "0123456789abcdef-0123456789abcdef.json").write_text("{}")
    first, second = sorted((board / "resamples").iterdir())
    found = resamples.read(first)
    lies = {
        task: each.model_copy(update={"values": [value + 0.1 for value in each.values]})
        for task, each in found.tasks.items()
    }
    first.unlink()
    resamples.write(found.model_copy(update={"tasks": lies}), board)
    second.write_text("nothing")
    [*_, last] = sorted((board / "checks").iterdir())
    last.rename(last.with_name("a.json"))
    count, problems = check_all(board, registry, known)
    assert count == 2
    for text in ("0123456789abcdef.json: not a record", "their mean is", "not resamples", "a.json: its name is not"):
        assert any(text in problem for problem in problems), text
