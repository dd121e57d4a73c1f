from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mtbench.cli import app

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _there(planted_board, monkeypatch):
    monkeypatch.chdir(planted_board)


def test_the_grid_shows_what_is_there_and_what_is_missing(planted_board):
    done = RUNNER.invoke(app, ["bench", "status", "planted-v1"])
    assert done.exit_code == 0, done.exception
    lines = {line.split()[0].strip(","): line for line in done.output.splitlines() if line.strip()}
    assert "5 seeds" in lines["constant"]
    assert "missing" in lines["single-task"]
    assert "2 of 4 records in records" in done.output
    found = json.loads(RUNNER.invoke(app, ["bench", "status", "planted-v1", "--json", "--model", "constant"]).output)
    assert found["benchmark"]["name"] == "planted-v1"
    [row] = found["rows"]
    assert (planted_board / "records" / f"{row['record']}.json").is_file()
    empty = RUNNER.invoke(app, ["bench", "status", "planted-v1", "--records", "nowhere"])
    assert "0 of 4 records in nowhere" in empty.output


def test_nothing_to_do_is_no_mistake():
    done = RUNNER.invoke(app, ["bench", "run", "planted-v1", "--model", "constant", "--json"])
    assert done.exit_code == 0, done.exception
    assert "its record is there" in done.output


def test_mistakes_are_named():
    for arguments, text in (
        (["planted-v2"], "planted-v2.yaml: cannot be read"),
        (["planted-v1", "--model", "constnt"], "(did you mean 'constant'?)"),
    ):
        for command in ("run", "status"):
            done = RUNNER.invoke(app, ["bench", command, *arguments])
            assert done.exit_code == 1
            assert text in str(done.exception)
