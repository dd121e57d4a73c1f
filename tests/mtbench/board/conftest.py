"""Sites made from records, and what their pages say."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mtbench.board.page import build
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
