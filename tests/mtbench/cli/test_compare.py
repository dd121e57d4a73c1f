from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest


@pytest.fixture
def mtbench(tmp_path):
    def call(*arguments):
        command = [sys.executable, "-c", "from mtbench.cli import main; main()", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)

    return call


def test_without_records_those_of_the_folder_are_resampled(mtbench, make_predicted):
    made, lacking = make_predicted(), make_predicted("ple")
    lacking.path.with_suffix(".parquet").unlink()
    done = mtbench("compare")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        "resamples of 1 records made, of 0 found, of 1 lacking",
    )
    assert f"{lacking.record.file_stem}: " in done.stdout
    again = json.loads(mtbench("compare", "--records", "records", "--json").stdout)
    assert again["found"] == [made.record.file_stem]
    assert again["made"] == []
    assert list(again["lacking"]) == [lacking.record.file_stem]


def test_two_records_are_compared_by_path_and_by_the_beginning_of_a_name(mtbench, make_predicted):
    good, bad = make_predicted("good", noise=0.3, seeds=3), make_predicted("bad", noise=1.5)
    done = mtbench("compare", good.path, bad.record.key[:12], "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["first"], facts["second"]) == (good.record.file_stem, bad.record.file_stem)
    for task in ("click", "buy"):
        found = facts["tasks"][task]
        assert found["first"] == good.record.mean(task, "auc")
        assert found["effect"]["mean"] == pytest.approx(found["first"] - found["second"])
        assert 0 < found["effect"]["low"] < found["effect"]["mean"] < found["effect"]["high"]
        assert found["p"] < 0.01
        assert sum(found["sources"].values()) == pytest.approx(1)
    text = mtbench("compare", good.path, bad.path).stdout
    assert max(map(len, text.splitlines())) <= 80
    mean, low, high = (format(facts["tasks"]["buy"]["effect"][key], "+.4f") for key in ("mean", "low", "high"))
    assert {mean, f"{low} to {high}"} <= set(re.split(r"\s{2,}", text))
    assert re.search(r"\d+% users", text)
    assert re.search(r"\d+% seeds", text)
    assert "first: good" in text
    assert "the interval is of the two recipes, over users and seeds" in text
    assert "another seed" not in text


def test_records_are_named_by_their_model_or_by_their_row_where_a_model_has_several(mtbench, make_predicted):
    good, bad = make_predicted("good", noise=0.3, seeds=3), make_predicted("bad", noise=1.5)
    facts = json.loads(mtbench("compare", "good", "bad", "--json").stdout)
    assert (facts["first"], facts["second"]) == (good.record.file_stem, bad.record.file_stem)
    more = make_predicted("good", noise=0.4, seeds=3, settings={"experts": 16})
    done = mtbench("compare", "good", "bad")
    assert done.returncode == 1
    assert "2 records are meant: " in done.stderr
    assert "'good, experts 16'" in done.stderr
    facts = json.loads(mtbench("compare", "good, experts 16", "bad", "--json").stdout)
    assert facts["first"] == more.record.file_stem


def test_a_single_seed_is_pointed_out(mtbench, make_predicted):
    one, other = make_predicted("one", seeds=1), make_predicted("other", users=None, seeds=1)
    assert "another seed" in mtbench("compare", one.path, make_predicted("more").path).stdout
    done = mtbench("compare", one.path, other.path)
    assert done.returncode == 1
    assert "resampled differently" in done.stderr


def test_records_that_cannot_be_compared_are_refused_with_what_differs(mtbench, make_predicted):
    split = {"settings": {"by": "random"}, "rows": {"test": 600}, "fingerprints": {"test": "xx"}}
    first, second = make_predicted(), make_predicted("ple", split=split)
    done = mtbench("compare", first.path, second.path)
    assert done.returncode == 1
    assert "split.settings.by (time, random)" in done.stderr
    assert "dataset" not in done.stderr


def test_mistakes_are_named(mtbench, make_predicted):
    first, second = make_predicted(), make_predicted("ple")
    for arguments, text in (
        ([first.path], "takes two records, or none"),
        ([first.path, first.path], "both are the record"),
        ([first.path, "zz"], "'zz' is no file, and in records no record is meant by it"),
        ([first.path, ""], "2 records are meant: "),
    ):
        done = mtbench("compare", *arguments)
        assert done.returncode == 1
        assert text in done.stderr
    second.path.with_suffix(".parquet").unlink()
    done = mtbench("compare", first.path, second.path)
    assert done.returncode == 1
    assert "there is no such file" in done.stderr
    assert "no such folder" in mtbench("compare", "--records", "absent").stderr
