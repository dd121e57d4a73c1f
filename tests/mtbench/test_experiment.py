# ruff: noqa: E501 - a mistake and its message stand on one line
from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mtbench.errors import MTBenchError
from mtbench.experiment import Experiment, load_experiment
from mtbench.plan import make_plan
from mtbench.registry import Registry
from mtbench.schema import Component, Split
from mtbench.validation import parse_yaml, show_value

TINY = "dataset: planted\nmodels: [mmoe]\n"
TABLE = "models: [mmoe]\ndataset: {name: table, path: a.csv, tasks: [liked], %s}\n"


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


@pytest.fixture
def planned(tmp_path, registry):
    """Return a function that loads and plans the text of an experiment file."""

    def plan(text, *overrides):
        path = tmp_path / "e.yaml"
        path.write_text(text)
        return make_plan(load_experiment(path, overrides), registry, "e.yaml")

    return plan


def problem_of(planned, tmp_path, text, *overrides):
    with pytest.raises(MTBenchError) as error:
        planned(text, *overrides)
    return str(error.value).replace(str(tmp_path / "e.yaml"), "e.yaml")


def test_the_shortest_experiment_has_the_documented_defaults(planned):
    plan = planned(TINY)
    assert plan.experiment == Experiment(
        dataset=Component(name="planted"), models=(Component(name="mmoe"),), seeds=(0, 1, 2)
    )
    assert plan.split == Split(by="time", valid=0.1, test=0.1)
    assert [model.name for model in plan.models] == ["mmoe"]
    assert plan.models[0].config.experts == 8


def test_settings_reach_the_plugins(planned):
    plan = planned(
        "dataset: {name: planted, rows: 500}\nmodels: [{name: mmoe, experts: 3}]\nsplit: {by: random, test: 0.3}\n"
        "balancer: {name: weighted, weights: {click: 3}}\nmetrics: ['ndcg@7']\n"
    )
    assert plan.dataset.config.rows == 500
    assert plan.models[0].config.experts == 3
    assert (plan.split.by, plan.split.test) == ("random", 0.3)
    assert plan.balancer.balancer.config.weights == {"click": 3.0}
    assert plan.metrics["ndcg@7"].k == 7


