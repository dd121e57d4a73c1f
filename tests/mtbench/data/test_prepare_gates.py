"""What leak gates find while data are prepared."""

from __future__ import annotations

import os
import re

import numpy as np
import pyarrow as pa
import pytest

from mtbench.errors import MTBenchError
from mtbench.schema import Feature, Split, Task
from mtbench_datasets.census_income import CensusIncome
from tests.mtbench.data.conftest import CLICK, RNG, ROWS, TIMES

pytestmark = pytest.mark.usefixtures("cache_folder")
REAL_DATA = os.environ.get("MTBENCH_DATA", "")

COPIES = {
    "numeric": (Feature(name="leak", kind="numeric", column="raw"), 5 - 3.0 * CLICK),
    "categorical": (Feature(name="leak", column="raw"), np.array(["no", "yes"], object)[CLICK]),
    "multi": (Feature(name="leak", kind="multi", column="raw"), pa.array([["a", str(label)] for label in CLICK])),
    "present where it happened": (
        Feature(name="leak", kind="numeric", column="raw"), pa.array(RNG.random(ROWS), mask=CLICK == 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("feature", "values"), COPIES.values(), ids=COPIES)
def test_a_copied_label_is_refused_by_the_name_that_the_user_wrote(feature, values, simple, prepared):
    with pytest.raises(MTBenchError) as error:
        prepared(simple({"raw": values}, {"features": ("x", feature)}))
    assert "dataset 'given': feature 'leak' (column 'raw') alone predicts task 'click'" in str(error.value)


def test_a_copy_of_a_given_label_is_refused(simple, prepared):
    buy = CLICK * (np.arange(ROWS) % 5 < 2)
    schema = {"tasks": ("click", Task(name="buy", given="click")), "features": ("x", "receipt")}
    with pytest.raises(MTBenchError, match="feature 'receipt' alone predicts task 'buy'"):
        prepared(simple({"buy": buy, "receipt": buy * 2 + 4}, schema))


def test_a_strong_feature_and_equal_rows_warn_in_the_findings(simple, prepared, dataset_of):
    strong = np.where(np.arange(ROWS) % 13 == 0, 1 - CLICK, CLICK)
    dataset = simple({"hint": strong}, {"features": ("x", "hint")})
    columns = prepared(dataset)
    assert [(finding.level, finding.gate) for finding in columns.findings] == [
        ("warn", "strong-feature"), ("warn", "equal-rows"),
    ]  # fmt: skip
    assert "feature 'hint'" in columns.findings[0].message
    known = dataset_of(dataset.table, dataset.schema(), acknowledged=["hint"])
    assert [finding.gate for finding in prepared(known, source="known").findings] == ["equal-rows"]


def test_equal_rows_differ_by_their_lists_and_by_what_is_unknown(simple, prepared):
    tags = pa.array([[row] for row in range(ROWS)])
    columns = prepared(simple({"x": TIMES * 0, "tags": tags}, {"features": ("x", Feature(name="tags", kind="multi"))}))
    # what training does not know is one unknown word, and no training row has it
    assert columns.findings == []
    part = np.full(ROWS, "train", object)
    part[320:360], part[360:] = "valid", "test"
    label = np.where(np.arange(ROWS) < 320, CLICK, np.nan)
    label[[320, 321, 360, 361]] = 0, 1, 0, 1
    dataset = simple({"x": TIMES * 0, "click": pa.array(label), "part": part}, {"split": "part", "time": None})
    findings = prepared(dataset, Split(by="official")).findings
    assert [finding.message.split(" equal")[0] for finding in findings] == ["2 of 40 test rows (5.0%)"]


def test_all_that_stops_is_said_at_once_each_once(simple, prepared):
    copies = {"one": CLICK, "two": 1 - CLICK}
    with pytest.raises(MTBenchError) as error:
        prepared(simple(copies, {"features": ("x", "one", "two")}))
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("dataset 'given': feature '") for line in lines)


def test_a_forbidden_column_is_refused_before_anything_is_loaded(simple, prepared):
    dataset = simple(schema={"features": ("x",), "outcomes": ("x",)})
    with pytest.raises(MTBenchError, match="feature 'x' is known only after the event"):
        prepared(dataset)
    assert dataset.loads == 0


@pytest.mark.skipif("MTBENCH_DATA" not in os.environ, reason="MTBENCH_DATA is not set")
def test_census_income_has_the_strong_columns_and_equal_rows_that_its_card_acknowledges(prepared, monkeypatch):
    monkeypatch.setenv("MTBENCH_DATA", REAL_DATA)
    dataset = CensusIncome(CensusIncome.Config())
    acknowledged = dataset.card.acknowledged
    dataset.card = dataset.card.model_copy(update={"acknowledged": {}})
    *strong, equal = prepared(dataset, dataset.split).findings
    found = dict(
        re.search(r"'(\w+)' alone predicts task 'marital' with AUC ([\d.]+)", each.message).groups() for each in strong
    )
    assert set(found) == set(acknowledged)
    for name, reason in acknowledged.items():
        said = re.search(r"AUC (\.\d+) for marital", reason)[1]
        assert float(found[name]) == pytest.approx(float(said), abs=0.002)
    assert "26729 of 99762 test rows (26.8%)" in equal.message
