"""A record's way onto a board, as a user goes it."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
import zipfile
from importlib import metadata

import pytest
from typer.testing import CliRunner

from mtbench.board import checks, environments, resamples
from mtbench.cli import app
from mtbench.record import store
from mtbench.record.form import Record

RUNNER = CliRunner()


@pytest.fixture
def desk(planted_board, tmp_path, monkeypatch):
    """Go to a checkout with records and an empty leaderboard; return the path of each record by model."""
    shutil.copytree(planted_board, tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    folder = tmp_path / "checkout" / "records"
    return {record.recipe.model.name: path for record, path in store.read_all(folder)[0]}


def call(*arguments):
    done = RUNNER.invoke(app, ["board", *map(str, arguments)])
    return done.exit_code, done.output, str(done.exception)


def edited(path):
    """Return the path of a record with one number edited, its hashes made anew."""
    content = json.loads(path.read_text())
    content["results"]["click"]["auc"]["test"][1] += 0.02
    written = store.write(Record.model_validate(content), path.parent)
    shutil.copy(path.with_suffix(".parquet"), written.with_suffix(".parquet"))
    return written


def test_admitted_checked_and_exported(desk):
    for path in desk.values():
        code, out, _ = call("add", path)
        assert code == 0
        assert out.strip().endswith("checked")
    assert call("check") == (0, "leaderboard/records: 2 records, nothing is wrong\n", "None")
    code, out, _ = call("export", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    record = store.read(desk["shared-bottom"])
    for line in lines:
        if line["model"] == "shared-bottom":
            assert float(line["mean"]) == pytest.approx(record.mean(line["task"], "auc"), abs=1e-12)
            assert float(line["low"]) < float(line["mean"]) < float(line["high"])
        assert line["badge"] == "checked"
        assert line["benchmark"] == "planted-v1"
    code, out, problem = call("export", "--format", "csv", "--dataset", "others")
    assert (code, "has no records of it, only of planted" in problem) == (1, True)


def test_a_record_that_was_edited_does_not_get_in(desk):
    code, _, problem = call("add", edited(desk["shared-bottom"]))
    assert code == 1
    assert "click.auc.test, seed 1" in problem
    assert call("check")[0] == 1


def test_a_record_is_the_same_when_trained_again_and_an_edited_one_is_not(desk):
    path = desk["shared-bottom"]
    code, out, _ = call("verify", path, "--seed", 1)
    assert code == 0, out
    assert "seed 1 is the same to the last bit" in out
    [check] = checks.read_all(path.parent)[0][path.stem]
    assert (check.level, check.seeds, check.difference) == ("re-run", [1], 0.0)
    assert checks.find_badge([check]) == "re-run"
    false = edited(path)
    code, _, problem = call("verify", false, "--seed", 1)
    assert code == 1
    assert re.search(r"click auc on test is [\d.]+ in the record and [\d.]+ now", problem)
    assert false.stem not in checks.read_all(path.parent)[0]
    code, _, problem = call("verify", path, "--seed", 17)
    assert "the record has the seeds 0, 1, 2, 3, 4" in problem


def test_in_an_environment_of_its_own_it_comes_to_the_same(desk, monkeypatch):
    wanted = []
    monkeypatch.setattr(environments, "build", lambda *asked: (wanted.append(asked), sys.executable)[1])
    path = desk["shared-bottom"]
    assert call("verify", path, "--seed", 1, "--rebuild")[0] == 0
    [check] = checks.read_all(path.parent)[0][path.stem]
    assert (check.level, check.seeds, check.difference) == ("re-run", [1], 0.0)
    [(requirements, python)] = wanted
    assert f"torch=={metadata.version('torch')}" in requirements
    assert python == sys.executable
    assert call("verify", edited(path), "--seed", 1, "--rebuild")[0] == 1


def test_elsewhere_it_says_what_differs_and_allows_for_it(desk):
    content = json.loads(desk["constant"].read_text())
    content["measured"]["environment"] |= {"torch": "2.6.0", "machine": "sparc"}
    content["recipe"]["model"]["provenance"]["sha256"] = "f00d"
    record = Record.model_validate(content)
    path = store.write(record.model_copy(update={"key": record.recipe.key}), desk["constant"].parent)
    code, out, _ = call("verify", path, "--seed", 0)
    assert code == 0
    for text in (
        "differs: torch: 2.6.0 in the record",
        "differs: machine: sparc",
        "model constant: code of",
        "0.005",
    ):
        assert text in out


def test_a_submission_holds_what_a_pull_request_needs(desk, tmp_path):
    path = desk["shared-bottom"]
    code, _, problem = call("submit", path, "--out", tmp_path / "out")
    assert code == 0, problem
    archive = tmp_path / "out" / f"{path.stem}.zip"
    before = archive.read_bytes()
    call("submit", path, "--out", tmp_path / "out")
    assert archive.read_bytes() == before
    with zipfile.ZipFile(archive) as pack:
        pack.extractall(tmp_path / "leaderboard")
    text = (tmp_path / "leaderboard" / f"{path.stem}.md").read_text()
    record = store.read(path)
    assert record.predictions.sha256 in text
    assert record.recipe.benchmark.sha256 in text
    board = tmp_path / "leaderboard" / "records"
    assert store.read(board / path.name) == record
    assert resamples.read_all(board)[0].keys() == {path.stem}
    assert checks.read_all(board) == ({}, [])  # nobody else has looked yet
    assert call("check", "--records", board)[0] == 0
    path.with_suffix(".parquet").unlink()
    assert "there are no predictions beside it" in call("submit", path)[2]
