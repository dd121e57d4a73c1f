from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from mtbench.cli import main
from mtbench.data.dataset import DatasetConfig
from mtbench.data.sources import locate
from mtbench_datasets.movietweetings import MovieTweetings

pytestmark = pytest.mark.skipif("MTBENCH_DATA" not in os.environ, reason="MTBENCH_DATA is unset: no real data")

COPY = """
from mtbench import hookimpl
from mtbench_datasets.kuairand_pure import KuaiRandPure


class Copy(KuaiRandPure):
    def sources(self):
        return [source.model_copy(update={"sha256": None}) for source in super().sources()]


@hookimpl
def mtbench_datasets(register):
    register("copy", Copy)
"""


@pytest.fixture
def check(monkeypatch, capsys):
    """Run ``mtbench data check``; return exit status, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mtbench", "data", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Return a copy of KuaiRand's raw files, and the arguments that check it whatever its digests are."""
    plugin = tmp_path / "kuairand_copy.py"
    plugin.write_text(COPY)
    monkeypatch.setenv("MTBENCH_PLUGINS", "")  # to be restored: the command line adds to it
    folder = tmp_path / "mirror" / "kuairand_pure_late"
    shutil.copytree(Path(os.environ["MTBENCH_DATA"]) / folder.name, folder, copy_function=shutil.copyfile)
    monkeypatch.setenv("MTBENCH_DATA", str(folder.parent))
    return folder, ("copy", "--plugin", plugin)


def plant(path, label, into):
    """Write a label of a raw log into one of its columns."""
    log = pq.read_table(path)
    planted = log[label].cast(log.schema.field(into).type)
    pq.write_table(log.set_column(log.column_names.index(into), into, planted), path)


def test_a_label_planted_into_a_raw_column_is_found(check, copy):
    folder, arguments = copy
    status, out, _ = check(*arguments)
    assert (status, out.splitlines()[-1]) == (0, "no leak found that stops a run")
    assert "  tab 1: 129,822 train, 20,762 valid, 22,424 test rows" in out
    report = json.loads(check(*arguments, "--json")[1])
    assert report["domain"] == "tab"
    for part, count in report["rows"].items():
        assert sum(of_domain[part] for of_domain in report["rows_by_domain"]) == count
    for log in ("val.parquet", "test.parquet"):
        plant(folder / log, label="long_view", into="tab")
    status, out, err = check(*arguments)
    assert (status, out) == (1, "")
    assert "feature 'tab' alone predicts task 'long_view' with AUC 1.0000: it is the label or nearly so" in err
    assert "remove it from the features" in err
    assert "Traceback" not in err


def test_a_changed_raw_file_is_refused_before_anything_is_read_from_it(check, copy):
    folder, _ = copy
    plant(folder / "test.parquet", label="is_like", into="tab")
    status, _, err = check("kuairand-pure")
    assert status == 1
    assert "test.parquet is not the expected file: sha256" in err


@pytest.fixture
def ratings(tmp_path):
    """Return a function that writes real ratings with a further column, and the experiment that declares it."""
    dataset = MovieTweetings(DatasetConfig())
    table = dataset.load({source.name: locate(source) for source in dataset.sources()}).drop_columns(["genre", "title"])

    def write(hint):
        pyarrow.csv.write_csv(table.append_column("hint", table[hint]), tmp_path / "ratings.csv")
        settings = {
            "name": "table",
            "path": str(tmp_path / "ratings.csv"),
            "tasks": ["good", "great", "perfect"],
            "features": [{"name": name, "kind": "numeric"} for name in ("release_year", "hint")],
            "user": "user",
            "item": "imdb_id",
            "time": "time",
        }
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump({"dataset": settings, "models": ["shared-bottom"]}))
        return path

    return write


def test_a_feature_that_tells_the_rating_is_found_and_one_that_does_not_passes(check, ratings):
    status, out, _ = check(ratings("release_year"), "--json")
    report = json.loads(out)
    assert (status, report["findings"]) == (0, [])
    assert sum(report["rows"].values()) == 100_000
    status, out, err = check(ratings("rating"), "--json")
    assert (status, out) == (1, "")
    for task in ("good", "great", "perfect"):
        assert f"feature 'hint' alone predicts task '{task}' with AUC 1.0000" in err
