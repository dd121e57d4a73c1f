from __future__ import annotations

import sys

import pytest

from mtbench.cli import main

TINY = "dataset: planted\nmodels: [mmoe]\n"
PLUGIN = """
from mtbench.hookspecs import hookimpl
from mtbench.model import ModelConfig, MultiTaskModel


class Mine(MultiTaskModel):
    class Config(ModelConfig):
        width: int = 8


@hookimpl
def mtbench_models(register):
    register("mine", Mine)
"""


@pytest.fixture
def validate(site, tmp_path, monkeypatch, capsys):  # noqa: ARG001 - it restores the environment
    """Run ``mtbench run --validate`` on a text; return exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *arguments: str) -> tuple[int, str, str]:
        (tmp_path / "e.yaml").write_text(text)
        monkeypatch.setattr(sys, "argv", ["mtbench", "run", "e.yaml", "--validate", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code or 0, *capsys.readouterr())

    return run


def test_a_valid_file_is_called_so_and_nothing_is_run(validate, tmp_path):
    assert validate(TINY) == (0, "e.yaml: valid\n", "")
    assert [path.name for path in tmp_path.iterdir() if path.name != "site"] == ["e.yaml"]


def test_stdout_stays_empty_for_a_program(validate):
    assert validate(TINY, "--json") == (0, "", "e.yaml: valid\n")


def test_a_mistake_is_said_without_a_traceback(validate):
    status, out, err = validate(TINY + "training: {epochs: 3}\nseeds: [a]\n")
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        "error: e.yaml: seeds.0: should be a whole number, found 'a'",
        "e.yaml: training: unknown key 'epochs' (did you mean 'max_epochs'?)",
    ]


def test_names_and_settings_of_plugins_are_checked_too(validate):
    assert (
        "error: e.yaml: models.0: unknown key 'expert'"
        in validate("dataset: planted\nmodels: [{name: mmoe, expert: 2}]")[2]
    )
    assert "error: e.yaml: dataset: there is no dataset 'x'" in validate("dataset: x\nmodels: [mmoe]")[2]


def test_overrides_are_checked_in_place_of_what_they_replace(validate):
    assert validate(TINY + "seeds: x\n", "--set", "seeds=2", "--set", "dataset.rows=1000")[0] == 0
    status, _, err = validate(TINY, "--set", "training.epochs=2")
    assert status == 1
    assert "unknown key 'epochs' (did you mean 'max_epochs'?)" in err


def test_a_plugin_file_brings_its_names(validate, tmp_path):
    text = "dataset: planted\nmodels: [{name: mine, width: 4}]\n"
    assert "there is no model 'mine'" in validate(text)[2]
    (tmp_path / "mine.py").write_text(PLUGIN)
    assert validate(text, "--plugin", "mine.py") == (0, "e.yaml: valid\n", "")


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mtbench", "run", "none.yaml", "--validate"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: none.yaml: cannot be read: No such file or directory\n"
