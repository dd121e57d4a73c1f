from __future__ import annotations

import csv
import io
import re

import pytest

from mtbench.board.export import TIE, export
from mtbench.board.standings import Interval, Placing, Ranking, Standings
from mtbench.record import store
from mtbench.registry import Registry

VALUES = {
    "mmoe": [0.72, 0.721, 0.722, 0.723, 0.724],
    "ple": [0.7221, 0.7211, 0.7221, 0.7201, 0.7231],
    "single_task & <co>": [0.65, 0.651, 0.652, 0.653, 0.654],
}


@pytest.fixture
def board(tmp_path, make_record, monkeypatch):
    """Return a folder of records of which the first two cannot be told apart."""
    monkeypatch.setattr("mtbench.board.export.compute_standings", _standings)
    for model, values in VALUES.items():
        store.write(make_record(model, {"click": {"auc": values}}), tmp_path)
    return tmp_path


def _standings(group, _):
    """Rank by hand: these tests are of the tables."""

    def placed(record):
        mean = record.mean("click", "auc")
        ranks = {"mmoe": (1, 2), "ple": (1, 2)}.get(record.recipe.model.name, (3, 3))
        return Placing(Interval(mean, mean - 0.01, mean + 0.01), ranks, "")

    ranking = Ranking({record.file_stem: placed(record) for record in group.records}, [])
    return Standings({"click": ranking}, ranking, {})


@pytest.fixture
def registry():
    return Registry.load()


def test_the_best_is_bold_and_what_ties_with_it_is_marked(board, registry):
    lines = export(board, registry, "markdown").splitlines()
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    assert "**0.7220** [0.7120, 0.7320]" in rows["mmoe"]
    assert f"0.7217{TIE} [0.7117, 0.7317]" in rows["ple"]
    assert "0.6520 [0.6420, 0.6620]" in rows["single_task & <co>"]
    assert TIE not in rows["single_task & <co>"]


def test_latex_is_escaped_and_closes_what_it_opens(board, registry):
    text = export(board, registry, "latex")
    assert r"single\_task \& \textless{}co\textgreater{}" in text
    assert r"\textbf{0.7220} [0.7120" in text
    assert r"0.7217$^\dagger$" in text
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert re.findall(r"\\end\{(\w+)\}", text) == opened[::-1]
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines() if line.endswith(r"\\")} == {columns - 1}


def test_csv_has_every_cell_in_full(board, registry):
    lines = list(csv.DictReader(io.StringIO(export(board, registry, "csv"))))
    assert {line["model"]: float(line["mean"]) for line in lines} == pytest.approx(
        {model: sum(values) / 5 for model, values in VALUES.items()}, abs=1e-15
    )
    assert {line["badge"] for line in lines} == {"claimed"}


def test_whose_the_intervals_are_is_said_and_one_seed_has_none(tmp_path, make_record, registry):
    store.write(make_record("mmoe", {"click": {"auc": [0.71, 0.73]}}), tmp_path)
    store.write(make_record("ple", {"click": {"auc": [0.7]}}), tmp_path)
    text = export(tmp_path, registry, "markdown")
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines() if line[:2] == "| "}
    assert rows["mmoe"].startswith("0.7200 [0.59")
    assert rows["ple"] == "0.7000"
    assert "test rows with 95 % intervals of the recipe, over seeds. Bold" in text
    lines = {line["model"]: line for line in csv.DictReader(io.StringIO(export(tmp_path, registry, "csv")))}
    assert [lines["ple"][column] for column in ("low", "high", "interval")] == ["", "", ""]
    assert lines["mmoe"]["interval"] == "of the recipe, over seeds"
    store.write(make_record("cgc", {"click": {"auc": [0.7]}}), tmp_path / "alone")
    assert "10,000 test rows. Bold" in export(tmp_path / "alone", registry, "markdown")


def test_delta_m_is_there_where_records_name_a_baseline(tmp_path, make_record, registry):
    def make(folder, baseline):
        for model, values in VALUES.items():
            store.write(make_record(model, {"click": {"auc": values}}, baseline=baseline), tmp_path / folder)
        return tmp_path / folder

    with_it, without = make("with", "ple"), make("without", None)
    head, _, *lines = export(with_it, registry, "markdown").split("\n\n")[1].splitlines()
    assert head.endswith("| delta-m |")
    rows = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines}
    assert rows["ple"] == "\N{EN DASH}"
    ple = sum(VALUES["ple"]) / 5
    assert rows["mmoe"].startswith(f"{100 * (0.722 - ple) / (ple - 0.5):+.2f} %")
    assert "relative change against ple with the same inputs" in export(with_it, registry, "latex")
    for form in ("markdown", "latex"):
        assert "delta" not in export(without, registry, form)
    lines = list(csv.DictReader(io.StringIO(export(with_it, registry, "csv"))))
    assert {line["model"]: (line["baseline"], bool(line["delta_m"])) for line in lines} == {
        "mmoe": ("ple", True), "ple": ("ple", False), "single_task & <co>": ("ple", True),
    }  # fmt: skip
    lines = csv.DictReader(io.StringIO(export(without, registry, "csv")))
    assert {(line["baseline"], line["delta_m"]) for line in lines} == {("", "")}


def test_the_works_to_cite_are_those_of_the_cards(board, registry):
    text = export(board, registry, "bibtex")
    assert re.findall(r"@misc\{(.*),", text) == ["data-movielens-100k", "model-mmoe", "model-ple"]
    assert "Multi-gate Mixture-of-Experts. KDD 2018." in text
