"""What pages say agrees with the standings, the checks and the recipe behind them."""

from __future__ import annotations

import re
import threading
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mtbench import Registry
from mtbench.board import checks, comparisons, figures, models, recipes, resamples
from mtbench.board.checks import Check
from mtbench.board.groups import group_records
from mtbench.board.page import build
from mtbench.cli import app
from mtbench.experiment import load_experiment
from mtbench.record import store


@pytest.fixture
def compare(tmp_path):
    """Return a function that compares the records of the folder, which are one group."""

    def make():
        folder = tmp_path / "records"
        resamples.fill(folder, Registry.load())
        (group,) = group_records(store.read_all(folder)[0])
        return comparisons.compare(group, resamples.read_all(folder)[0], checks.read_all(folder)[0])

    return make


def test_rows_leads_and_figures_are_those_of_the_standings(make_predicted, compare, tmp_path):
    noises = {"single-task": 2.0, "mmoe": 0.2, "ple": 0.2, "weak": 6.0}
    made = {name: make_predicted(name, noise=noise, rows=1500).record.file_stem for name, noise in noises.items()}
    few = make_predicted("few", seeds=3, noise=0.2).record.file_stem
    view = compare()
    overall = view.standings.overall
    rows = {row.stem: row for row in view.rows}
    for name in noises:
        first, last = overall.placings[made[name]].ranks
        assert rows[made[name]].rank.text == (f"{first}\N{EN DASH}{last}" if last > first else f"{first}")
    assert rows[made["mmoe"]].rank.text == "1\N{EN DASH}2"
    by_rank = sorted(made.values(), key=lambda stem: rows[stem].rank.number)
    assert by_rank == sorted(made.values(), key=lambda stem: overall.placings[stem].ranks)
    assert rows[few].rank.text == "unranked"
    assert view.notes[rows[few].rank.note - 1] == "unranked: 3 seeds, 5 are needed"
    assert view.counts == {"ranked": 4, "unranked": 1, "claimed": 5}
    lead = view.leads[0]
    assert {lead.who, lead.said.split()[1]} == {"mmoe", "ple"}
    assert lead.said.endswith("cannot be told from it")
    value = overall.placings[made["mmoe"]].value
    assert rows[made["mmoe"]].improvement.interval == f"{100 * value.low:.4f} to {100 * value.high:.4f} %"
    assert rows[made["single-task"]].delta.text == "baseline"
    change = view.standings.transfer[made["weak"]].mean
    assert rows[made["weak"]].delta.number == change.mean < 0
    matrix = figures.tabulate_transfer(view)
    assert {row.variant.model for row, _ in matrix.lines} == {"mmoe", "ple", "weak", "few"}
    duels = figures.tabulate_duels(view)
    assert [each.title for each in duels] == ["overall", "click", "buy"]
    cells = {row.variant.model: dict(zip(duels[0].columns, line, strict=True)) for row, line in duels[0].lines}
    assert cells["mmoe"]["weak"].look.startswith("better")
    assert cells["weak"]["mmoe"].look.startswith("worse")
    assert cells["mmoe"]["ple"].unclear
    assert cells["mmoe"]["mmoe"] is None
    ((_, lines),) = models.make_overview([view]).sections
    assert {variant.model: best.leads for variant, (best,) in lines} == {
        "few": False, "mmoe": True, "ple": True, "single-task": False, "weak": False,
    }  # fmt: skip
    html = (build(tmp_path / "records", tmp_path / "site").parent / view.address).read_text()
    assert lead.said in html


