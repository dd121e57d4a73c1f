from __future__ import annotations

import copy

import pytest
import yaml

from mtbench import benchmark as benchmarks
from mtbench.benchmark import Benchmark
from mtbench.errors import MTBenchError
from mtbench.record.store import read_all
from mtbench.registry import Registry


@pytest.fixture
def content(planted_benchmark):
    return copy.deepcopy(planted_benchmark)


def changed(content, path, value):
    """Return the content with one value changed; None removes the key."""
    found = copy.deepcopy(content)
    *above, last = path
    place = found
    for key in above:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), "planted-v2"),
        (("seeds",), 3),
        (("sweep", "trials"), 3),
        (("sweep", "sampler"), "random"),
        (("datasets", 0, "version"), 2),
        (("datasets", 0, "files"), {"ratings.csv": "ab"}),
        (("datasets", 0, "dataset", "rows"), 4000),
        (("datasets", 0, "split", "valid"), 0.2),
        (("datasets", 0, "fingerprints", "test"), "ab"),
        (("datasets", 0, "training", "max_epochs"), 3),
        (("datasets", 0, "settings", "dropout"), 0.2),
        (("datasets", 0, "give"), None),
        (("datasets", 0, "tasks", "click"), "gauc"),
    ],
)
def test_every_condition_is_in_the_hash(content, path, value):
    before, now = (Benchmark.model_validate(each).part for each in (content, changed(content, path, value)))
    assert before.sha256 != now.sha256


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("about",), "Other words."),
        (("entries",), []),
        (("sweep", "heartbeat"), 7),
        (("seeds",), [0, 1, 2, 3, 4]),
    ],
)
def test_what_changes_no_number_is_not(content, path, value):
    before, now = (Benchmark.model_validate(each).part for each in (content, changed(content, path, value)))
    assert before == now


def test_default_rows_come_first_and_names_choose(content):
    benchmark = Benchmark.model_validate(content)
    labels = [row.label for row in benchmark.rows()]
    assert labels == [
        "constant", "shared-bottom, bottom_layers [8]", "single-task, tower_layers [4]",
        "single-task, tower_layers [4], tuned",
    ]  # fmt: skip
    assert [row.label for row in benchmark.rows(models=["constant"])] == ["constant"]
    with pytest.raises(MTBenchError, match=r"--model constnt: benchmark 'planted-v1' has no such model .*'constant'"):
        benchmark.rows(models=["constnt"])
    with pytest.raises(MTBenchError, match="--dataset other"):
        benchmark.rows(["other"])


def test_an_entry_is_of_the_datasets_it_can_do_with(content):
    content["datasets"].append(content["datasets"][0] | {"dataset": "census-income"})
    content["entries"][1]["datasets"] = ["planted"]
    cells = Benchmark.model_validate(content).rows()
    assert [row.frozen.dataset.name for row in cells if row.entry.model.name == "shared-bottom"] == ["planted"]
    assert len(cells) == 7


