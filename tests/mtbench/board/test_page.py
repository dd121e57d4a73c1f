from __future__ import annotations

import re
import subprocess
import sys
from urllib.parse import unquote

import pytest

from mtbench.board.page import build
from mtbench.errors import MTBenchError
from mtbench.record import store
from tests.mtbench.board.conftest import Parser, main_tables, read


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
        "provenance": {"distribution": "elsewhere", "sha256": "ab" * 32},
        "version": 2,
        "transductive": False,
    }
    values = {"click": {"auc": [0.7, 0.71]}}
    made = make_record("grec", values, inputs={"warmup": 0.0, "asked": [asked], "pooled": []})
    pooled = make_record("home", values, inputs={"warmup": 0.0, "asked": [], "pooled": [asked]})
    pages = site(made, pooled, make_record("mmoe", values), make_record("ple", values), make_record("cgc", values))
    tables = Parser(pages[f"records/{made.file_stem}.html"]).tables
    html = next(html for name, html in pages.items() if name.startswith("data/"))
    assert any(["inputs.asked", "recent length=20 features=true"] in table for table in tables)
    assert any(["inputs.asked.code", "elsewhere abababab"] in table for table in tables)
    names = {cells[0].split()[0]: cells[0] for cells in main_tables(html)[0] if cells[0]}
    assert names["home"] == "home + recent"
    assert "inputs" not in names["grec"]  # its settings say it
    assert "inputs" not in names["mmoe"]


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
    with pytest.raises(MTBenchError, match="cannot be written"):
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