def test_pages_have_delta_m_where_records_name_a_baseline_alone(make_record, tmp_path):
    def build_of(*records):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for record in records:
            store.write(record, folder)
        pages = build(folder, folder / "site").parent
        (data,) = (pages / "data").iterdir()
        return data.read_text(), [page.read_text() for page in (pages / "records").iterdir()]

    def make(model, baseline):
        return make_record(model, {"click": {"auc": [0.7, 0.71]}}, baseline=baseline)

    data, records = build_of(make("mmoe", None), make("single-task", None))
    assert "Δm</th>" not in data
    assert "Δm<span" not in data
    assert "<code>baseline: MODEL</code>" in data
    assert not any("Δm" in page for page in records)
    data, records = build_of(make("mmoe", "ple"), make("ple", "ple"))
    assert "% to ple" in data
    assert "against ple with the same inputs" in data
    assert all("Δm, to ple" in page for page in records)
    assert "single-task" not in data
    data, _ = build_of(make("mmoe", "absent"))
    assert "There is no record of such a baseline yet" in data
    data, records = build_of(make("mmoe", "ple"), make("ple", None), make("cgc", "mmoe"))
    assert "% to baseline" in data
    assert sum("Δm" in page for page in records) == 2


def test_a_ranking_of_one_and_of_none_is_said_so(make_predicted, compare):
    make_predicted("mmoe")
    assert compare().leads[0][1:] == ("mmoe", "is the only one ranked")


def test_without_resamples_nobody_leads(make_record):
    made = [make_record("a"), make_record("b")]
    written = [store.Written(record, Path(f"{record.file_stem}.json")) for record in made]
    (group,) = group_records(written)
    assert {lead.said for lead in comparisons.compare(group, {}, {}).leads} == {"nobody is ranked yet"}


def test_checks_give_badges_and_stand_on_the_records_page(make_record, tmp_path):
    made = {name: make_record(name) for name in ("claimed", "checked", "rerun")}
    for record in made.values():
        store.write(record, tmp_path)
    for name, level, seeds in (("checked", "checked", []), ("rerun", "checked", []), ("rerun", "re-run", [2])):
        check = Check(
            record=made[name].file_stem, level=level, created="2025-04-01T10:00:00+00:00", mtbench="0.1.0",
            environment={"python": "3.12"}, seeds=seeds, difference=3e-7, tolerance=1e-5,
        )  # fmt: skip
        checks.write(check, tmp_path)
    (tmp_path / "checks" / "broken.json").write_text("{")
    index = build(tmp_path, tmp_path / "site")
    assert "checks/broken.json: not a check" in index.read_text()
    pages = {
        name: (tmp_path / "site/records" / f"{record.file_stem}.html").read_text() for name, record in made.items()
    }
    assert '<span class="badge re-run">re-run</span>' in pages["rerun"]
    assert "trained again, seed 2" in pages["rerun"]
    assert "3e-07" in pages["rerun"]
    assert '<span class="badge checked">checked</span>' in pages["checked"]
    assert "It has not been verified yet" in pages["claimed"]


def test_the_experiment_on_a_records_page_is_one(make_record):
    record = make_record("mmoe", inputs={"warmup": 0.4, "asked": [], "pooled": []})
    text = recipes.write_experiment(record)
    found = load_experiment(yaml.safe_load(text))
    assert found.seeds == (0, 1, 2)
    assert found.dataset.model_dump() == {"name": "movielens-100k", "threshold": 4}
    assert found.models[0].model_dump() == {"name": "mmoe", **record.recipe.model.settings}
    assert found.split.model_dump() == record.recipe.split.settings
    assert found.training.learning_rate == record.recipe.training["learning_rate"]
    assert found.inputs.warmup == 0.4
    assert found.baseline == "single-task"
    assert "baseline" not in recipes.write_experiment(make_record("mmoe", baseline=None))


def test_serve_builds_the_site_and_shows_it(make_record, tmp_path, monkeypatch):
    store.write(make_record("mmoe"), tmp_path)
    seen = {}

    def serve(server):
        thread = threading.Thread(target=original, args=(server,))
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
            seen["page"] = answer.read()
        server.shutdown()
        thread.join()
        raise KeyboardInterrupt

    original = ThreadingHTTPServer.serve_forever
    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", serve)
    done = CliRunner().invoke(app, ["board", "serve", "--records", str(tmp_path), "--port", "0"])
    assert done.exit_code == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", done.stdout)
    assert seen["page"] == (tmp_path / "site" / "index.html").read_bytes()