def test_primary_metrics_are_computed_though_nobody_asked(planned):
    text = TABLE % "features: [age]" + "metrics: [logloss]\n"
    plan = planned(text.replace("[liked]", "[liked, {name: stars, kind: regression}, {name: kept, metric: pr_auc}]"))
    assert list(plan.metrics) == ["logloss", "auc", "rmse", "pr_auc"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # names
        ("dataset: plantd\nmodels: [mmoe]", "e.yaml: dataset: there is no dataset 'plantd' (did you mean 'planted'?)"),
        ("dataset: planted\nmodels: [ple, MMoE]", "e.yaml: models.1: there is no model 'MMoE' (did you mean 'mmoe'?)"),
        (TINY + "metrics: [auc, acu]", "e.yaml: metrics.1: there is no metric 'acu' (did you mean 'auc'?)"),
        (TINY + "metrics: ['ndcg@0']", "e.yaml: metrics.0: metric 'ndcg@0': the cutoff must be a positive integer"),
        (TINY + "metrics: ['ndcg@x']", "e.yaml: metrics.0: metric 'ndcg@x': the cutoff must be a positive integer"),
        (TINY + "metrics: ['ndcg@k']", "e.yaml: metrics.0: metric 'ndcg@k': 'k' stands for the cutoff; write a number"),
        (TINY + f"metrics: ['ndcg@{'9' * 5000}']", "the cutoff must be a positive integer"),
        (TINY + "balancer: equl", "e.yaml: balancer: there is no balancer 'equl' (did you mean 'equal'?)"),
        (TINY + "inputs: {warmpu: 0.2}", "e.yaml: inputs: unknown key 'warmpu' (did you mean 'warmup'?)"),
        # keys, at every depth
        ("dataset: planted\nmodel: [mmoe]", "e.yaml: unknown key 'model' (did you mean 'models'?)"),
        (TINY + "training: {epochs: 3}", "e.yaml: training: unknown key 'epochs' (did you mean 'max_epochs'?)"),
        (TINY + "training: {lr: 1}", "e.yaml: training: unknown key 'lr' (known: accelerator, batch_size, devices, embeddings, learn"),
        (TINY + "split: {by: time, vaild: 0.1}", "e.yaml: split: unknown key 'vaild' (did you mean 'valid'?)"),
        ("dataset: {name: planted, rwos: 3}\nmodels: [mmoe]", "e.yaml: dataset: unknown key 'rwos' (did you mean 'rows'?)"),
        ("dataset: planted\nmodels: [ple, {name: mmoe, expert: 3}]", "e.yaml: models.1: unknown key 'expert' (did you me"),
        (TABLE.replace("[liked]", "[{nmae: liked}]") % "ids: true", "e.yaml: dataset.tasks.0: unknown key 'nmae' (did you"),
        (TABLE % "features: [a, {name: b, knd: multi}]", "e.yaml: dataset.features.1: unknown key 'knd' (did you mean 'kind'?)"),
        (TINY + "balancer: {name: weighted, weigths: {}}", "e.yaml: balancer: unknown key 'weigths' (did you mean 'weights'?)"),
        (TINY + "inputs: {wramup: 1}", "e.yaml: inputs: unknown key 'wramup' (did you mean 'warmup'?)"),
        # values
        ("models: [mmoe]", "e.yaml: dataset: is missing; found only 'models'"),
        ("dataset: planted\nmodels: mmoe", "e.yaml: models: should be a list, found 'mmoe'; put it in brackets"),
        ("dataset: planted\nmodels: []", "e.yaml: models: needs at least 1 item(s), found 0"),
        ("dataset: planted\nmodels: [mmoe: {experts: 4}]", "e.yaml: models.0.name: is missing; found only 'mmoe'"),
        ("dataset: planted\nmodels: [3]", "e.yaml: models.0: should be a name, or a mapping with 'name' and settings, found 3"),
        ("dataset: [planted]\nmodels: [mmoe]", "e.yaml: dataset: should be a name, or a mapping with 'name' and settings, fo"),
        ("dataset: {name: true}\nmodels: [mmoe]", "e.yaml: dataset.name: should be text, found true"),
        ("dataset: ''\nmodels: [mmoe]", "e.yaml: dataset.name: should not be empty, found ''"),
        ("dataset: planted\nmodels: [{name: mmoe, experts: few}]", "e.yaml: models.0.experts: should be a whole number, found 'few'"),
        ("dataset: planted\nmodels: [{name: mmoe, experts: 0}]", "e.yaml: models.0.experts: should be greater than 0, found 0"),
        ("dataset: {name: table, tasks: [a]}\nmodels: [mmoe]", "e.yaml: dataset.path: is missing; found only 'tasks'"),
        (TABLE % "separator: ;;", "e.yaml: dataset.separator: should have at most 1 character, found ';;'"),
        (TINY + "training:", "e.yaml: training: is empty; give it a value, or remove the key"),
        (TINY + "training: {learning_rate: .nan}", "e.yaml: training.learning_rate: should be a finite number, found nan"),
        (TINY + "training: {max_epochs: 0x" + "F" * 5000 + "}", "found a number of more than 40 digits"),
        (TINY + "training: {accelerator: tpu}", "training.accelerator: should be 'auto', 'cpu', 'gpu', 'cuda' or 'mps', found 'tpu'"),
        (TINY + "inputs: {give: [recent, text]}", "e.yaml: inputs.give.1.column: is missing"),
        (TINY + "inputs: {give: [{name: recent, length: 5}, {name: recent, length: 9}]}", "e.yaml: inputs.give.1: 'recent' is listed twice, and inputs are told apart by name; keep one"),
        (TINY + "seeds: 0", "e.yaml: seeds: 0 seeds; give a number from 1 to 1000, or a list of seeds"),
        (TINY + "seeds: 1001", "e.yaml: seeds: 1001 seeds; give a number from 1 to 1000, or a list of seeds"),
        (TINY + "seeds: true", "e.yaml: seeds: should be a list, found true"),
        (TINY + "seeds: []", "e.yaml: seeds: needs at least 1 item(s), found 0"),
        (TINY + "seeds: [-1]", "e.yaml: seeds.0: should be greater than or equal to 0, found -1"),
        (TINY + "seeds: [2147483648]", "e.yaml: seeds.0: should be less than 2147483648, found 2147483648"),
        (TINY + "seeds: [1, 2, 1]", "e.yaml: seeds: 1 is listed twice; remove one"),
        (TINY + "metrics: [auc, mae, auc]", "e.yaml: metrics: 'auc' is listed twice; remove one"),
        # what does not fit together
        ("dataset: planted\nmodels: [mmoe, ple, {name: mmoe, experts: 8}]", "e.yaml: models.2: is models.0 again: 'mmoe' with the same"),
        (TINY + "split: {by: time, valid: 0.5, test: 0.5}", "e.yaml: split: valid 0.5 and test 0.5 leave no training rows"),
        (TINY + "split: {by: official}", "e.yaml: split.by: is 'official', but dataset 'planted' brings no split of its own; use 'time'"),
        (TABLE % "user: a" + "split: {by: time}", "e.yaml: split.by: is 'time', but dataset 'table' has no time; use 'random'"),
        (TABLE.replace("[liked]", "[{name: a, given: aa}]") % "user: a", "task 'a' is given 'aa', which is no task (did you mean 'a'?)"),
        (TABLE.replace("[liked]", "[{name: a, given: a}]") % "user: a", "e.yaml: dataset: task 'a' is given 'a', which is not another"),
        (TABLE.replace("[liked]", "[a, a]") % "user: a", "e.yaml: dataset: two tasks are named 'a'; rename one of them"),
        (TABLE.replace("[liked]", "[{name: a, metric: rmse}]") % "user: a", "metric of task 'a': 'rmse' is for regression tasks"),
        (TABLE.replace("[liked]", "[{name: a, kind: regression, metric: auc}]") % "user: a", "set the task's 'metric' to rmse or mae"),
        (TABLE.replace("[liked]", "[{name: a, metric: acu}]") % "user: a", "metric of task 'a': there is no metric 'acu' (did you mean"),
        (TINY + "balancer: {name: weighted, weights: {clik: 2}}", "weight for 'clik', which is no task (did you mean 'click'?)"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_its_remedy(planned, tmp_path, text, message):
    problem = problem_of(planned, tmp_path, text)
    assert problem.startswith("e.yaml: ")
    assert message in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "e.yaml: an experiment is a mapping with the keys 'dataset' and 'models', not nothing"),
        ("- mmoe", "e.yaml: an experiment is a mapping with the keys 'dataset' and 'models', not ['mmoe']"),
        (TINY + "seeds: 3\nseeds: 4", "e.yaml, line 4: not valid YAML: key 'seeds' stands twice"),
        ("dataset: {name: planted, rows: 1, rows: 2}\nmodels: [mmoe]", "e.yaml, line 1: not valid YAML: key 'rows' stands"),
        ("dataset: planted\n  models: [mmoe]", "e.yaml, line 2: not valid YAML: mapping values are not allowed here; check ind"),
        ("dataset: planted\nmodels: [mmoe\nseeds: 3", "line 3: not valid YAML: while parsing a flow sequence, expected ',' or ']'"),
        (TINY + "training:\n\tmax_epochs: 3", "e.yaml, line 4: not valid YAML: while scanning for the next token, found character '"),
        (TINY + "---\n" + TINY, "expected a single document in the stream, but found another document"),
        (TINY + "x: !!python/object/apply:os.system [ls]", "line 3: not valid YAML: could not determine a constructor for the tag"),
        (TINY + "x: &a [*a]", "e.yaml, line 3: not valid YAML: found unconstructable recursive node"),
        (TINY + "x: *a", "e.yaml, line 3: not valid YAML: found undefined alias 'a'"),
        (TINY + 'x: "\\ud800"', r"e.yaml, line 3: not valid YAML: '\ud800' is half of a character"),
        ("[" * 5000, "e.yaml: nested too deeply to be an experiment"),
        ("a: !!int ''", "e.yaml: a value cannot be read: string index out of range"),
        ("models: !!set {mmoe}", "could not determine a constructor for the tag 'tag:yaml.org,2002:set'"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_named_with_its_line(planned, tmp_path, text, message):
    assert message in problem_of(planned, tmp_path, text)


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"dataset: caf\xe9\n")
    for name, message in (
        ("none.yaml", "cannot be read: No such file"),
        (".", "Is a directory"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(MTBenchError, match=message):
            load_experiment(tmp_path / name)
    with pytest.raises(MTBenchError, match=r"latin\.yaml: not a text file in UTF-8: .* at byte 12"):
        load_experiment(tmp_path / "latin.yaml")


def test_every_problem_is_listed_up_to_a_limit(planned, tmp_path):
    text = TINY + "training: {max_epochs: 2.5, batch_size: big, patience: 0}\nseeds: [a]"
    places = [line.split(": ")[1] for line in problem_of(planned, tmp_path, text).splitlines()]
    assert places == ["seeds.0", "training.max_epochs", "training.patience", "training.batch_size"]
    lines = problem_of(planned, tmp_path, f"dataset: planted\nmodels: {[*range(500)]}").splitlines()
    assert len(lines) == 11
    assert lines[-1] == "e.yaml: and 490 more problems"


def test_a_bomb_of_aliases_is_refused_briefly(planned, tmp_path):
    levels = [f"- &l{i} [{', '.join([f'*l{i - 1}'] * 10 if i else ['x'] * 10)}]" for i in range(9)]
    assert len(problem_of(planned, tmp_path, "dataset: planted\nmodels:\n" + "\n".join(levels))) < 5000


def test_yaml_says_what_a_newcomer_expects():
    text = "base: &b {x: 1, y: 2}\nmerged: {<<: *b, y: 3}\nday: 2020-01-31\nrate: 1e-3\n'<<': 1\n"
    assert parse_yaml(text, "text") == {
        "base": {"x": 1, "y": 2}, "merged": {"x": 1, "y": 3}, "day": "2020-01-31", "rate": "1e-3", "<<": 1,
    }  # fmt: skip


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner, max_size=9),
    max_leaves=30,
)


@given(json_values)
def test_a_value_is_shown_briefly(value):
    assert 0 < len(show_value(value)) < 3000


@given(st.dictionaries(st.text("abc<=", min_size=1), json_values))
def test_yaml_is_read_as_its_own_library_reads_it(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    assert parse_yaml(text, "text") == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("training.max_epochs=2", "training.max_epochs", 2),
        ("training.learning_rate=1e-2", "training.learning_rate", 0.01),
        ("training={max_epochs: 7}", "training.max_epochs", 7),
        ("dataset=table", "dataset.name", "table"),
        ("dataset.rows=1000", "dataset.settings", {"rows": 1000}),  # on a bare name
        ("models.0.experts=4", "models.0.settings", {"experts": 4}),
        ("models.1.experts=4", "models.1.settings", {"levels": 2, "experts": 4}),
        ("models.1=mmoe", "models.1.name", "mmoe"),
        ("models=[ple]", "models.0.name", "ple"),
        ("models.0.expert_layers=[8, 4]", "models.0.settings", {"expert_layers": [8, 4]}),
        ("seeds=2", "seeds", (0, 1)),
        ("seeds=[1,2]", "seeds", (1, 2)),
        ("split.by=random", "split.by", "random"),  # a key that was not there
        ("balancer.weights.click=2", "balancer.settings", {"weights": {"click": 2}}),
        ("balancer.note=a=b", "balancer.settings", {"note": "a=b"}),
        ("split=", "split", None),
        ("metrics.0=auc", "metrics", ("auc", "mae")),
    ],
)
def test_an_override_changes_one_place(override, path, value):
    source = {
        "dataset": "planted", "models": ["mmoe", {"name": "ple", "levels": 2}], "balancer": {"name": "weighted"},
        "metrics": ["rmse", "mae"],
    }  # fmt: skip
    before = repr(source)
    experiment = load_experiment(source, [override])
    assert repr(source) == before
    found = experiment
    for key in path.split("."):
        found = found[int(key)] if key.isdecimal() else getattr(found, key)
    assert found == value
    untouched = [name for name in Experiment.model_fields if name != path.split(".")[0]]
    expected = load_experiment(source)
    assert all(getattr(experiment, name) == getattr(expected, name) for name in untouched)


