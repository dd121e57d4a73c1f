"""Records that are valid and yet unlike any that mtbench makes: the builder never crashes."""

from __future__ import annotations

import copy
import json
import random

import pytest
from pydantic import ValidationError

from mtbench.board.page import build
from mtbench.record import store
from mtbench.record.form import Record

STRANGE = [
    None, "", "<script>alert(1)</script>", "a" * 300, "\u202e\0\n", "nan", 0, -1, 1, 2, 1e308, -1e308, 5e-324, 10**400,
    0.5, True, [], {}, [None], [0.5, None], {"a": 1}, [[1]], {"": {"": ""}},
]  # fmt: skip
COUNT = 500
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def places(value, path=()):
    """Return the paths of everything inside a JSON value."""
    yield path
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from places(inside, (*path, key))
    if isinstance(value, list):
        for index, inside in enumerate(value):
            yield from places(inside, (*path, index))


def mutated(content, rng):
    """Return the content with one to three random changes: something strange, gone, twice, or from elsewhere in it."""
    changed = copy.deepcopy(content)
    for _ in range(rng.randint(1, 3)):
        *path, last = rng.choice([path for path in places(changed) if path])
        inside = changed
        for step in path:
            inside = inside[step]
        match rng.randrange(7):
            case 0:
                del inside[last]
            case 1 if isinstance(inside, list):
                inside.append(copy.deepcopy(inside[last]))
            case 1:
                inside[rng.choice(["", "<b>", "x/y/z", "constant", "click"])] = copy.deepcopy(inside[last])
            case 2 if isinstance(inside[last], float | int) and not isinstance(inside[last], bool):
                inside[last] = rng.choice([-inside[last], 0, 1e300 * (inside[last] or 1), inside[last] / 3, 10**400])
            case 3 | 4 | 5:
                inside[last] = copy.deepcopy(rng.choice([one for one in STRANGE if type(one) is type(inside[last])]))
            case _:
                inside[last] = copy.deepcopy(rng.choice(STRANGE))
    return changed


def signed(content):
    """Return a record of this content with the hashes that belong to it, None if it is not valid."""
    try:
        record = Record.model_validate_json(json.dumps(content))
    except ValidationError:
        return None
    return record.model_copy(update={"key": record.recipe.key})


@pytest.fixture
def rich(make_record):
    """Return the content of a record that has something of everything."""
    provenance = {"distribution": "mtbench", "sha256": "ab" * 16}
    run = {
        "chosen": {"click": 1, "rating": 2},
        "valid": {"click": [0.6, 0.7, 0.69], "rating": [1.1, 1.0, 0.9]},
        "loss": {"click": [0.5, 0.4, 0.3], "rating": [0.5, 0.4, 0.3]},
        "seconds": [1.5, 1.25, 1.25],
        "statistics": {"entropy": [0.1, 0.2, 0.3], "gate/click/0": [0.5] * 3, "gate/click/1": [0.5] * 3},
    }
    space = {"model.experts": [2, 4], "training.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
    recent = {
        "name": "recent",
        "settings": {"length": 20},
        "provenance": provenance,
        "version": 1,
        "transductive": True,
    }
    record = make_record(
        "single-task",
        {"click": {"auc": [0.7, 0.71, 0.7, 0.72, 0.73], "logloss": [0.4] * 5}, "rating": {"rmse": [1.0] * 5}},
        bounds={"constant": {"click": {"auc": 0.5}, "rating": {"rmse": 2.0}}, "optimum": {"click": {"auc": 0.9}}},
        inputs={"warmup": 0.4, "asked": [recent], "pooled": [recent]},
        budget={"kind": "tuned", "trials": 20, "sampler": "tpe", "seed": 1, "space": space},
        benchmark={"name": "mtbench-v1", "sha256": "ab" * 32},
        measured={
            "seeds": {str(seed): run for seed in range(5)},
            "tuning": {
                "trials": [
                    {"settings": {"model.experts": 2}, "ended": "finished", "score": 0.1, "epochs": 3, "seconds": 9.0},
                    {"settings": {"model.experts": 4}, "ended": "finished", "score": 0.2, "epochs": 3, "seconds": 9.0},
                    {"settings": {}, "ended": "failed", "score": None, "epochs": 0, "seconds": 0.0},
                ],
                "best": 1,
            },
            "warnings": ["feature 'x' alone has AUC 0.95"],
        },
    )  # fmt: skip
    return record.model_dump(mode="json")


def test_no_record_however_strange_stops_the_build(tmp_path, rich):
    rng = random.Random(7)  # noqa: S311 - the same records every time
    valid = 0
    records = tmp_path / "records"
    store.write(signed(rich), records)
    for number in range(COUNT):
        content = mutated(rich, rng)
        record = signed(content)
        if record is None:
            (records / f"{number}.json").write_text(json.dumps(content))
        else:
            store.write(record, records)
            valid += 1
    assert valid > COUNT / 4
    first = build(records, tmp_path / "site").read_text(encoding="utf-8")
    assert "<script>alert" not in first
    assert first.count("not a record") == COUNT - valid


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["recipe"].update(tasks=[]),
        lambda content: content["recipe"].update(seeds=[]),
        lambda content: content["recipe"].update(metrics={}),
        lambda content: content["recipe"]["tasks"].append(content["recipe"]["tasks"][0]),
        lambda content: content.update(results={}, bounds={}),
        lambda content: content["measured"].update(seeds={}),
        lambda content: [run.update(chosen={}) for run in content["measured"]["seeds"].values()],
        lambda content: content["measured"].update(parameters=10**400, peak_memory_bytes=10**400, seconds=-1.0),
        lambda content: content["recipe"]["model"].update(name="", settings={"": None}),
        lambda content: [
            cell.update(test=[1e308] * 5) for task in content["results"].values() for cell in task.values()
        ],
        lambda content: [
            cell.update(test=[], valid=[]) for task in content["results"].values() for cell in task.values()
        ],
    ],
)
def test_each_of_these_has_a_page(tmp_path, rich, change):
    whole = signed(rich)
    rich["measured"]["created"] = "2020-01-01T00:00:00+00:00"  # of equal outcomes the first has a page
    change(rich)
    record = signed(rich)
    for each in (whole, record):
        store.write(each, tmp_path / "records")
    out = build(tmp_path / "records", tmp_path / "site").parent
    assert (out / "records" / f"{record.file_stem}.html").is_file()
