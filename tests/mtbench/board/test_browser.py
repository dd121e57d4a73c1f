"""The site in a browser, from files: needs Playwright and a Chromium that the system has."""

from __future__ import annotations

import shutil

import pytest

from mtbench.board.page import build
from mtbench.record import store

sync_api = pytest.importorskip("playwright.sync_api")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EXECUTABLE = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason=f"no browser: none of {', '.join(NAMES)} is on the path")

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
CHANCE = {"constant": {"click": {"auc": 0.5}, "buy": {"auc": 0.5}}}
SPACE = {"model.experts": {"low": 2, "high": 16, "log": False}}
TUNING = {
    "trials": [
        {"settings": {"model.experts": 2 + at}, "ended": ended, "score": score, "epochs": 4, "seconds": 0.9}
        for at, (ended, score) in enumerate([("finished", 0.1), ("pruned", None), ("finished", 0.2)])
    ],
    "best": 2,
}


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Return a function that opens a file; in the end it asserts that no page asked for more or complained."""
    asked, complaints, contexts = [], [], []

    def open_(path, *, viewport=DESKTOP, **options):
        context = chromium.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}


@pytest.fixture
def board(tmp_path, make_record):
    """Build a site of five records of one dataset, one of which is tuned and one has a pooled input."""
    pooled = {
        "name": "recent", "settings": {}, "version": 1, "transductive": False,
        "provenance": {"distribution": "mtbench", "sha256": "ab" * 16},
    }  # fmt: skip

    def make(model, click, buy, seconds, measured=None, **changes):
        values = {"click": {"auc": [click] * 5}, "buy": {"auc": [buy] * 5}}
        measured = {"seconds": seconds} | (measured or {})
        store.write(make_record(model, values, bounds=CHANCE, measured=measured, **changes), tmp_path / "records")

    make("single-task", 0.70, 0.74, 12.0)
    make("mmoe", 0.73, 0.71, 9.0)
    make("ple", 0.72, 0.75, 100.0)
    make("mgoe", 0.71, 0.76, 30.0, inputs={"warmup": 0.0, "asked": [], "pooled": [pooled]})
    budget = {"kind": "tuned", "trials": 3, "sampler": "tpe", "pruner": "none", "seed": 1000, "space": SPACE}
    make("aitm", 0.74, 0.77, 50.0, {"tuning": TUNING}, budget=budget)
    return build(tmp_path / "records", tmp_path / "site").parent


def data_page(board):
    (path,) = (board / "data").glob("*.html")
    return path


def shown(page):
    """Return the models in the rows that can be seen, in their order."""
    rows = page.locator("table.results tbody:not(.bounds) tr:not(.heading)")
    return [row.locator("th a").inner_text() for row in rows.all() if row.is_visible()]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_a_click_on_a_head_sorts_within_the_headings_and_says_so(visit, board, viewport):
    page = visit(data_page(board), viewport=viewport)
    assert shown(page) == ["aitm", "mgoe", "ple", "mmoe", "single-task"]
    seconds = page.locator("table.results th", has_text="Seconds")
    seconds.get_by_role("button").click()
    assert seconds.get_attribute("aria-sort") == "ascending"
    assert shown(page) == ["aitm", "mmoe", "single-task", "mgoe", "ple"]
    seconds.get_by_role("button").click()
    assert seconds.get_attribute("aria-sort") == "descending"
    assert shown(page) == ["aitm", "ple", "mgoe", "single-task", "mmoe"]
    click = page.locator("table.results th", has_text="click")
    click.get_by_role("button").press("Enter")
    assert page.locator("th[aria-sort]").count() == 1
    assert shown(page) == ["aitm", "mmoe", "ple", "mgoe", "single-task"]
    page.locator("table.results th", has_text="Model").get_by_role("button").click()
    assert shown(page) == ["aitm", "mgoe", "mmoe", "ple", "single-task"]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_rows_are_filtered_by_words_and_by_kind(visit, board, viewport):
    page = visit(data_page(board), viewport=viewport)
    page.get_by_label("Filter").fill("PLE")
    assert shown(page) == ["ple"]
    assert page.locator("form.filter output").inner_text() == "1 of 5 rows"
    assert not page.locator(".heading", has_text="Tuned").is_visible()
    page.get_by_label("Filter").fill("")
    page.get_by_label("default").uncheck()
    assert shown(page) == ["aitm"]
    page.get_by_label("default").check()
    page.get_by_label("with pooled inputs only").check()
    assert shown(page) == ["mgoe"]
    page.get_by_label("with pooled inputs only").uncheck()
    page.get_by_label("ranked only").check()
    assert shown(page) == []


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_links_lead_from_the_first_page_to_a_record_and_back(visit, board, viewport):
    page = visit(board / "index.html", viewport=viewport)
    page.locator("#datasets a").first.click()
    page.wait_for_url("**/data/*.html")
    page.locator("table.results").get_by_role("link", name="mmoe").click()
    page.wait_for_url("**/records/*.html")
    assert page.locator("h1").inner_text() == "mmoe on movielens-100k"
    page.locator("h1 a").first.click()
    page.wait_for_url("**/models/mmoe.html")
    page.get_by_role("link", name="mtbench board").click()
    page.wait_for_url("**/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"


def test_the_theme_is_the_systems_until_one_is_chosen_and_is_kept(visit, board):
    def ground(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = "rgb(251, 251, 250)", "rgb(20, 23, 26)"
    assert ground(visit(board / "index.html", color_scheme="light")) == light
    page = visit(board / "index.html", color_scheme="dark")
    assert ground(page) == dark
    page.get_by_label("Theme").select_option("light")
    assert ground(page) == light
    page.goto(data_page(board).as_uri())
    assert ground(page) == light
    assert page.get_by_label("Theme").input_value() == "light"
    page.get_by_label("Theme").select_option("auto")
    assert ground(page) == dark


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_no_page_is_wider_than_the_screen(visit, board, viewport):
    for path in sorted(board.rglob("*.html")):
        page = visit(path, viewport=viewport)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path
        page.context.close()


def test_without_javascript_everything_can_be_read(visit, board):
    page = visit(data_page(board), java_script_enabled=False)
    assert shown(page) == ["aitm", "mgoe", "ple", "mmoe", "single-task"]
    assert not page.locator("form.filter").is_visible()
    assert not page.locator("label.theme").is_visible()
    page.locator("summary", has_text="On test and validation").click()
    assert page.get_by_role("region", name="click, test rows").is_visible()


def test_markup_in_every_text_of_a_record_stays_text(visit, tmp_path, make_record):
    def poisoned(value):
        if isinstance(value, dict):
            return {f"{key}{EVIL}": poisoned(inside) for key, inside in value.items()}
        return EVIL if isinstance(value, str) else [*map(poisoned, value)] if isinstance(value, list) else value

    part = {"distribution": EVIL, "sha256": EVIL}
    plugin = {"name": EVIL, "settings": poisoned({"a": {"b": "c"}, "d": ["e"]}), "provenance": part}
    run = {
        "chosen": {EVIL: 1}, "valid": {EVIL: [0.6, 0.7]}, "loss": {EVIL: [0.5, 0.4]}, "seconds": [1.5, 1.25],
        "statistics": {EVIL.replace("/", ""): [0.5] * 2, f"{EVIL.replace('/', '')}/a/b": [0.5] * 2},
    }  # fmt: skip
    space = {EVIL: [EVIL], "a": {"low": EVIL, "high": EVIL}}
    trial = {"settings": {EVIL: EVIL, "a": [EVIL]}, "ended": "finished", "score": 0.2, "epochs": 4, "seconds": 0.9}
    made = make_record(
        EVIL,
        {EVIL: {"auc": [0.7] * 5}},
        tasks=[{"name": EVIL, "metric": "auc", "given": EVIL, "column": EVIL}],
        bounds={"constant": {EVIL: {"auc": 0.5}}, EVIL: {EVIL: {"auc": 0.6}}},
        undefined={EVIL: EVIL},
        settings=plugin["settings"],
        baseline=EVIL,
        engine=part,
        balancer=plugin,
        dataset=plugin | {"version": 1, "files": {EVIL: EVIL}},
        split={"settings": {EVIL: EVIL}, "rows": {EVIL: 1}, "fingerprints": {EVIL: EVIL}},
        inputs={"warmup": 0.1, "asked": [], "pooled": [plugin | {"version": 1, "transductive": True}]},
        training={EVIL: EVIL},
        budget={"kind": "tuned", "sampler": EVIL, "pruner": EVIL, "space": space},
        benchmark={"name": EVIL, "sha256": EVIL},
        measured={
            "created": EVIL, "environment": {EVIL: EVIL}, "versions": {EVIL: EVIL}, "device": EVIL, "warnings": [EVIL],
            "tuning": {"trials": [trial], "best": 0}, "seeds": {str(seed): run for seed in range(5)},
        },
    )  # fmt: skip
    store.write(made, tmp_path / "records")
    (tmp_path / "records" / "<img src=x onerror=alert(1)>.json").write_text("{")
    site = build(tmp_path / "records", tmp_path / "site").parent
    paths = sorted(site.rglob("*.html"))
    assert len(paths) == 4
    for path in paths:
        page = visit(path)
        assert page.locator("img").count() == 0
        assert page.locator("script:not([src])").count() == 0
        assert "<script>alert(1)</script>" in page.locator("main").inner_text()
        page.context.close()