def test_overrides_apply_in_order_and_to_one_of_two_aliases(planned):
    text = "dataset: planted\nmodels: [&m {name: mmoe, experts: 2}, *m]\n"
    plan = planned(text, "models.0.experts=3", "models.0.experts=4")
    assert [model.config.experts for model in plan.models] == [4, 2]


def test_an_override_reaches_lists_within_settings(planned):
    text = TABLE % "features: [age, {name: tags, kind: multi}]"
    plan = planned(text, "dataset.tasks.0.kind=regression", "dataset.features.1.of=item", "dataset.time=posted_at")
    assert plan.schema.tasks[0].kind == "regression"
    assert [feature.of for feature in plan.schema.features] == ["context", "item"]
    assert plan.split.by == "time"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.max_epochs", "--set training.max_epochs: write it as key=value"),
        ("=3", "--set =3: write it as key=value"),
        ("a..b=3", "--set a..b=3: write it as key=value"),
        ("models.1.experts=3", "--set models.1.experts=3: 'models.1': the list has no item 1, only 0 to 0"),
        ("models.-1=ple", "--set models.-1=ple: 'models.-1': the list has no item -1"),
        ("models.first=ple", "the list has no item first"),
        ("models." + "9" * 5000 + "=ple", "the list has no item 999"),
        ("seeds.0=3", "--set seeds.0=3: 'seeds' is 3, which has no keys of its own"),
        ("training.max_epochs.x=3", "'training.max_epochs' is 5, which has no keys of its own"),
        ("models={a: b", "--set models={a: b, line 1: not valid YAML"),
        ("models=", "e.yaml: models: is empty; give it a value, or remove the key"),
        ("trainig.max_epochs=3", "e.yaml: unknown key 'trainig' (did you mean 'training'?)"),
        ("training.epochs=3", "e.yaml: training: unknown key 'epochs' (did you mean 'max_epochs'?)"),
        (".".join("a" * 5000) + "=1", "e.yaml: unknown key 'a'"),
        ("models.0.experts=x", "e.yaml: models.0.experts: should be a whole number, found 'x'"),
    ],
)
def test_a_wrong_override_is_named(planned, tmp_path, override, message):
    text = TINY + "seeds: 3\ntraining: {max_epochs: 5}\n"
    assert message in problem_of(planned, tmp_path, text, override)


