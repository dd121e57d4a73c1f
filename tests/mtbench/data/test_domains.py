from __future__ import annotations

import datetime as dt
from collections import Counter
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtbench.data import raw
from mtbench.errors import MTBenchError
from mtbench.schema import Feature, Schema, Split

pytestmark = pytest.mark.usefixtures("cache_folder")
ROWS = 60
TEXTS = {
    "texts": ({"a": "a", "b c": "b c", "": ""}, pa.string()),
    "numbers": ({0: "0", 7: "7", -3: "-3"}, pa.int64()),
    "truths": ({True: "true", False: "false"}, pa.bool_()),
    "days": ({dt.date(2022, 5, 7): "2022-05-07", dt.date(2022, 5, 8): "2022-05-08"}, pa.date32()),
    "categories": ({"x": "x", "y": "y"}, pa.dictionary(pa.int8(), pa.large_string())),
}
"""Values of a domain and how they are written, and the type of their column."""


@pytest.fixture
def with_domain(dataset_of):
    """Return a function that makes a dataset of a domain column: ``with_domain(column, schema, ids=False)``."""

    def make(column, schema=None, **changes):
        rng = np.random.default_rng(0)
        rows = len(column)
        columns = {"who": rng.integers(9, size=rows), "x": rng.integers(5, size=rows), "click": np.arange(rows) % 2}
        schema = {"tasks": ("click",), "features": ("x",), "user": "who", "domain": "where"} | (schema or {})
        return dataset_of(pa.table(columns | {"where": column}), Schema(**schema), **changes)

    return make


def parts_of(columns):
    return [columns.train, columns.valid, columns.open_test()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    data=st.data(), kind=st.sampled_from(sorted(TEXTS)), listed=st.booleans(), ids=st.booleans(),
    warmup=st.sampled_from([0.0, 0.3]), block=st.sampled_from([7, 1 << 16]),
)  # fmt: skip
def test_codes_are_those_of_the_feature_and_texts_those_of_the_column(
    with_domain, prepared, data, kind, listed, ids, warmup, block
):
    texts, type_ = TEXTS[kind]
    values = data.draw(st.lists(st.sampled_from([*texts, None]), min_size=ROWS, max_size=ROWS))
    features = ("x", Feature(name="place", column="where", of="item")) if listed else ("x",)
    dataset = with_domain(pa.array(values, type_), {"features": features}, ids=ids)
    source = repr((values, kind, listed))  # what the cache tells datasets apart by
    with mock.patch.object(raw, "BLOCK", block):
        columns = prepared(dataset, Split(by="random", valid=0.2, test=0.2), source=source, warmup=warmup)
    feature = "place" if listed else "where"
    assert list(columns.spec.categorical) == [*["who"] * ids, *([] if listed else ["where"]), "x", *["place"] * listed]
    assert columns.spec.domains == columns.spec.categorical[feature]
    at = list(columns.spec.categorical).index(feature)
    counted = Counter()
    for name, part in zip(("train", "valid", "test"), parts_of(columns), strict=True):
        order = torch.from_numpy(np.random.default_rng(1).permutation(len(part)))
        batch = part.take(order)
        assert torch.equal(batch.domain, batch.categorical[:, at])
        assert torch.equal(batch.domain, part.domain[order])
        assert torch.equal(batch.take(order).domain, batch.domain[order])
        written = [texts.get(values[row]) for row in columns.row_ids(batch)]
        assert columns.domains(batch).to_pylist() == written
        counted.update((text, name) for text in written)
    seen = {(one["domain"], name): one[name] for one in columns.count_domains() for name in ("train", "valid", "test")}
    assert {key: count for key, count in seen.items() if count} == counted
    totals = [sum(one[name] for name in columns.counts) for one in columns.count_domains()]
    assert totals == sorted(totals, reverse=True)
    assert sum(totals) == ROWS


def test_a_dataset_without_domains_has_none(with_domain, prepared):
    columns = prepared(with_domain(["a"] * ROWS, {"domain": None}))
    assert (columns.spec.domains, columns.train.domain, columns.valid.take(torch.arange(3)).domain) == (0, None, None)
    assert columns.domains(columns.train) is None
    assert columns.count_domains() == []


def test_the_domain_may_be_an_id(with_domain, prepared):
    columns = prepared(with_domain(["a", "b"] * (ROWS // 2), {"domain": "who"}, ids=False))
    assert list(columns.spec.categorical) == ["who", "x"]
    who = columns.domains(columns.train).to_pylist()
    assert len(set(zip(who, columns.users(columns.train).tolist(), strict=True))) == len(set(who)) > 1


def test_a_numeric_feature_leaves_its_column_to_be_a_domain(with_domain, prepared):
    number = Feature(name="distance", column="where", kind="numeric")
    columns = prepared(with_domain([1, 2, 3] * (ROWS // 3), {"features": (number,)}))
    assert (list(columns.spec.categorical), columns.spec.numeric) == (["who", "where"], ("distance",))
    with pytest.raises(MTBenchError, match=r"feature 'where' has the name of the domain's column.*rename the feature$"):
        prepared(with_domain([1] * ROWS, {"features": (Feature(name="where", kind="numeric"),)}), source="other")


@pytest.mark.parametrize("listed", [True, False])
def test_a_domain_that_tells_the_label_stops(with_domain, prepared, listed):
    remedy = "remove it from the features and from 'domain'" if listed else "remove it from 'domain'"
    features = ("x", "where") if listed else ("x",)
    column = [f"place {row % 2}" for row in range(400)]
    with pytest.raises(MTBenchError, match=f"feature 'where' alone predicts task 'click' with AUC 1.0000: .*{remedy}"):
        prepared(with_domain(column, {"features": features}))
    with pytest.raises(MTBenchError, match=rf"feature 'where' is known only after the event \(an outcome\); {remedy}"):
        prepared(with_domain(column, {"features": features, "outcomes": ("where",)}))


def test_a_domain_that_is_not_there_gets_a_suggestion(with_domain, prepared):
    with pytest.raises(MTBenchError, match=r"has no column 'wher' \(did you mean 'where'\?\)"):
        prepared(with_domain(["a"] * ROWS, {"domain": "wher"}))
