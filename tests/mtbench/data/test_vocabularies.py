"""What the gates say of how values are written."""

from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest

from mtbench.schema import Feature
from tests.mtbench.data.conftest import ROWS, TIMES

pytestmark = pytest.mark.usefixtures("cache_folder")
MULTI = Feature(name="raw", kind="multi")


def cycle(values):
    return pa.array([values[row * 7 % 11 % len(values)] for row in range(ROWS)])


@pytest.fixture
def said(simple, prepared):
    """Return what the gates say of a column under a schema, as (gate, message)."""

    def say(values, schema=None, **settings):
        dataset = simple({"raw": values, "x": TIMES * 0}, {"features": ("x", "raw")} | (schema or {}), **settings)
        findings = prepared(dataset, source=repr((values, schema, settings))).findings
        assert all(finding.level == "warn" for finding in findings)
        return [(finding.gate, finding.message) for finding in findings if finding.gate != "equal-rows"]

    return say


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["NL", "ES", "nl"], "'NL' and 'nl'"),
        (["NL", "ES", "NL "], "'NL' and 'NL '"),
        (["New York", "Paris", "new  york", "NEW\tYORK"], "'NEW\\tYORK' and 'New York' and 'new  york'"),
        (["Caf\u00e9", "Bar", "Cafe\u0301"], "'Cafe\u0301' and 'Caf\u00e9'"),
        (["7", "8", "7.0"], "'7' and '7.0'"),
        (["a", "A", "b", "B", "c", "C"], "'A' and 'a' (2 more such)"),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_values_that_are_written_in_two_ways_are_named(said, values, named, listed):
    column = cycle([[value] for value in values] if listed else values)
    ((gate, message),) = said(column, {"features": ("x", MULTI)} if listed else None)
    assert gate == "alike-values"
    assert message.startswith(f"feature 'raw' has {named}, which are different values; write them alike")


@pytest.mark.parametrize(
    "values", [["NL", "ES"], ["7", "07", "70"], ["1.5", "15"], [1, 2, None], ["straw", "berry"], [True, False]]
)
def test_values_that_differ_are_not(said, values):
    assert said(cycle(values)) == []


def test_the_domain_is_looked_at_and_ids_are_not(said):
    values = cycle(["aB", "ab", "c"])
    assert [gate for gate, _ in said(values, {"features": ("x",), "domain": "raw"})] == ["alike-values"]
    assert said(values, {"features": ("x",), "user": "raw"}) == []
    assert said(values, {"features": ("x", "raw"), "item": "raw"}) == []


@pytest.mark.parametrize(
    ("lists", "said_of"),
    [
        ([['["a", "b"]'], ['["a"]'], ["[]"], ["b"]], "3 of 4 values, such as '[\"a\", \"b\"]'"),
        ([['["drama"', '"comedy"]'], ["war"]], "2 of 3 values, such as '[\"drama\"'"),
        ([["'drama'", "'war'"], ["comedy"]], "2 of 3 values, such as \"'drama'\""),
        ([["('drama', 'war')"], ["comedy"]], "1 of 2 values"),
        ([["{drama,war}"], ["comedy"]], "1 of 2 values"),
    ],
)  # fmt: skip
def test_brackets_and_quotes_in_lists_are_named(said, lists, said_of):
    ((gate, message),) = said(cycle(lists), {"features": ("x", Feature(name="tags", kind="multi", column="raw"))})
    assert gate == "bracketed-values"
    assert f"feature 'tags' (column 'raw') has brackets or quotes in {said_of}" in message


@pytest.mark.parametrize("lists", [[["drama", "rock 'n' roll"]], [["'90s", "it's"]], [["Sci-Fi (TV)", '5" disk']]])
def test_brackets_and_quotes_within_values_are_not(said, lists):
    assert said(cycle(lists), {"features": ("x", MULTI)}) == []


RNG = np.random.default_rng(1)
FRACTIONS = RNG.random(ROWS)
DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=int(day)) for day in RNG.permutation(ROWS)]
NUMBER, COUNT, TIME, ID = (
    "almost certainly a number: declare it `kind: numeric`",
    "declare it `kind: numeric`, or leave it out if it numbers the rows",
    "almost certainly a time: name it under 'time'",
    "leave it out if it is an id of the row",
)
UNIQUE = {
    "numbers": (pa.array(FRACTIONS), NUMBER),
    "numbers in text": (pa.array([repr(float(number)) for number in FRACTIONS]), NUMBER),
    "decimals": (pa.array([decimal.Decimal(int(number * 1e6)) / 100 for number in FRACTIONS]), NUMBER),
    "numbers, some missing": (pa.array(FRACTIONS, mask=FRACTIONS < 0.3), NUMBER),
    "numbers of two digits": (pa.array([f"{number:.2f}" for number in FRACTIONS]), NUMBER),
    "exponents": (pa.array([f"{number:.5e}" for number in FRACTIONS]), NUMBER),
    "counts": (pa.array(RNG.integers(10_000, size=ROWS)), COUNT),
    "counts in text": (pa.array([str(number) for number in RNG.integers(10_000, size=ROWS)]), COUNT),
    "whole numbers as floats": (pa.array(RNG.integers(10_000, size=ROWS).astype(float)), COUNT),
    "days": (pa.array(DAYS), TIME),
    "days in text": (pa.array([day.isoformat() for day in DAYS]), TIME),
    "days as in Germany": (pa.array([day.strftime("%d.%m.%Y") for day in DAYS]), TIME),
    "ids": (pa.array([f"impression-{row}" for row in range(ROWS)]), ID),
}


@pytest.mark.parametrize(("values", "what"), UNIQUE.values(), ids=UNIQUE)
def test_a_column_with_a_value_for_every_row_is_named(said, values, what):
    ((gate, message),) = said(values)
    assert gate == "unique-values"
    assert message.startswith("feature 'raw' is categorical and has ")
    assert what in message
    assert said(values, acknowledged=["raw"]) == said(values, acknowledged=["unique-values"]) == []


@pytest.mark.parametrize(
    "values",
    [
        pa.array(RNG.integers(100, size=ROWS)),
        pa.array([f"shop-{shop}" for shop in RNG.integers(200, size=ROWS)]),
        pa.array([f"{stars / 2}" for stars in RNG.integers(11, size=ROWS)]),
        pa.array([f"{row}" if row < 30 else None for row in range(ROWS)]),
    ],
    ids=["few integers", "many words", "half stars", "few values in all"],
)
def test_a_column_whose_values_come_back_is_not(said, values):
    assert said(values) == []


def test_ids_and_numeric_features_may_be_as_many_as_rows(said):
    values = pa.array(FRACTIONS)
    assert said(values, {"features": ("x",), "user": "raw"}) == []
    assert said(values, {"features": ("x", Feature(name="raw", kind="numeric"))}) == []
