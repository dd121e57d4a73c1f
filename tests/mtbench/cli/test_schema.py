from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from mtbench.cli import main
from mtbench.errors import MTBenchError
from mtbench.experiment import Experiment, load_experiment

CONFIGS = sorted(Path(__file__).parents[3].glob("configs/*.yaml"))
KINDS = {
    "object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool,
    "null": type(None),
}  # fmt: skip
NOTES = {"$defs", "title", "description", "default", "properties", "required", "additionalProperties"}


@pytest.fixture
def schema(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mtbench", "schema"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    return json.loads(capsys.readouterr().out)


def valid(value, schema, root):
    """Say whether a JSON value obeys a schema made of the keywords that ours uses."""
    checks = {
        "$ref": lambda ref: valid(value, root["$defs"][ref.removeprefix("#/$defs/")], root),
        "anyOf": lambda options: any(valid(value, option, root) for option in options),
        "type": lambda kind: isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool)),
        "enum": lambda options: value in options,
        "const": lambda wanted: value == wanted,
        "items": lambda item: not isinstance(value, list) or all(valid(each, item, root) for each in value),
        "minItems": lambda least: not isinstance(value, list) or len(value) >= least,
        "maxItems": lambda most: not isinstance(value, list) or len(value) <= most,
        "minLength": lambda least: not isinstance(value, str) or len(value) >= least,
        "minimum": lambda least: not _is_number(value) or value >= least,
        "maximum": lambda most: not _is_number(value) or value <= most,
        "exclusiveMinimum": lambda bound: not _is_number(value) or value > bound,
        "exclusiveMaximum": lambda bound: not _is_number(value) or value < bound,
    }
    assert schema.keys() <= checks.keys() | NOTES
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        if not set(schema.get("required", ())) <= value.keys():
            return False
        if not schema.get("additionalProperties", True) and value.keys() - known.keys():
            return False
        if not all(valid(each, known[key], root) for key, each in value.items() if key in known):
            return False
    return all(check(schema[keyword]) for keyword, check in checks.items() if keyword in schema)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def test_the_schema_is_that_of_the_experiment(schema):
    assert schema == Experiment.model_json_schema()
    assert schema["properties"].keys() == Experiment.model_fields.keys()
    assert all("description" in each for each in schema["properties"].values())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_experiments_that_come_along_obey_it(schema, path):
    assert valid(yaml.safe_load(path.read_text()), schema, schema)


TINY = {"dataset": "planted", "models": ["mmoe"]}


def test_it_lists_the_known_kinds_of_tasks(schema):
    table = TINY | {"dataset": {"name": "table", "tasks": [{"name": "a", "kind": "count"}]}}
    assert valid(table, schema, schema)
    table["dataset"]["tasks"][0]["kind"] = "cont"
    assert not valid(table, schema, schema)


@pytest.mark.parametrize(
    "experiment",
    [
        TINY,
        {"dataset": {"name": "planted", "rows": 3}, "models": [{"name": "mmoe", "experts": 3}, "ple"]},
        TINY | {"dataset": {"name": "table", "path": "t.csv", "tasks": ["a", {"name": "b", "kind": "ordinal"}]}},
        TINY | {"seeds": 3},
        TINY | {"seeds": [4, 5]},
        TINY | {"balancer": "equal", "split": None},
        TINY | {"balancer": {"name": "weighted", "weights": {"click": 2}}, "inputs": {"warmup": 0.2}},
        TINY | {"split": {"by": "time"}, "training": {"max_epochs": 1, "learning_rate": 1e-3}, "metrics": ["auc"]},
    ],
)
def test_what_is_an_experiment_obeys_the_schema(schema, experiment):
    load_experiment(experiment)
    assert valid(experiment, schema, schema)


@pytest.mark.parametrize(
    "experiment",
    [
        {"dataset": "planted"},
        {"dataset": "planted", "models": "mmoe"},
        {"dataset": 3, "models": ["mmoe"]},
        {"dataset": {"rows": 3}, "models": ["mmoe"]},
        {"dataset": "", "models": ["mmoe"]},
        {"dataset": "planted", "models": []},
        TINY | {"model": "mmoe"},
        TINY | {"seeds": 0},
        TINY | {"seeds": []},
        TINY | {"seeds": [-1]},
        TINY | {"seeds": "3"},
        TINY | {"training": {"epochs": 3}},
        TINY | {"training": None},
        TINY | {"split": {"valid": 0.1}},
        TINY | {"split": {"by": "date"}},
        TINY | {"metrics": "auc"},
    ],
)
def test_what_is_none_does_not(schema, experiment):
    with pytest.raises(MTBenchError):
        load_experiment(experiment)
    assert not valid(experiment, schema, schema)
