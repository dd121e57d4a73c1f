from __future__ import annotations

import json
import os
import sys

import pytest

from mtbench.cli import main

FILE = """
from mtbench.hookspecs import hookimpl

class {cls}:
    \"\"\"Runs far away, in the ``{name}``.

    Slowly.
    \"\"\"

@hookimpl
def mtbench_launchers(register):
    register("{name}", {cls})
"""
BROKEN = "raise OSError('[red]gone[/red]')\n"


@pytest.fixture
def cli(site, monkeypatch, capsys):  # noqa: ARG001 - it restores the environment
    """Run the command line; return exit status, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mtbench", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE.format(cls="Cloud", name="cloud"))
    return path


def test_plugins_shows_what_each_registers_and_what_is_broken(cli, site):
    site.install("acme", FILE.format(cls="Cloud", name="cloud"), version="2.3")
    root = site.install("bad", BROKEN)
    site.install("eye", "@hookimpl\ndef mtbench_callbacks(experiment): return []\n")
    status, out, err = cli("plugins", "--json")
    assert (status, err) == (0, "")
    shown = {each["name"]: each for each in json.loads(out)["plugins"]}
    assert shown["acme"] == {
        "name": "acme",
        "distribution": "acme-dist",
        "version": "2.3",
        "registers": {"launchers": ["cloud"]},
        "observes": [],
        "error": None,
        "problems": [],
    }
    assert shown["bad"]["error"] == f"OSError: [red]gone[/red] ({root / '__init__.py'}:2)"
    assert shown["bad"]["registers"] == {}
    assert shown["eye"]["observes"] == ["mtbench_callbacks"]
    assert "mmoe" in shown["mtbench_models"]["registers"]["models"]
    status, out, err = cli("plugins")
    assert (status, err) == (0, "")
    assert any(line.split() == ["acme", "acme-dist", "2.3", "launchers:", "cloud", "ok"] for line in out.splitlines())
    assert f"bad: OSError: [red]gone[/red] ({root / '__init__.py'}:2)\n" in out


def test_the_reason_of_a_broken_plugin_is_one_line_in_a_narrow_terminal(cli, site, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    root = site.install("bad", BROKEN)
    _, out, _ = cli("plugins")
    assert out.endswith(f"\nbad: OSError: [red]gone[/red] ({root / '__init__.py'}:2)\n")


def test_a_plugin_file_with_a_long_path_leaves_room_for_the_rest(cli, file, monkeypatch):
    path = file.rename(file.with_name(f"{'long_' * 12}name.py"))
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = cli("plugins", "--plugin", str(path))
    assert {"plugin", "distribution", "registers", "status", "cloud", "mmoe,"} <= set(out.split())


def test_a_clash_stops_other_commands_but_plugins_shows_it_beside_everything(cli, site):
    for name in ("acme", "zeta"):
        site.install(name, FILE.format(cls="Cloud", name="cloud"))
    site.install("typo", "@hookimpl\ndef mtbench_model(register): pass\n")
    status, out, err = cli("list", "launchers")
    assert (status, out) == (1, "")
    assert err.startswith("error: plugin 'typo'")
    assert "two launchers are named 'cloud'" in err
    status, out, err = cli("plugins", "--json")
    assert (status, err) == (1, "")
    found = json.loads(out)
    assert {"acme", "zeta", "mtbench_models"} <= {each["name"] for each in found["plugins"]}
    assert [problem.split("'")[1] for problem in found["problems"]] == ["typo", "cloud"]
    typo, cloud = found["problems"]
    guilty = {each["name"]: each["problems"] for each in found["plugins"] if each["problems"]}
    assert guilty == {"acme": [cloud], "typo": [typo], "zeta": [cloud]}
    status, out, err = cli("plugins")
    assert status == 1
    assert "mtbench_models" in out
    assert out.count("in conflict, see below") == 3
    assert "error: two launchers are named 'cloud'" in err
    assert "there is no hook 'mtbench_model' (did you mean 'mtbench_models'?)" in err


def test_a_broken_plugin_is_one_warning_line_and_no_hindrance(cli, site):
    site.install("bad", BROKEN)
    status, out, err = cli("list", "models", "--json")
    assert status == 0
    assert "mmoe" in {each["name"] for each in json.loads(out)}
    assert err.startswith("warning: plugin 'bad' (bad-dist 1.0) is broken and was skipped: OSError: [red]gone[/red]")
    assert err.count("\n") == 1


@pytest.mark.parametrize("before", [True, False])
def test_a_plugin_file_is_accepted_before_and_after_the_command(cli, file, before):
    option = ["--plugin", str(file)]
    arguments = [*option, "list", "launchers"] if before else ["list", "launchers", *option]
    status, out, err = cli(*arguments, "--json")
    assert (status, err) == (0, "")
    assert {
        "name": "cloud",
        "summary": "Runs far away, in the ``cloud``.",
        "plugin": str(file),
        "distribution": "mine.py",
        "version": None,
    } in json.loads(out)
    assert os.environ["MTBENCH_PLUGINS"] == str(file)
    assert any(
        line.split() == ["cloud", "Runs", "far", "away,", "in", "the", "cloud.", "mine.py"]
        for line in cli(*arguments)[1].splitlines()
    )


def test_plugin_files_of_both_positions_and_the_variable_add_up(cli, file, tmp_path, monkeypatch):
    for name in ("rain", "snow"):
        (tmp_path / f"{name}.py").write_text(FILE.format(cls="Other", name=name))
    monkeypatch.setenv("MTBENCH_PLUGINS", str(file))
    monkeypatch.chdir(tmp_path)
    status, out, _ = cli(
        "--plugin", "rain.py", "list", "launchers", "--plugin", "snow.py", "--plugin", "./rain.py", "--json"
    )
    assert status == 0
    assert {"cloud", "rain", "snow"} <= {each["name"] for each in json.loads(out)}
    assert os.environ["MTBENCH_PLUGINS"].split(os.pathsep) == [
        str(tmp_path / f"{n}.py") for n in ("mine", "rain", "snow")
    ]


@pytest.mark.parametrize(
    "arguments", [("--plugin", "absent.py", "plugins"), ("list", "models", "--plugin", "absent.py")]
)
def test_a_missing_plugin_file_is_an_error(cli, arguments):
    assert cli(*arguments) == (1, "", "error: --plugin absent.py: there is no such file\n")


def test_a_folder_of_plugins_is_an_error(cli, tmp_path):
    assert cli("plugins", "--plugin", str(tmp_path)) == (1, "", f"error: --plugin {tmp_path}: is a folder\n")


def test_a_missing_file_in_the_variable_is_an_error_too(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("MTBENCH_PLUGINS", str(tmp_path / "absent.py"))
    status, _, err = cli("list", "models")
    assert status == 1
    assert "absent.py does not exist; check --plugin and MTBENCH_PLUGINS" in err
    assert "error: plugin file" in cli("plugins")[2]


def test_a_wrong_kind_gets_a_suggestion(cli):
    status, out, err = cli("list", "modles")
    assert (status, out) == (1, "")
    assert err.startswith("error: there is no list of 'modles' (did you mean 'models'?); lists: models, datasets, ")
