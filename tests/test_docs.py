"""The pages under docs/ agree with the code."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

import mtbench
from mtbench import hookspecs
from mtbench.benchmark import Benchmark, BenchmarkEntry, Frozen
from mtbench.cli.show import setting
from mtbench.data import gates
from mtbench.evaluation import predictions
from mtbench.experiment import Experiment, Inputs, Sweep, Training, load_experiment
from mtbench.plan import make_plan
from mtbench.provenance import Provenance
from mtbench.record import form
from mtbench.registry import Registry
from mtbench.schema import Card, Feature, ModelCard, Split, Task
from mtbench.testing.references import ReferenceSuite

ROOT = Path(__file__).parents[1]
MAKE = runpy.run_path(str(ROOT / "docs" / "make.py"))
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
HOOKS = {name: function for name, function in vars(hookspecs).items() if name.startswith("mtbench_")}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


TABLES = {
    "experiments.md": (Experiment, Training, Inputs, Split),
    "sweeps.md": (Sweep,),
    "leaderboard.md": (Benchmark, Frozen, BenchmarkEntry),
    "data.md": (Registry.load().resolve("dataset", "table").Config, Task, Feature),
}


@pytest.mark.parametrize(("page", "cls"), [(page, cls) for page, classes in TABLES.items() for cls in classes])
def test_a_page_lists_every_key_with_its_default_and_meaning(page, cls):
    table = MAKE["settings_table"]([setting(name, info) for name, info in cls.model_fields.items()])
    assert table in DOCS[page], f"docs/{page} must contain this table:\n\n{table}\n"


def test_the_page_of_the_models_is_what_the_code_says():
    made = MAKE["models_page"]()
    assert made == DOCS["models.md"], "docs/models.md is out of date; run: python docs/make.py"


def test_the_page_of_performance_is_what_the_scripts_wrote():
    made = MAKE["performance_page"]()
    assert made == DOCS["performance.md"], "docs/performance.md is out of date; run: python docs/make.py"
    results = {path.stem for path in (ROOT / "performance" / "results").glob("*.md")}
    assert results <= {*MAKE["TITLES"], "rank_calibration"}, "give each script a title in docs/make.py"


def test_the_page_of_statistics_has_the_calibration_that_was_measured():
    _, table = (ROOT / "performance" / "results" / "rank_calibration.md").read_text().split("\n\n", 1)
    assert table in DOCS["statistics.md"], f"docs/statistics.md must contain this table:\n\n{table}"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_explained_with_its_arguments(hook):
    signature = f"{hook}({', '.join(inspect.signature(HOOKS[hook]).parameters)})"
    assert f"`{signature}`" in DOCS["plugins.md"]


@pytest.mark.parametrize(
    "part",
    [
        form.Record, form.Recipe, form.DatasetPart, form.SplitPart, form.MetricPart, form.PluginPart,
        form.Budget, form.BenchmarkPart, form.Tuning, form.MetricValues, form.Measured, form.SeedRun,
        form.Predictions, Provenance,
    ],
)  # fmt: skip
def test_every_field_of_a_record_is_explained(part):
    listed = set(re.findall(r"^\| `(\w+)` \|", DOCS["records.md"], re.MULTILINE))
    assert part.model_fields.keys() <= listed


def test_every_balancer_is_listed_with_its_settings():
    registry = Registry.load()
    rows = re.findall(r"^\| `([\w-]+)` \| [^|]+\| ([^|]*)\|$", DOCS["experiments.md"], re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+)`", settings)) for name, settings in rows}
    refused = DOCS["experiments.md"].partition("With `training.devices` above 1, only")[2].partition("the others")[0]
    for name in registry.names("balancer"):
        cls = registry.resolve("balancer", name)
        assert listed[name] == cls.Config.model_fields.keys()
        assert (f"`{name}`" in refused) == cls.distributed


def test_every_column_of_the_predictions_is_explained():
    for field in predictions.SCHEMA:
        assert f"| `{field.name}` | " in DOCS["records.md"]


def test_every_leak_gate_and_field_of_a_card_is_explained():
    names = set(re.findall(r'"(?:stop|warn)",\s*"([a-z]+(?:-[a-z]+)+)"', inspect.getsource(gates)))
    assert {"label-copy", "time-order", "equal-rows"} <= names
    for name in names:
        assert f"| `{name}` | " in DOCS["data.md"]
    for name in (*Card.model_fields, *ModelCard.model_fields):
        assert f"`{name}`" in DOCS["plugins.md"]


def test_every_experiment_on_the_pages_is_one():
    registry = Registry.load()
    found = [text for page in DOCS.values() for text in blocks(page, "yaml")]
    assert found
    for text in found:
        content = yaml.safe_load(text)
        experiment = {"dataset": "planted", "models": ["mmoe"]} | content
        make_plan(load_experiment(experiment), registry)


def test_the_package_on_the_page_has_an_entry_point_for_its_module(tmp_path, monkeypatch):
    page = DOCS["plugins.md"]
    (project,) = (tomllib.loads(text) for text in blocks(page, "toml"))
    ((_, module),) = project["project"]["entry-points"]["mtbench"].items()
    assert project["build-system"]["build-backend"] == "hatchling.build"
    assert f"{module}/__init__.py" in page
    assert project["project"]["name"].replace("-", "_") == module
    sources = {text.splitlines()[0].removeprefix("# "): text for text in blocks(page, "python")}
    for name in (f"{module}/__init__.py", f"{module}/net.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(sources[name])
    monkeypatch.syspath_prepend(tmp_path)
    registered = {}
    importlib.import_module(module).mtbench_models(registered.__setitem__)
    for target in registered.values():
        home, _, name = target.partition(":")
        assert issubclass(getattr(importlib.import_module(home), name), mtbench.MultiTaskModel)
    suite = {}
    exec(sources["tests/test_net.py"], suite)  # noqa: S102 - our own page
    suite["TestNet"]().test_learns()


TINY = {
    "dataset": {"name": "planted", "rows": 4000, "users": 200, "items": 50},
    "models": [{"name": "shared-bottom", "bottom_layers": [8]}],
    "seeds": 2,
    "training": {"max_epochs": 1, "batch_size": 512, "accelerator": "cpu"},
    "metrics": ["auc", "logloss"],
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_the_file_of_many_plugins_on_the_page_works(tmp_path, monkeypatch, capsys, cache):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    (source,) = (text for text in blocks(DOCS["plugins.md"], "python") if text.startswith("# extras.py"))
    (tmp_path / "extras.py").write_text(source)
    experiment = TINY | {
        "dataset": {"name": "coins", "rows": 3000},
        "metrics": ["hits@3", "brier"],
        "balancer": "hardest",
    }
    (written,) = mtbench.run(experiment, plugins=["extras.py"])
    scores = written.record.results["heads"]
    assert all(0 < value < 0.3 for value in scores["brier"].test)
    assert set(scores) == {"auc", "brier", "hits@3"}
    assert written.record.recipe.dataset.provenance.distribution == "extras.py"
    out, err = capsys.readouterr()
    assert f"wrote {written.path}" in err
    assert "epoch 0 is over" in out


def test_the_reading_of_a_record_on_the_page_works(tmp_path, monkeypatch, capsys, cache):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    (written,) = mtbench.run(TINY)
    source = "\n".join(blocks(DOCS["records.md"], "python"))
    assert '"records/KEY-CONTENT.json"' in source
    exec(source.replace("records/KEY-CONTENT.json", str(written.path)), {})  # noqa: S102 - our own page
    auc, brier, ndcg = capsys.readouterr().out.splitlines()
    assert float(auc) == pytest.approx(written.record.mean("click", "auc"))
    assert 0 < float(brier) < 0.5
    assert len(json.loads(ndcg)) == 2


def test_links_lead_to_files_and_headings():
    pages = DOCS | {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")}
    for name, page in pages.items():
        folder = ROOT / "docs" if name in DOCS else ROOT
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page):
            path, _, heading = target.partition("#")
            found = (folder / path if path else folder / name).resolve()
            assert found.exists(), f"{name}: {target}"
            if heading:
                headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
                assert heading in {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}, target


def test_every_variable_is_explained():
    sources = "".join(path.read_text() for path in (ROOT / "mtbench").rglob("*.py"))
    variables = set(re.findall(r'"(MTBENCH_[A-Z_]+)"', sources))
    assert len(variables) >= 4
    for variable in variables:
        assert any(f"`{variable}`" in page for page in DOCS.values()), variable


def test_the_reference_on_the_page_works(tmp_path, monkeypatch, cache):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    (source,) = (text for text in blocks(DOCS["plugins.md"], "python") if text.startswith("# own_mean.py"))
    (tmp_path / "own_mean.py").write_text(source)
    experiment = TINY | {
        "dataset": TINY["dataset"] | {"ids": True},
        "models": ["own-mean", {"name": "means", "of": "item", "shrinkage": 1}],
    }
    own, means = (written.record for written in mtbench.run(experiment, plugins=["own_mean.py"]))
    for task, metrics in own.results.items():
        assert metrics["auc"].test == pytest.approx(means.results[task]["auc"].test, abs=1e-6)

    class TestOwnMean(ReferenceSuite):
        model = Registry.load([Path("own_mean.py")]).resolve("model", "own-mean")
        share = 1.02

    TestOwnMean().test_fits_alike_each_time()
    TestOwnMean().test_learns()
