from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

from mtbench.board.page import build
from mtbench.board.summary import UNDEFINED, differences
from mtbench.errors import MTBenchError
from mtbench.record import store

VOID = {"meta", "link", "path", "input", "rect"}


class Parser(HTMLParser):
    """Checks that tags are closed in order, and keeps elements, attributes and text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.tables, self.rows = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"th", "td"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] = " ".join(f"{self.tables[-1][-1][-1]} {data}".split())


@pytest.fixture
def site(tmp_path):
    """Return a function that writes records and builds their site; it returns the content of every page by its path."""

    def make(*made):
        (tmp_path / "records").mkdir(exist_ok=True)
        for record in made:
            store.write(record, tmp_path / "records")
        return read(build(tmp_path / "records", tmp_path / "records" / "site").parent)

    return make


def read(out):
    """Return the content of every page of a site by its path."""
    return {path.relative_to(out).as_posix(): path.read_text(encoding="utf-8") for path in sorted(out.rglob("*.html"))}


@pytest.fixture
def page(site):
    """Return a function that writes records and returns the pages of their comparisons, one after the other."""

    def make(*made):
        return "".join(html for name, html in site(*made).items() if name.startswith("data/"))

    return make


def main_tables(html):
    """Return the rows of the tables of results, without those that are headings."""
    tables = re.findall(r'<table class="results.*?</table>', html, flags=re.DOTALL)
    return [[cells for cells in Parser(table).tables[0] if len(cells) > 1] for table in tables]


def metric_tables(html):
    """Return the tables of all metrics."""
    return Parser(re.search(r'<section id="metrics">.*?</section>', html, flags=re.DOTALL)[0]).tables


def row(table, name):
    return next(cells for cells in table if cells and cells[0].split()[0] == name)


def test_the_numbers_are_numpys(page, make_record):
    rng = np.random.default_rng(3)
    values = {
        "click": {"auc": list(rng.uniform(0.6, 0.8, 5)), "logloss": list(rng.uniform(0.2, 0.4, 5))},
        "rating": {"rmse": list(rng.uniform(0.8, 1.2, 5))},
    }
    html = page(make_record("mmoe", values))

    def shown(numbers):
        return f"{np.mean(numbers):.4f} ± {np.std(numbers, ddof=1):.4f}"

    means = [f"{np.mean(values[task][metric]):.4f}" for task, metric in (("click", "auc"), ("rating", "rmse"))]
    assert row(main_tables(html)[0], "mmoe")[3:5] == means
    test, valid = metric_tables(html)[:2]
    assert test[0] == ["Model", "auc ↑", "logloss ↓"]
    assert test[1][1:] == [shown(values["click"]["auc"]), shown(values["click"]["logloss"])]
    assert valid[1][1:] == [shown(np.add(numbers, 0.01)) for numbers in values["click"].values()]


@pytest.mark.parametrize(("value", "shown"), [(1234.5678, "1,234.6"), (0.00012345, "1.23e-04"), (0.0, "0.0000")])
def test_large_and_tiny_numbers_keep_their_digits(page, make_record, value, shown):
    assert row(main_tables(page(make_record("mmoe", {"spend": {"rmse": [value]}})))[0], "mmoe")[3] == shown


def test_the_same_records_give_the_same_bytes(tmp_path, make_record):
    made = [make_record("ple"), make_record("mmoe"), make_record("mmoe", settings={"experts": 4})]
    pages = []
    for name, order in (("a", made), ("b", made[::-1])):
        for each in order:
            store.write(each, tmp_path / name)
        pages += [read(build(tmp_path / name, tmp_path / name / "site").parent) for _ in range(2)]
    assert all(each == pages[0] for each in pages)
    assert str(tmp_path) not in "".join(pages[0].values())


def test_everything_from_a_record_is_escaped(site, make_record):
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    tasks = [{"name": evil, "metric": "auc"}]
    made = make_record(
        evil, {evil: {"auc": [0.5, None]}}, tasks=tasks, settings={evil: evil}, undefined={f"{evil}.auc.test.1": evil},
        bounds={"constant": {evil: {"auc": 0.5}}, evil: {evil: {"auc": 0.6}}},
        measured={"warnings": [evil], "environment": {evil: evil}, "device": evil},
    )  # fmt: skip
    dataset = made.recipe.dataset.model_copy(update={"name": evil, "settings": {evil: evil}, "files": {evil: evil}})
    other = make_record(
        evil, {evil: {"auc": [0.5, 0.6]}}, tasks=tasks, dataset=dataset.model_dump(), training={evil: evil}
    )
    pages = site(made, other, make_record(evil, {evil: {"auc": [0.5, None]}}, settings={evil: "b"}))
    assert len(pages) == 7  # of three records, two groups and a model, and the first
    for html in pages.values():
        tags = Parser(html).tags
        scripts = [attributes.get("src") for tag, attributes in tags if tag == "script"]
        assert scripts in (["theme.js", "board.js"], ["../theme.js", "../board.js"])
        assert "img" not in {tag for tag, _ in tags}
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "style"]
        assert html.count("&lt;script&gt;alert(1)") > 3


def test_the_pages_ask_for_nothing_outside_themselves(site, tmp_path, make_record):
    pages = site(make_record("mmoe"), make_record("mmoe", settings={"experts": 4}), make_record("an/../other <name>"))
    out = tmp_path / "records" / "site"
    ids = {}
    for name, html in pages.items():
        found = [attributes["id"] for _, attributes in Parser(html).tags if "id" in attributes]
        assert len(found) == len(set(found))
        ids[(out / name).resolve()] = set(found)
    for name, html in pages.items():
        parsed = Parser(html)
        for attributes in [attributes for _, attributes in parsed.tags if {"src", "href"} & attributes.keys()]:
            address = attributes.get("src") or attributes["href"]
            if address == "data:,":
                continue
            path, _, place = unquote(address).partition("#")
            target = (out / name).parent.joinpath(path).resolve() if path else (out / name).resolve()
            assert target.is_file()
            assert tmp_path in target.parents
            assert not place or place in ids[target]
        heads = [attributes for tag, attributes in parsed.tags if tag == "th"]
        assert all(attributes.get("scope") in {"row", "col", "rowgroup"} for attributes in heads)
    style = (out / "style.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe: recipe["dataset"]["settings"].update(threshold=3),
        lambda recipe: recipe["dataset"].update(version=2),
        lambda recipe: recipe["dataset"]["files"].update({"u.data": "0" * 64}),
        lambda recipe: recipe["split"]["settings"].update(by="random"),
        lambda recipe: recipe["split"]["fingerprints"].update(test="dd"),
        lambda recipe: recipe["metrics"]["auc"].update(version=2),
        lambda recipe: recipe["metrics"]["auc"]["provenance"].update(distribution="another"),
        lambda recipe: recipe["tasks"][0].update(column="clicked"),
    ],
)
def test_records_that_cannot_be_compared_share_no_table(page, make_record, change):
    first = make_record("mmoe")
    recipe = first.recipe.model_dump(mode="json")
    change(recipe)
    recipe["model"]["name"] = "ple"
    second = make_record(**{key: value for key, value in recipe.items() if key != "model"} | {"model": "ple"})
    tables = main_tables(page(first, second))
    assert len(tables) == 2
    assert sorted(table[1][0].split()[0] for table in tables) == ["mmoe", "ple"]


def test_what_may_be_compared_shares_a_table_and_is_told_apart(page, make_record):
    usual = {"max_epochs": 5, "batch_size": 2048, "learning_rate": 0.001, "select": "mean"}
    html = page(
        make_record("mmoe", {"click": {"auc": [0.8, 0.81]}}, settings={"experts": 16, "dropout": 0.1}),
        make_record("mmoe", {"click": {"auc": [0.7, 0.71]}}, settings={"experts": 8, "dropout": 0.1}, training=usual),
        make_record("ple", {"click": {"auc": [0.6, 0.61]}}, training={**usual, "learning_rate": 0.01}),
    )
    (table,) = main_tables(html)
    names = sorted(cells[0] for cells in table[1:4])
    assert names == ["mmoe experts 16", "mmoe experts 8", "ple training.learning_rate 0.01"]


CODE = {"distribution": "mtbench", "version": "0.1.0", "sha256": "5d41402abc4b2a76b9719d911017c592"}
TUNED = {"kind": "tuned", "sampler": "tpe", "pruner": "median", "seed": 1000}
SPACE = {"model.experts": {"low": 2, "high": 16, "log": False}, "training.learning_rate": [0.001, 0.01], "balancer": []}


def test_what_a_sweep_chose_tells_no_rows_apart_but_its_budget_does(page, make_record):
    def tuned(model, experts, rate, balancer, trials):
        return make_record(
            model,
            settings={"experts": experts, "levels": 1},
            training={"max_epochs": 5, "learning_rate": rate},
            balancer={"name": balancer, "settings": {}, "provenance": CODE},
            budget=TUNED | {"trials": trials, "space": SPACE},
        )

    same = [tuned("mmoe", 4, 0.001, "equal", 20), tuned("mmoe", 6, 0.01, "dwa", 20)]
    assert [set(each) for each in differences(same)] == [set(), set()]
    other = [*same, tuned("ple", 4, 0.001, "equal", 40), make_record("ple", training={"max_epochs": 5})]
    found = differences(other)
    assert found[2]["budget"] == "tuned, 40 trials (tpe, pruner median, seed 1000)"
    assert found[3]["budget"] == "default settings"
    text = page(tuned("mmoe", 4, 0.001, "equal", 20), make_record("ple"))
    assert "Tuned, 20 trials (tpe, pruner median, seed 1000)" in text
    assert "Default settings" in text


def test_a_metric_of_two_versions_has_two_columns(page, make_record):
    first = make_record("mmoe", {"click": {"auc": [0.7, 0.8], "gauc": [0.61, 0.62]}})
    metrics = first.recipe.model_dump(mode="json")["metrics"]
    metrics["gauc"]["version"] = 2
    second = make_record("ple", {"click": {"auc": [0.7, 0.8], "gauc": [0.63, 0.64]}}, metrics=metrics)
    tables = metric_tables(page(first, second))
    assert tables[0][0] == ["Model", "auc ↑", "gauc (v1) ↑", "gauc (v2) ↑"]
    assert [cells[3] for cells in tables[0][1:3]] == [f"{UNDEFINED} 2", "0.6350 ± 0.0071"]


def test_two_contents_of_one_key_are_two_rows(page, make_record):
    first = make_record("mmoe", {"click": {"auc": [0.7, 0.71, 0.72]}})
    second = make_record("mmoe", {"click": {"auc": [0.6, 0.61, 0.62]}})
    assert first.key == second.key
    (table,) = main_tables(page(first, second))
    assert {cells[3] for cells in table[1:]} == {"0.7100", "0.6100"}
    for made in (first, second):
        assert sum(f"record {made.file_stem[-16:]}" in cells[0] for cells in table) == 1


def test_rows_are_ordered_by_the_mean_improvement(page, make_record):
    bounds = {
        "constant": {"click": {"auc": 0.5}, "rating": {"rmse": 2.0}},
        "optimum": {"click": {"auc": 0.9}, "rating": {"rmse": 0.5}},
    }

    def make(model, auc, rmse):
        return make_record(model, {"click": {"auc": auc}, "rating": {"rmse": rmse}}, bounds=bounds)

    html = page(
        make("a", [0.75] * 5, [1.5] * 5),  # (0.5 + 0.25) / 2
        make("b", [0.6] * 5, [1.0] * 5),  # (0.2 + 0.5) / 2
        make("c", [0.7] * 5, [1.0] * 5),  # (0.4 + 0.5) / 2
        make("d", [0.9, 0.9, 0.9, 0.9, None], [0.1] * 5),
    )
    (table,) = main_tables(html)
    assert [(cells[0], cells[2]) for cells in table[1:]] == [
        ("c", "45.0"),
        ("a", "37.5"),
        ("b", "35.0"),
        ("d", UNDEFINED),
        ("constant predictor", "0.0"),
        ("optimum", "77.5"),
    ]
    assert table[-1][3:5] == ["0.9000", "0.5000"]


def test_without_a_constant_predictor_rows_are_ordered_by_name(page, make_record):
    html = page(make_record("b", {"click": {"auc": [0.9]}}), make_record("a", {"click": {"auc": [0.6]}}))
    assert [cells[0].split()[0] for cells in main_tables(html)[0][1:]] == ["a", "b"]
    assert "ordered by name" in html


def test_the_undefined_is_a_dash_with_its_reason(page, make_record):
    made = make_record(
        "mmoe", {"click": {"auc": [0.7, None, 0.8]}}, undefined={"click.auc.test.1": "only the value 0 among 12 rows"}
    )
    html = page(made)
    assert row(main_tables(html)[0], "mmoe")[3] == f"{UNDEFINED} 1"
    assert "click auc on test: seed 1: only the value 0 among 12 rows</li>" in html
    assert "0.75" not in html


def test_what_a_model_says_of_itself_is_shown_as_the_mean_over_seeds_at_the_chosen_epoch(site, make_record):
    def run(entropy, share):
        return {
            "chosen": {"click": 1},
            "valid": {"click": [0.6, 0.7]},
            "loss": {"click": [0.5, 0.4]},
            "seconds": [1.0, 1.0],
            "statistics": {
                "entropy": [0.9, entropy],
                "load/click/0": [0.5, share],
                "load/click/1": [0.5, 1 - share],
            },
        }

    runs = {"0": run(0.25, 0.125), "1": run(0.75, 0.375)}
    made = make_record("grec", {"click": {"auc": [0.7, 0.71]}}, measured={"seeds": runs})
    tables = Parser(site(made)[f"records/{made.file_stem}.html"]).tables
    assert any(["entropy", "0.5"] in table for table in tables)
    assert [["", "0", "1"], ["click", "0.250", "0.750"]] in tables


def test_inputs_are_told_by_name_and_settings(site, make_record):
    asked = {
        "name": "recent",
        "settings": {"length": 20, "features": True},
        "provenance": {"distribution": "elsewhere", "version": "2.0", "sha256": "ab" * 32},
        "version": 2,
        "transductive": False,
    }
    values = {"click": {"auc": [0.7, 0.71]}}
    made = make_record("grec", values, inputs={"warmup": 0.0, "asked": [asked], "given": []})
    given = make_record("home", values, inputs={"warmup": 0.0, "asked": [], "given": [asked]})
    pages = site(made, given, make_record("mmoe", values), make_record("ple", values), make_record("cgc", values))
    tables = Parser(pages[f"records/{made.file_stem}.html"]).tables
    html = next(html for name, html in pages.items() if name.startswith("data/"))
    assert any(["inputs.asked", "recent length=20 features=true"] in table for table in tables)
    assert any(["inputs.asked.code", "elsewhere abababab"] in table for table in tables)
    names = {cells[0].split()[0]: cells[0] for cells in main_tables(html)[0] if cells[0]}
    assert names["home"] == "home + recent"
    assert "inputs" not in names["grec"]  # its settings say it
    assert "inputs" not in names["mmoe"]


def test_fewer_than_five_seeds_are_unranked(page, make_record):
    bounds = {"constant": {"click": {"auc": 0.5}}}
    four, five = (make_record("m", {"click": {"auc": [0.7] * seeds}}, bounds=bounds) for seeds in (4, 5))
    html = page(four, five)
    assert "unranked: 4 seeds, 5 are needed</li>" in html
    (table,) = main_tables(html)
    assert sorted(cells[1] for cells in table[1:3]) == ["unranked 1", "unranked 2"]
    assert "unranked: not resampled; mtbench compare does it where its predictions are</li>" in html


def test_a_damaged_file_is_named_and_left_out(site, tmp_path, make_record):
    site(make_record("mmoe"), make_record("ple"))
    records = tmp_path / "records"
    (records / "broken.json").write_text("{")
    (records / "folder.json").mkdir()
    changed = next(path for path in records.glob("*.json") if path.is_file() and '"ple"' in path.read_text())
    changed.write_text(changed.read_text().replace("0.74", "0.99"))
    pages = site()
    html = pages.pop("index.html")
    assert [cells[0] for cells in main_tables("".join(pages.values()))[0][1:]] == ["mmoe"]
    problems = re.findall(
        r"<li>(.*?)</li>", re.search(r'<aside class="note problem">.*?</aside>', html, re.DOTALL).group()
    )
    assert [problem.partition(":")[0] for problem in problems] == sorted([changed.name, "broken.json", "folder.json"])
    assert "its name is not the hash of its content" in "".join(problems)


def test_a_record_that_lacks_what_it_names_is_shown_with_gaps(page, make_record):
    made = make_record("mmoe", {"click": {"auc": [0.7, 0.8]}})
    gaps = made.model_copy(
        update={
            "results": {},
            "bounds": {"constant": {}},
            "measured": made.measured.model_copy(update={"seeds": {}, "flops_per_row": None}),
        }
    )
    html = page(gaps)
    assert [cells[3] for cells in main_tables(html)[0][1:]] == [f"{UNDEFINED} 1", f"{UNDEFINED} 2"]


def test_an_empty_folder_says_how_to_make_a_record(site):
    (html,) = site().values()
    assert "mtbench run experiment.yaml" in html
    assert Parser(html).tables == []


def test_record_files_are_linked_and_lie_there(site, tmp_path, make_record):
    made = make_record("mmoe")
    html = site(made)[f"records/{made.file_stem}.html"]
    (link,) = re.findall(r'href="([^"#]+\.json)"', html)
    assert (tmp_path / "records" / "site" / "records" / link).resolve().is_file()


def test_folders_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(MTBenchError, match="no such folder of records"):
        build(tmp_path / "absent", tmp_path / "site")
    (tmp_path / "site").write_text("")
    with pytest.raises(MTBenchError, match="the page cannot be written"):
        build(tmp_path, tmp_path / "site")


REPORT_MODULES = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "


def run(*arguments, code=""):
    command = [
        sys.executable,
        "-c",
        code + "from mtbench.cli import main; main()",
        "board",
        "build",
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_the_path_and_loads_no_heavy_library(tmp_path, make_record):
    store.write(make_record("mmoe"), tmp_path)
    done = run("--records", tmp_path, "--out", tmp_path / "out", code=REPORT_MODULES)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'out' / 'index.html'}\n")
    assert (tmp_path / "out" / "index.html").is_file()
    loaded = set(done.stderr.split())
    assert "jinja2" in loaded
    assert not {"torch", "pandas", "pytorch_lightning", "torchmetrics", "dgl"} & loaded


def test_a_missing_folder_is_a_users_mistake(tmp_path):
    done = run("--records", tmp_path / "absent")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
