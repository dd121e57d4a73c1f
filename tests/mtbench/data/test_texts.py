from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from mtbench.errors import MTBenchError
from mtbench.schema import Schema, Split

ROWS = 60
ITEM = np.arange(ROWS) % 6
CLICK = np.arange(ROWS) // 6 % 2
SCHEMA = {"tasks": ("click",), "features": ("x",), "item": "item"}


@pytest.fixture
def texts_of(prepared, dataset_of):
    """Return the texts by raw item of a table with the given title of each row."""

    def make(titles, time=None):
        columns = {"item": ITEM + 100, "x": CLICK * 0 + ITEM % 2, "click": CLICK, "title": pa.array(titles)}
        if time is not None:
            columns["time"] = time
        schema = Schema(**SCHEMA, texts=("title",), time=None if time is None else "time")
        dataset = dataset_of(pa.table(columns), schema)
        split = Split(by="random" if time is None else "time", valid=0.2, test=0.2)
        columns = prepared(dataset, split, source=str(titles))
        number = columns.identity("item")
        raw = columns.row_ids(columns.everything())
        texts = columns.text("title").to_pylist()
        assert len(texts) == number.max() + 1
        return {int(ITEM[row]): texts[item] for row, item in zip(raw, number, strict=True)}

    return make


def test_each_item_has_its_text(texts_of):
    assert texts_of([f"title {item}" for item in ITEM]) == {item: f"title {item}" for item in range(6)}


def test_an_item_without_text_has_none(texts_of):
    titles = [None if item == 2 else "same" for item in ITEM]
    assert texts_of(titles) == {item: None if item == 2 else "same" for item in range(6)}


def test_the_text_is_the_first_known_one_in_time_not_in_the_file(texts_of):
    time = np.arange(ROWS)[::-1] // 2
    titles = [f"{item} at {at}" if at > 3 else None for item, at in zip(ITEM, time, strict=True)]
    first = {item: min(int(at) for row, at in zip(ITEM, time, strict=True) if row == item and at > 3) for item in ITEM}
    assert texts_of(titles, time) == {int(item): f"{item} at {at}" for item, at in first.items()}


def test_a_text_may_be_dictionary_encoded(texts_of):
    titles = pa.array([f"title {item}" for item in ITEM]).dictionary_encode()
    assert texts_of(titles)[3] == "title 3"


def test_items_that_only_earlier_events_know_have_no_text(prepared, dataset_of):
    table = pa.table(
        {"user": ITEM, "item": ITEM, "x": ITEM % 2, "click": CLICK, "title": [f"t{item}" for item in ITEM]}
    )
    dataset = dataset_of(table, Schema(**SCHEMA, user="user", texts=("title",)))
    earlier = pa.table({"user": [0], "item": [7], "click": [1]})
    dataset.earlier_events = lambda files: earlier  # noqa: ARG005
    texts = prepared(dataset, Split(by="random", valid=0.2, test=0.2)).text("title").to_pylist()
    assert texts == [f"t{item}" for item in range(6)] + [None]


@pytest.mark.parametrize(
    ("column", "message"),
    [("tittle", r"no text 'tittle' \(did you mean 'title'\?\); its texts are: title"), ("x", "no text 'x'; its texts")],
)
def test_an_unknown_text_is_refused(prepared, dataset_of, column, message):
    table = pa.table({"item": ITEM, "x": ITEM % 2, "click": CLICK, "title": ["a"] * ROWS})
    columns = prepared(dataset_of(table, Schema(**SCHEMA, texts=("title",))))
    with pytest.raises(MTBenchError, match=message):
        columns.text(column)


@pytest.mark.parametrize(
    ("title", "message"),
    [(None, "has no column 'title'"), ([["a"]] * ROWS, "column 'title' holds list<.*>, which is no text")],
)
def test_a_text_must_be_a_column_of_text(prepared, dataset_of, title, message):
    table = pa.table({"item": ITEM, "x": ITEM % 2, "click": CLICK} | ({"title": title} if title else {}))
    with pytest.raises(MTBenchError, match=message):
        prepared(dataset_of(table, Schema(**SCHEMA, texts=("title",))))


@pytest.mark.parametrize("known_after", [{"outcomes": ("review",)}, {"truth": {"click": "review"}}])
def test_a_text_known_after_the_event_is_refused(known_after):
    with pytest.raises(ValidationError, match="text 'review' is known only after the event"):
        Schema(**SCHEMA, texts=("review",), **known_after)
    with pytest.raises(ValidationError, match="text 'click' is known only after the event"):
        Schema(**SCHEMA, texts=("click",))


def test_texts_need_items():
    with pytest.raises(ValidationError, match="name the column of the item's id"):
        Schema(tasks=("click",), texts=("title",))
