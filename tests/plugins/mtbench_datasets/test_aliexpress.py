from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from mtbench.errors import MTBenchError
from mtbench_datasets.aliexpress import AliExpress, AliExpressConfig

CATEGORICAL = [f"categorical_{i}" for i in range(1, 17)]
NUMERIC = [f"numerical_{i}" for i in range(1, 64)]
HEADER = ",".join(["search_id", *CATEGORICAL, *NUMERIC, "click", "conversion"])


def row(search, click=0, conversion=0, first=8, numeric="0.5"):
    cells = [search, first, *range(15), numeric, *(i / 8 for i in range(61)), 0, click, conversion]
    return ",".join(str(cell) for cell in cells)


TRAIN = [HEADER, row(3), row(3, click=1, first=9, numeric="0.10526300000000001"), row(4, click=1, conversion=1)]
TEST = [HEADER, row(3, click=1, first=7)]


def dataset(**settings):
    return AliExpress(AliExpressConfig(**settings))


def test_cells_arrive_under_their_names(placed, check_features):
    table = dataset().load(placed(dataset(), {"train.csv": TRAIN, "test.csv": TEST}))
    rows = table.to_pylist()
    assert [(r["click"], r["conversion"], r["split"]) for r in rows] == [
        (0, 0, "train"), (1, 0, "train"), (1, 1, "train"), (1, 0, "test"),
    ]  # fmt: skip
    assert [r["categorical_1"] for r in rows] == [8, 9, 8, 7]
    assert [rows[0][f"categorical_{i}"] for i in range(2, 17)] == list(range(15))
    assert rows[1]["numerical_1"] == pytest.approx(0.105263)
    assert [rows[0][f"numerical_{i}"] for i in range(2, 63)] == [i / 8 for i in range(61)]
    check_features(dataset(), table)


@pytest.mark.parametrize("country", ["NL", "ES", "FR", "US"])
def test_each_country_has_its_folder(country):
    mirrors = [source.mirror for source in dataset(country=country).sources()]
    assert mirrors == [f"aliexpress/AliExpress_{country}/{part}.csv" for part in ("train", "test")]


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("train.csv", [HEADER.replace("numerical_63,", ""), TRAIN[1]], "row 1: there is no column numerical_63"),
        ("train.csv", [HEADER, f"{TRAIN[1]},0"], "Row #2: Expected 82 columns, got 83"),
        ("test.csv", [HEADER, row(3), row(3, first="shoe")], "column 'categorical_1', row 3: .*'shoe'"),
        ("test.csv", [HEADER, row(3, numeric="")], "column 'numerical_1', row 2: found None, expected a value"),
        ("train.csv", [HEADER, row(3, click=2)], "column 'click', row 2: found 2, expected 0 or 1"),
        ("train.csv", [HEADER, row(3), row(3, conversion=1)], "column 'conversion', row 3: found 1, expected 0 where"),
    ],
)
def test_an_unexpected_file_is_refused(placed, name, lines, message):
    files = placed(dataset(), {"train.csv": TRAIN, "test.csv": TEST} | {name: lines})
    with pytest.raises(MTBenchError, match=rf"{name}: (.*: )?{message}"):
        dataset().load(files)


def test_the_official_test_rows_stay_test(placed, prepared):
    def rows(count):
        return [HEADER, *(row(i, i % 2, int(i % 4 == 1), first=i % 5, numeric=i % 7) for i in range(count))]

    placed(dataset(), {"train.csv": rows(200), "test.csv": rows(40)})
    columns = prepared(dataset())
    assert columns.counts == {"train": 180, "valid": 20, "test": 40, "warmup": 0}
    test = columns.open_test()
    np.testing.assert_array_equal(np.sort(columns.row_ids(test)), np.arange(200, 240))
    assert test.labels.mean(0).tolist() == [0.5, 0.25]
    assert len(columns.spec.categorical) == 16
    assert len(columns.spec.numeric) == 63


def test_of_a_list_the_country_is_the_domain(placed, prepared):
    def rows(count, shift):
        return [HEADER, *(row(i, (i + shift) % 2, int((i + shift) % 4 == 1), first=i % 5) for i in range(count))]

    several = dataset(country=["US", "NL"])
    counts = {"US-train.csv": 100, "US-test.csv": 20, "NL-train.csv": 60, "NL-test.csv": 40}
    placed(several, {name: rows(count, shift) for shift, (name, count) in enumerate(counts.items())})
    assert [source.mirror for source in several.sources()] == [
        f"aliexpress/AliExpress_{country}/{part}.csv" for country in ("US", "NL") for part in ("train", "test")
    ]
    columns = prepared(several)
    assert (columns.schema.domain, columns.spec.domains) == ("country", 3)
    test = columns.open_test()
    of_row = ["US"] * 120 + ["NL"] * 100
    assert columns.domains(test).to_pylist() == [of_row[row] for row in columns.row_ids(test)]
    assert {one["domain"]: one["train"] + one["valid"] for one in columns.count_domains()} == {"US": 100, "NL": 60}
    assert {one["domain"]: one["test"] for one in columns.count_domains()} == {"US": 20, "NL": 40}
    assert dataset().schema().domain is None


def test_a_list_of_countries_names_each_once():
    with pytest.raises(ValidationError, match="NL is named twice; name each once"):
        dataset(country=["NL", "FR", "NL"])
    with pytest.raises(ValidationError, match="at least 1 item"):
        dataset(country=[])
