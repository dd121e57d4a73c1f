from __future__ import annotations

import re

import pytest

from mtbench.errors import MTBenchError
from mtbench.tuning.report import report
from mtbench.tuning.worker import work

TWO = {"models": ["dial", {"name": "dial", "seconds": 0.001}]}


@pytest.mark.usefixtures("dial")
def test_the_page_of_a_finished_sweep_has_every_picture_and_value(begin, tmp_path):
    space = {"model.fault": ["none", "bug"]}
    _, studies = begin(TWO | {"sweep": {"trials": 14, "space": space}})
    work("test", str(studies[0].place), tmp_path)
    page = report("test", str(studies[0].place), tmp_path / "out" / "report.html").read_text()
    assert len(re.findall(r"<figure[^>]*>\s*<svg", page)) == page.count("<figure") >= 8
    assert "<h2>dial</h2>" in page
    assert "<h2>dial-2</h2>" in page
    assert "RuntimeError: there is a bug" in page
    assert "Not finished" not in page
    for study in studies:
        best = max(trial.value for trial in study.trials() if trial.value is not None)
        assert f"{best:.4f}" in page
        scored = [trial for trial in study.trials() if trial.value is not None]
        costs = page[page.index("<h2>Quality against cost</h2>") :]
        assert 0 < len(re.findall(rf"<title>{study.label}, trial \d+: score", costs)) <= len(scored)
        assert f'aria-label="Importance of the settings of {study.label}"' in page
    assert page.count('aria-label="Score against model.fault of ') == len(studies)
    assert "Rank of each model against trials" in page
    assert "<script" not in page
    assert "://" not in page.replace("http://www.w3.org/", "")


@pytest.mark.usefixtures("dial")
def test_the_page_of_a_sweep_that_has_only_begun_says_so(begin, tmp_path):
    _, studies = begin(TWO)
    page = report("test", str(studies[0].place), tmp_path / "report.html").read_text()
    assert "0 of 4 trials are done of every model" in page
    assert page.count("No trial has finished.") == 2
    studies[0].take("w").fail("out of <b>memory</b>")
    page = report("test", str(studies[0].place), tmp_path / "report.html").read_text()
    assert "failed: out of &lt;b&gt;memory&lt;/b&gt;" in page


@pytest.mark.usefixtures("dial")
def test_a_report_that_cannot_be_written_is_an_error_of_the_user(begin, tmp_path):
    _, [study] = begin()
    (tmp_path / "file").write_text("")
    with pytest.raises(MTBenchError, match="cannot be written"):
        report("test", str(study.place), tmp_path / "file" / "report.html")
