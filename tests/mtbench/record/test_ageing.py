"""Records outlive the code that wrote them: what a later version adds refuses none, and old ones are read for ever."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mtbench.benchmark import Benchmark, Frozen
from mtbench.board.admission import check_all
from mtbench.board.page import build
from mtbench.experiment import Experiment, Training
from mtbench.record import store
from mtbench.record.form import Part
from mtbench.registry import Registry

ROOT = Path(__file__).parents[3]
BOARD = ROOT / "leaderboard" / "records"
BENCHMARKS = ROOT / "configs" / "benchmarks"
GOLDEN = Path(__file__).parent / "golden"


def list_parts(cls=Part):
    """Return the subclasses of a class, and theirs, those that others contain before them."""
    below = [part for one in cls.__subclasses__() for part in (one, *list_parts(one))]
    return list(dict.fromkeys(below))


@pytest.fixture
def add_field():
    """Return a function that adds the optional field ``later`` to models, with all that contain them rebuilt."""
    changed, built = [], []

    def rebuild():
        for model in itertools.chain(built, built):  # a model contains those that are rebuilt after it
            model.model_rebuild(force=True)

    def add(models, containing):
        for model in models:
            model.__pydantic_fields__["later"] = FieldInfo(annotation=int | None, default=None)
        changed.extend(models)
        built.extend(dict.fromkeys([*models, *containing]))
        rebuild()

    yield add
    for model in changed:
        model.__pydantic_fields__.pop("later", None)
    rebuild()


def read_all(folder=BOARD):
    written, problems = store.read_all(folder)
    assert problems == []
    return written


def find_parts(model, part):
    """Return every instance of a part within a model."""
    if isinstance(model, BaseModel):
        inside = [value for _, value in model]
        return [model] * (type(model) is part) + [one for value in inside for one in find_parts(value, part)]
    if isinstance(model, dict | list):
        values = model.values() if isinstance(model, dict) else model
        return [one for value in values for one in find_parts(value, part)]
    return []


@pytest.mark.parametrize("part", list_parts(), ids=lambda part: part.__name__)
def test_a_field_that_is_added_to_a_part_refuses_no_record(part, add_field):
    before = {path.stem: record.mean(task.name, task.primary) for record, path in read_all() for task in
              record.recipe.tasks}  # fmt: skip
    has_part = any(find_parts(record, part) for record, _ in read_all())
    add_field([part], list_parts())
    written = read_all()
    assert len(written) == len(before) == 44
    assert {path.stem: record.mean(task.name, task.primary) for record, path in written for task in
            record.recipe.tasks} == before  # fmt: skip
    assert all(record.file_stem == path.stem for record, path in written)
    later = [one.later for record, _ in written for one in find_parts(record, part)]
    assert bool(later) == has_part
    assert set(later) <= {None}


def test_pages_are_built_from_records_that_know_less_than_every_part(tmp_path, add_field):
    shutil.copytree(BOARD, tmp_path / "records")
    before = read_pages(build(tmp_path / "records", tmp_path / "before"))
    add_field(list_parts(), list_parts())
    after = read_pages(build(tmp_path / "records", tmp_path / "after"))
    assert {Path(name).stem for name in after if name.startswith("records/")} == {
        path.stem for path in BOARD.glob("*.json")
    }
    assert after == before
    assert "Left out" not in after["index.html"]


def read_pages(index):
    """Return the pages of a site by name, without the digits of their comparison, which all fields are part of."""
    pages = {path.relative_to(index.parent).as_posix(): path.read_text() for path in index.parent.rglob("*.html")}
    digits = {name[-21:-5] for name in pages if name.startswith("data/")}
    return {_remove(name, digits): _remove(html, digits) for name, html in pages.items()}


def _remove(text, parts):
    for part in parts:
        text = text.replace(part, "")
    return text


def test_a_new_setting_of_the_training_and_of_every_model_refuses_none(monkeypatch, add_field):
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    registry = Registry.load()
    configs = {registry.resolve("model", name).Config for name in registry.names("model")}
    add_field([Training, *configs], [Frozen, Benchmark, Experiment])
    assert Training().later is None
    assert registry.resolve("model", "mmoe").Config().later is None
    count, problems = check_all(BOARD, registry, BENCHMARKS)
    assert (count, problems) == (44, [])


def test_records_of_version_1_are_read_as_ever():
    tuned, reference = (
        store.read(GOLDEN / "v1" / f"{stem}.json")
        for stem in ("555859a8520e28dd-57e1767b306fcc8e", "a2e9a266b2d0aa3c-b18e1a302384313d")
    )
    for record in (tuned, reference):
        content = (GOLDEN / "v1" / f"{record.file_stem}.json").read_bytes()
        assert content == (BOARD / f"{record.file_stem}.json").read_bytes()
        assert json.loads(content)["schema_version"] == 1
        assert record.schema_version == 2
        assert record.baseline == "single-task"
        assert record.recipe.engine is None
        assert record.recipe.metrics["auc"].chance == record.recipe.metrics["gauc"].chance == 0.5
        assert record.recipe.metrics["logloss"].chance is None
        assert record.measured.versions == {"mtbench": "0.1.0"}
        assert [task.primary for task in record.recipe.tasks] == ["auc", "auc", "auc"]
        assert record.recipe.benchmark.name == "mtbench-v1"
    assert (tuned.recipe.model.name, reference.recipe.model.name) == ("mmoe", "constant")
    assert reference.recipe.balancer is None
    assert reference.mean("good", "auc") == 0.5
    assert reference.recipe.training == {}
    assert reference.measured.tuning is None
    assert tuned.results["good"]["auc"].test == [
        0.7483065757400488, 0.7489066666186674, 0.7492137869504384, 0.7498839517639332, 0.7470675695729425
    ]  # fmt: skip
    assert tuned.recipe.balancer.name == "dwa"
    assert tuned.recipe.budget.space["model.experts"] == {"low": 2, "high": 16, "log": False}
    assert len(tuned.measured.tuning.trials) == tuned.recipe.budget.trials == 10
    assert (tuned.measured.tuning.best, tuned.measured.tuning.score) == (7, 0.6236866439800468)
    assert tuned.measured.parameters == 1375575


def test_records_of_version_2_are_read_as_ever():
    record = store.read(GOLDEN / "v2" / "a433ac45b97b9bd8-8e265b24f0a3fff9.json")
    assert record.baseline == "single-task"
    assert record.recipe.engine.distribution == "mtbench"
    assert record.recipe.metrics["auc"].chance == 0.5
    assert record.recipe.inputs.warmup == 0.2
    assert [one.name for one in record.recipe.inputs.pooled] == ["recent"]
    assert record.recipe.model.settings["bottom_layers"] == [8]
    assert record.results["click"]["auc"].test == [0.4368340943683409, 0.6185946220192795]
    assert record.results["conversion"]["auc"].valid == [0.5757575757575758, 0.6060606060606061]
    assert record.measured.parameters == 2974
    assert record.predictions.rows == 1814
