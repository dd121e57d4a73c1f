from __future__ import annotations

import copy
import shutil

import pytest
from filelock import FileLock

from mtbench.benchmark import Benchmark
from mtbench.errors import MTBenchError
from mtbench.record.store import read_all
from mtbench.registry import Registry
from mtbench.training.work import WORK
from mtbench.tuning.bench import fill, status


@pytest.fixture
def content(planted_benchmark):
    return copy.deepcopy(planted_benchmark)


def test_what_is_missing_is_made_and_nothing_twice(content, planted_board, tmp_path):
    benchmark = Benchmark.model_validate(content)
    records = tmp_path / "records"
    shutil.copytree(planted_board / "records", records)
    before = {path.name: path.stat().st_mtime_ns for path in records.glob("*.json")}
    assert [bool(place.record) for place in status(benchmark, records, Registry.load())] == [True, True, False, False]
    said = []
    made = fill(benchmark, records, sweeps=tmp_path / "sweeps", say=said.append)
    default, tuned = (record for record, _ in made)
    assert default.recipe.budget.kind == "default"
    assert default.recipe.model.settings["tower_layers"] == tuned.recipe.model.settings["tower_layers"] == [4]
    assert {"training.learning_rate", "training.weight_decay", "balancer"} < tuned.recipe.budget.space.keys()
    assert not tuned.recipe.budget.space.keys() & {"training.max_epochs", "training.batch_size", "model.tower_layers"}
    assert tuned.recipe.budget.trials == len(tuned.measured.tuning.trials) == 2
    for record in (default, tuned):
        assert record.recipe.benchmark == benchmark.part
        assert benchmark.list_violations(record.recipe) == []
    assert sum("its record is there" in line for line in said) == 2
    places = status(benchmark, records, Registry.load())
    assert [place.record.key for place in places[2:]] == [default.key, tuned.key]
    assert fill(benchmark, records, sweeps=tmp_path / "sweeps") == []
    next(records.glob(f"{tuned.key[:16]}-*.json")).unlink()
    with FileLock(records / WORK / f"{tuned.key[:16]}.lock"):
        assert fill(benchmark, records, sweeps=tmp_path / "sweeps", say=said.append) == []
    assert "is left to another process" in said[-1]
    assert len(fill(benchmark, records, sweeps=tmp_path / "sweeps")) == 1
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in records.glob("*.json")}.items()


def test_a_cell_that_fails_or_is_busy_keeps_no_other_from_its_record(content, planted_board, tmp_path):
    content["entries"] = [{"model": "no-such-model"}, *content["entries"][1::-1]]
    benchmark = Benchmark.model_validate(content)
    [shared] = [record for record, _ in read_all(planted_board / "records")[0] if record.recipe.balancer]
    records = tmp_path / "records"
    (records / WORK).mkdir(parents=True)
    said = []
    with (
        FileLock(records / WORK / f"{shared.key[:16]}.lock"),
        pytest.raises(MTBenchError, match=r"^planted: no-such-model: .*no-such-model"),
    ):
        fill(benchmark, records, say=said.append)
    assert "planted: shared-bottom, bottom_layers [8] is left to another process; the others go on" in said
    [(record, _)], _ = read_all(records)
    assert record.recipe.model.name == "constant"


def test_other_data_is_refused_before_anything_is_trained(content, tmp_path):
    content["datasets"][0]["fingerprints"]["test"] = "ab"
    benchmark = Benchmark.model_validate(content)
    with pytest.raises(MTBenchError, match=r"not what benchmark 'planted-v1' was made of:\n.*fingerprints.test"):
        fill(benchmark, tmp_path / "records", models=["constant"])
    assert not list(tmp_path.rglob("*.json"))
