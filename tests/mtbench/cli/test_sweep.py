from __future__ import annotations

import pytest
from typer.testing import CliRunner

from mtbench.cli import app

RUNNER = CliRunner()


@pytest.mark.parametrize("arguments", [["sweep"], ["sweep", "--help"]])
def test_the_group_lists_its_commands(arguments):
    out = RUNNER.invoke(app, arguments).output
    for expected in ("start", "report", "mtbench sweep FILE"):
        assert expected in out


def test_the_file_may_follow_the_command_or_options(tmp_path):
    for arguments in (["nothing.yaml"], ["--trials", "3", "nothing.yaml"], ["start", "nothing.yaml"]):
        done = RUNNER.invoke(app, ["sweep", *arguments])
        assert done.exit_code == 1
        assert "nothing.yaml: cannot be read" in str(done.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [["--trials", "0"], ["--workers", "0"], ["--workers", "two"]])
def test_options_out_of_range_are_refused(option):
    done = RUNNER.invoke(app, ["sweep", "e.yaml", *option])
    assert done.exit_code == 2
    assert option[0] in done.output


def test_a_report_of_nothing_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["sweep", "report", "e.yaml"], ["sweep-worker", "e"]):
        done = RUNNER.invoke(app, command)
        assert done.exit_code == 1
        assert "there is no storage sqlite" in str(done.exception)
        assert "sweeps/e/sweep.db" in str(done.exception)
    assert not list(tmp_path.iterdir())
