from __future__ import annotations

import json
import sys

import pytest

from mtbench.cli import main

SOURCE = '''
from typing import Annotated, Literal

from pydantic import Field

from mtbench.data.dataset import Dataset, DatasetConfig
from mtbench.data.sources import Source
from mtbench.evaluation.metric import Metric
from mtbench.hookspecs import hookimpl
from mtbench.model import ModelConfig, MultiTaskModel
from mtbench.schema import Card, Choice, Component, FloatRange, IntRange, ModelCard, Schema


class Net(MultiTaskModel):
    """A net of ``experts``
    over two lines.

    More of it.
    """

    card = ModelCard(paper="Someone: Nets. 2020.", equations=("y = f(x)", "  with f"), verified=("Authors' code: f.",),
                     inferred=("Sizes.", "Start."))
    packages = ("pytest",)

    class Config(ModelConfig):
        experts: Annotated[int, IntRange(2, 16)] = Field(8, gt=0, le=64, description="How many.")
        rate: Annotated[float, FloatRange(1e-5, 0.1, log=True)] = 1e-3
        layers: Annotated[tuple[int, ...], Choice(((64,), (64, 32)))] = Field((64, 32), min_length=1)
        mode: Literal["fast", "slow"] | None = None
        path: str
        counts: list[Annotated[int, Field(gt=0)]] = Field(default_factory=lambda: [1])


class Reader(MultiTaskModel):
    """Has no card."""

    class Config(ModelConfig):
        length: int = 7

    @classmethod
    def inputs(cls, config, schema):
        text = [Component(name="text", column=schema.texts[0])] if schema.texts else []
        return [Component(name="recent", length=config.length, features=True), *text]


class Plain(MultiTaskModel):
    """Has neither card nor settings."""


class Top(Metric):
    """Share of [bold]tops[/bold]."""

    higher_is_better = False
    grouped = True

    def __init__(self, k: int) -> None:
        super().__init__()


CARD = Card(title="Clicks", licence="CC0", citation="", url="https://example.org", description="Made up.", rows=1200,
            positive_rates={"click": 0.25}, traps=("First.", "Second."), acknowledged={"age": "children"})


class Clicks(Dataset[DatasetConfig]):
    """Clicks of nobody."""

    card = CARD
    version = 3

    def sources(self):
        return (Source(name="log.csv", mirror="clicks/log.csv", sha256="ab" * 32),)

    def schema(self): return Schema(tasks=("click",), domain="shop")
    def load(self, files): raise NotImplementedError


class Own(Clicks):
    """Needs a path."""

    class Config(DatasetConfig):
        path: str


@hookimpl
def mtbench_models(register):
    register("net", Net)
    register("reader", Reader)
    register("plain", Plain)
@hookimpl
def mtbench_metrics(register): register("top@k", Top)
@hookimpl
def mtbench_datasets(register):
    register("clicks", Clicks)
    register("own", Own)
'''