def test_an_override_of_an_empty_list_is_named():
    with pytest.raises(MTBenchError, match=r"--set models\.0=ple: 'models\.0': the list is empty"):
        load_experiment({"dataset": "planted", "models": []}, ["models.0=ple"])


def test_an_experiment_survives_the_round_trip(planned, tmp_path):
    experiment = planned(
        "dataset: {name: planted, rows: 500}\nmodels: [ple, {name: mmoe, expert_layers: [8, 4]}]\nseeds: [5, 3]\n"
        "split: {by: random, valid: 0.2}\ntraining: {learning_rate: 1e-4}\nbalancer: {name: weighted, weights: {like: 2}}\n"
        "metrics: [auc]\ninputs: {warmup: 0.25}\n"
    ).experiment
    dumped = experiment.model_dump(mode="json")
    assert load_experiment(dumped) == load_experiment(experiment) == experiment
    assert load_experiment(experiment, ["seeds=1"]).seeds == (0,)
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(dumped))
    assert load_experiment(path) == experiment


def test_an_experiment_cannot_be_changed(planned):
    experiment = planned(TINY).experiment
    with pytest.raises(ValueError, match="frozen"):
        experiment.seeds = (1,)
    experiment.models[0].settings["experts"] = 3
    assert experiment.models[0].settings == {}