def test_settings_of_the_dataset_are_for_models_that_have_them_and_not_for_searches(content):
    registry = Registry.load()
    content["entries"].append({"model": {"name": "mmoe", "dropout": 0.3}, "same_inputs": True})
    benchmark = Benchmark.model_validate(content)
    experiments = {row.label: benchmark.experiment(row, registry) for row in benchmark.rows()}
    models = {label: experiment.models[0].settings for label, experiment in experiments.items()}
    assert models["constant"] == {}
    assert models["shared-bottom, bottom_layers [8]"] == {"dropout": 0.1, "bottom_layers": [8]}
    assert models["single-task, tower_layers [4], tuned"] == {"tower_layers": [4]}
    assert models["mmoe, dropout 0.3, same inputs"] == {"dropout": 0.3}
    assert [one.name for one in experiments["mmoe, dropout 0.3, same inputs"].inputs.give] == ["recent"]
    assert experiments["constant"].inputs.give == ()


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("datasets", 0, "version"), 2, "dataset.version: the benchmark has 2, the record 1"),
        (("datasets", 0, "files"), {"a.csv": "ab"}, "dataset.files.a.csv: the benchmark has 'ab', the record nothing"),
        (("datasets", 0, "dataset", "rows"), 4000, "dataset.settings.rows: the benchmark has 4000, the record 3000"),
        (("datasets", 0, "split", "valid"), 0.2, "split.settings.valid: the benchmark has 0.2, the record 0.1"),
        (("datasets", 0, "fingerprints", "test"), "ab", "split.fingerprints.test: the benchmark has 'ab'"),
        (("datasets", 0, "training", "max_epochs"), 3, "training.max_epochs: the benchmark has 3, the record 2"),
        (("datasets", 0, "tasks", "click"), "gauc", "tasks.click: the benchmark has 'gauc', the record 'auc'"),
        (("datasets", 0, "metrics", "auc"), 2, "metrics.auc: the benchmark has 2, the record 1"),
        (("datasets", 0, "warmup"), 0.5, "inputs.warmup: the benchmark has 0.5, the record 0.0"),
        (("seeds",), 3, "seeds: the benchmark has [0, 1, 2], the record [0, 1, 2, 3, 4]"),
    ],
)
def test_a_record_made_under_other_conditions_is_told_where(content, planted_board, path, value, reason):
    records = [record for record, _ in read_all(planted_board / "records")[0]]
    own = Benchmark.model_validate(content)
    assert [own.list_violations(record.recipe) for record in records] == [[], []]
    other = Benchmark.model_validate(changed(content, path, value))
    network = next(record for record in records if record.recipe.balancer)
    found = other.list_violations(network.recipe)
    assert any(line.startswith("benchmark: ") for line in found)  # the hash
    assert any(line.startswith(reason) for line in found), found


def test_a_tuned_record_needs_the_budget_and_may_have_searched_training_settings(content, planted_board):
    benchmark = Benchmark.model_validate(content)
    record = next(record for record, _ in read_all(planted_board / "records")[0] if record.recipe.balancer)
    budget = {"kind": "tuned", "trials": 2, "sampler": "tpe", "pruner": "halving", "seed": 1000}
    recipe = record.recipe.model_dump()
    recipe["training"]["learning_rate"] = 0.02
    space = {"training.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
    tuned = type(record.recipe).model_validate(recipe | {"budget": budget | {"space": space}})
    assert benchmark.list_violations(tuned) == []
    unsearched = type(record.recipe).model_validate(recipe | {"budget": budget})
    assert benchmark.list_violations(unsearched) == ["training.learning_rate: the benchmark has 0.001, the record 0.02"]
    recipe["training"]["batch_size"] = 1024  # which the benchmark gives
    wider = space | {"training.batch_size": {"low": 256, "high": 8192, "log": True}}
    larger = type(record.recipe).model_validate(recipe | {"budget": budget | {"space": wider}})
    assert benchmark.list_violations(larger) == ["training.batch_size: the benchmark has 512, the record 1024"]
    recipe["training"]["batch_size"] = 512
    richer = type(record.recipe).model_validate(recipe | {"budget": budget | {"space": space, "trials": 50}})
    assert benchmark.list_violations(richer) == ["budget.trials: the benchmark has 2, the record 50"]


def test_a_benchmark_is_found_by_name_or_file_and_mistakes_name_the_place(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MTBenchError, match=r"planted-v1.yaml: cannot be read.*\(none\)"):
        benchmarks.load("planted-v1")
    folder = tmp_path / "configs" / "benchmarks"
    folder.mkdir(parents=True)
    (folder / "planted-v1.yaml").write_text(yaml.safe_dump(content))
    assert benchmarks.load("planted-v1") == benchmarks.load(str(folder / "planted-v1.yaml"))
    with pytest.raises(MTBenchError, match=r"\(planted-v1\)"):
        benchmarks.load("planted")
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(content | {"seeeds": 3}))
    with pytest.raises(MTBenchError, match=r"b.yaml: unknown key 'seeeds' \(did you mean 'seeds'\?\)"):
        benchmarks.load("b.yaml")