@pytest.fixture
def show(site, tmp_path, monkeypatch, capsys):  # noqa: ARG001 - it restores the environment
    """Run ``mtbench show``; return exit status, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "160")
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    monkeypatch.setenv("MTBENCH_PLUGINS", str(path))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mtbench", "show", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code or 0, *capsys.readouterr())

    return run


def test_a_models_settings_as_json(show):
    status, out, err = show("model", "net", "--json")
    assert (status, err) == (0, "")
    shown = json.loads(out)
    assert (shown["kind"], shown["name"], shown["distribution"]) == ("model", "net", "mine.py")
    assert shown["description"] == "A net of ``experts``\nover two lines.\n\nMore of it."
    assert shown["card"] == {
        "paper": "Someone: Nets. 2020.",
        "equations": ["y = f(x)", "  with f"],
        "verified": ["Authors' code: f."],
        "inferred": ["Sizes.", "Start."],
        "differences": [],
    }
    assert (shown["inputs"], shown["packages"]) == (None, ["pytest"])
    settings = {each.pop("name"): each for each in shown["settings"]}
    inherited = ["embedding_dim", "embedding_dropout", "wide"]
    assert list(settings) == [*inherited, "experts", "rate", "layers", "mode", "path", "counts"]
    assert settings["experts"] == {
        "type": "int",
        "required": False,
        "default": 8,
        "constraints": {"gt": 0, "le": 64},
        "search": {"type": "IntRange", "low": 2, "high": 16, "log": False},
        "description": "How many.",
    }
    assert settings["rate"]["search"] == {"type": "FloatRange", "low": 1e-5, "high": 0.1, "log": True}
    assert settings["layers"]["search"] == {"type": "Choice", "values": [[64], [64, 32]]}
    assert settings["layers"]["constraints"] == {"min_length": 1}
    assert (settings["path"]["required"], settings["path"]["default"]) == (True, None)
    assert settings["counts"]["default"] == [1]
    assert {name: each["type"] for name, each in settings.items()} == {
        "embedding_dim": "int",
        "embedding_dropout": "float",
        "wide": "bool",
        "experts": "int",
        "rate": "float",
        "layers": "tuple[int, ...]",
        "mode": "'fast' | 'slow' | None",
        "path": "str",
        "counts": "list[int]",
    }


def test_a_models_page(show):
    status, out, _ = show("model", "net")
    assert status == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:4] == ["model net", "A net of experts over two lines.", "", "More of it."]
    at = lines.index("paper Someone: Nets. 2020.")
    assert lines[at + 1 : at + 7] == [
        "equations y = f(x)", "with f", "verified Authors' code: f.", "inferred - Sizes.", "- Start.", "needs pytest",
    ]  # fmt: skip
    assert "differences" not in out
    assert "asks for" not in out  # it has a setting without default
    assert "experts int, > 0, <= 64 8 2 to 16 How many." in lines
    assert "rate float 0.001 1e-05 to 0.1, log" in lines
    assert "layers tuple[int, ...], length >= 1 [64,32] [64] | [64,32]" in lines
    assert "path str required" in lines


def test_what_a_model_asks_for_is_found_by_asking_it(show):
    shown = json.loads(show("model", "reader", "--json")[1])
    recent = {"name": "recent", "length": 7, "features": True}
    assert shown["card"] is None
    assert shown["inputs"] == {"everything": [recent, {"name": "text", "column": "title"}], "ids": [recent]}
    lines = [" ".join(line.split()) for line in show("model", "reader")[1].splitlines()]
    at = lines.index("asks for recent (length 7, features true), text (column title)")
    assert lines[at + 1] == "of a dataset with ids alone: recent (length 7, features true)"
    assert "asks for features alone" in [" ".join(line.split()) for line in show("model", "plain")[1].splitlines()]


def test_a_dataset_shows_its_card_and_raw_files(show):
    shown = json.loads(show("dataset", "clicks", "--json")[1])
    assert shown["card"]["positive_rates"] == {"click": 0.25}
    assert shown["card"]["acknowledged"] == {"age": "children"}
    assert shown["dataset_version"] == 3
    assert shown["domain"] == "shop"
    assert shown["split"] == {"by": "random", "valid": 0.1, "test": 0.1, "seed": 0}
    assert shown["sources"] == [{"name": "log.csv", "mirror": "clicks/log.csv", "sha256": "ab" * 32}]
    assert [each["name"] for each in shown["settings"]] == ["ids"]
    lines = [" ".join(line.split()) for line in show("dataset", "clicks")[1].splitlines()]
    for expected in (
        "licence CC0",
        "rows 1200",
        "positive rates click: 0.25",
        "traps - First.",
        "- Second.",
        "by: random",
        "domain shop",
    ):
        assert any(line.endswith(expected) for line in lines), expected
    assert ["raw file log.csv", "$MTBENCH_DATA/clicks/log.csv", f"sha256 {'ab' * 32}"] == lines[-3:]


def test_a_dataset_with_required_settings_has_no_raw_files_to_show(show):
    status, out, _ = show("dataset", "own", "--json")
    assert status == 0
    assert json.loads(out)["sources"] is json.loads(out)["domain"] is None
    assert "path" in show("dataset", "own")[1]


def test_a_metric_is_found_with_its_cutoff_and_its_text_is_not_markup(show):
    shown = json.loads(show("metric", "top@10", "--json")[1])
    assert shown["name"] == "top@k"
    assert shown["metric"] == {
        "higher_is_better": False,
        "best": 1.0,
        "kinds": ["binary"],
        "grouped": True,
        "version": 1,
    }
    assert "Share of [bold]tops[/bold]." in show("metric", "top@10")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model", "nett"), "error: there is no model 'nett' (did you mean 'net'?); known models: "),
        (("models", "net"), "error: there is no kind 'models' (did you mean 'model'?); kinds: model, dataset"),
        (("metric", "top@0"), "error: metric 'top@0': the cutoff must be a positive integer, as in 'top@10'"),
    ],
)
def test_what_is_unknown_is_an_error_with_a_suggestion(show, arguments, message):
    status, out, err = show(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith(message)
    assert "Traceback" not in err
