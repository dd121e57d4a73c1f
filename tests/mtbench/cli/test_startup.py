from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import pytest

import mtbench
from mtbench import nn

HEAVY = {"torch", "pandas", "dgl", "numpy", "scipy", "pyarrow", "pytorch_lightning", "torchmetrics"}
LOADED = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "


def run(*arguments: str, code: str = "", **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code + "from mtbench.cli import main; main()", *arguments]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command, text=True, check=False, **options)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("plugins",),
        *(("list", f"{kind}s") for kind in ("model", "dataset", "metric", "balancer", "input", "launcher")),
    ],
)
def test_listing_loads_no_heavy_library(arguments):
    done = run(*arguments, code=LOADED)
    assert done.returncode == 0
    loaded = set(done.stderr.split())
    assert "mtbench.registry" in loaded
    assert not HEAVY & loaded


def test_importing_the_package_loads_nothing_else_of_it():
    code = "import sys, mtbench; dir(mtbench); print(*(name for name in sys.modules if name.startswith('mtbench')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mtbench"]


def test_every_public_name_is_found_where_it_lives():
    stub = Path(mtbench.__file__).with_suffix(".pyi").read_text()
    lines = re.findall(r"^from \.([\w.]+) import \w+ as (\w+)$", stub, re.MULTILINE)
    homes = {name: f"mtbench.{home}" for home, name in lines}
    assert set(mtbench.__all__) == homes.keys() == set(dir(mtbench))
    for name, home in homes.items():
        value = getattr(mtbench, name)
        assert value is vars(import_module(home))[name]
        assert name == "hookimpl" or value.__module__ == home
    with pytest.raises(AttributeError, match="mtbench attribute runn"):
        mtbench.runn  # noqa: B018


@pytest.mark.parametrize("page", [mtbench, nn])
def test_every_public_name_says_since_when_it_is_there_and_how_stable_it_is(page):
    for name in page.__all__:
        value = getattr(page, name)
        if isinstance(value, type) or inspect.isfunction(value):  # types of settings have no docstring
            assert re.search(r"Since \d+\.\d+, (stable|provisional)\.", inspect.getdoc(value) or ""), name


def test_the_version_is_the_installed_one():
    assert run("--version").stdout == f"mtbench {metadata.version('mtbench')}\n"
    assert mtbench.__version__ == metadata.version("mtbench")


def test_no_arguments_show_the_help_and_a_mistyped_command_a_suggestion():
    assert "Usage: mtbench" in run().stdout
    done = run("lst")
    assert done.returncode == 2
    assert "Did you mean 'list'?" in done.stderr


def test_a_users_mistake_has_no_traceback_unless_asked_for():
    plain = run("show", "model", "absent")
    assert (plain.returncode, plain.stdout) == (1, "")
    assert plain.stderr.startswith("error: there is no model 'absent'")
    assert "Traceback" not in plain.stderr
    for traced in (
        run("--traceback", "show", "model", "absent"),
        run("show", "model", "absent", env={**os.environ, "MTBENCH_TRACEBACK": "1"}),
    ):
        assert traced.returncode == 1
        assert "Traceback" in traced.stderr


def test_ctrl_c_is_quiet(tmp_path):
    path = tmp_path / "interrupt.py"
    path.write_text("raise KeyboardInterrupt\n")
    done = run("plugins", "--plugin", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("arguments", [("list", "metrics"), ("list", "metrics", "--json"), ("--help",)])
def test_a_closed_pipe_is_quiet(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(*arguments, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_json_stays_alone_on_stdout_when_plugins_print_and_calls_are_traced(tmp_path):
    path = tmp_path / "loud.py"
    path.write_text("print('loud')\n")
    done = run("plugins", "--plugin", str(path), "--json", env={**os.environ, "MTBENCH_TRACE_PLUGINS": "1"})
    assert str(path) in {each["name"] for each in json.loads(done.stdout)["plugins"]}
    assert "loud\n" in done.stderr
    assert "mtbench_models(register)" in done.stderr


def test_a_terminal_that_lacks_a_character_gets_a_question_mark(tmp_path):
    path = tmp_path / "lang.py"
    path.write_text(
        'from mtbench.hookspecs import hookimpl\n\nclass Ж:\n    """1 ± 2 ↑"""\n\n'
        "@hookimpl\ndef mtbench_launchers(register): register('lang', Ж)\n",
        encoding="utf-8",
    )
    arguments = ("list", "launchers", "--plugin", str(path))
    done = run(*arguments, env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 ? 2 ?" in done.stdout
