from __future__ import annotations

import gzip
import os

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mtbench.data.dataset import DatasetConfig
from mtbench.data.sources import locate
from mtbench.errors import MTBenchError
from mtbench_datasets.census_income import CensusIncome

# The first line of the training file, column by column.
LINE = (
    "73, Not in universe, 0, 0, High school graduate, 0, Not in universe, Widowed, Not in universe or children, "
    "Not in universe, White, All other, Female, Not in universe, Not in universe, Not in labor force, 0, 0, 0, "
    "Nonfiler, Not in universe, Not in universe, Other Rel 18+ ever marr not in subfamily, "
    "Other relative of householder, 1700.09, ?, ?, ?, Not in universe under 1 year old, ?, 0, Not in universe, "
    "United-States, United-States, United-States, Native- Born in the United States, 0, Not in universe, 2, 0, 95, "
    "- 50000."
)
TRAIN, TEST = "census-income.data.gz", "census-income.test.gz"


def with_cells(**cells):
    parts = LINE.split(", ")
    for at, value in cells.items():
        parts[int(at[1:])] = value
    return ", ".join(parts)


def load(folder, train, test=LINE):
    files = {TRAIN: folder / TRAIN, TEST: folder / TEST}
    for name, text in ((TRAIN, train), (TEST, test)):
        files[name].write_bytes(gzip.compress(f"{text}\n".encode()))
    return CensusIncome(DatasetConfig()).load(files)


@pytest.fixture(scope="module")
def real():
    """Return the dataset's raw files and its table."""
    if not os.environ.get("MTBENCH_DATA"):
        pytest.skip("MTBENCH_DATA is unset: no Census-Income files")
    dataset = CensusIncome(DatasetConfig())
    files = {source.name: locate(source) for source in dataset.sources()}
    return files, dataset.load(files).to_pandas()


def test_cells_arrive_under_their_names(tmp_path):
    changed = with_cells(c7="Never married", c11="NA", c18="1200", c41="50000+.")
    train, test = load(tmp_path, f"{LINE}\n{changed}", LINE).to_pylist()[1:]
    assert (train["split"], test["split"]) == ("train", "test")
    assert (train["income"], train["marital"], test["income"], test["marital"]) == (1, 1, 0, 0)
    assert train["hisp_origin"] == "NA"
    assert train["mig_prev_sunbelt"] is None
    assert (train["stock_dividends"], train["age"], train["year"], train["weeks_worked"]) == (1200, 73, 95, 0)
    assert train["det_hh_summ"] == "Other relative of householder"


def test_targets_and_weight_are_no_features():
    schema = CensusIncome(DatasetConfig()).schema()
    names = {feature.source for feature in schema.features}
    assert len(names) == 39
    assert not names & {"marital_stat", "income_50k", "instance_weight", "income", "marital", "split"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LINE}\n{LINE}, 1", "Row #2: Expected 42 columns, got 43"),
        (f"{LINE}\n{with_cells(c0='old')}", "column 'age', row 2"),
        (with_cells(c41="50000"), "column 'income_50k', row 1: found '50000'"),
        (with_cells(c10="?"), "column 'race', row 1: found None"),
    ],
)
def test_an_unexpected_file_is_refused(tmp_path, text, message):
    with pytest.raises(MTBenchError, match=rf"data\.gz: (.*: )?{message}"):
        load(tmp_path, text)


def test_real_columns_equal_what_pandas_reads(real):
    files, table = real
    schema = CensusIncome(DatasetConfig()).schema()
    names = [*(f.source for f in schema.features)]
    position = dict(zip(names, [i for i in range(41) if i not in (7, 24)], strict=True))
    raw = pd.concat(
        pd.read_csv(files[name], header=None, skipinitialspace=True, keep_default_na=False, na_values=["?"])
        for name in (TRAIN, TEST)
    )
    raw = raw.apply(lambda column: column.str.strip() if pd.api.types.is_string_dtype(column) else column)
    for name in names:
        expected, values = raw[position[name]].to_numpy(), table[name].to_numpy()
        assert ((expected == values) | (pd.isna(expected) & pd.isna(values))).all(), name
    assert ((raw[7] == "Never married").to_numpy() == table["marital"].to_numpy()).all()
    assert raw[11].eq("NA").sum() == table["hisp_origin"].eq("NA").sum() == 874 + 405


def test_the_card_tells_the_truth(real):
    files, table = real
    card = CensusIncome.card
    assert len(table) == card.rows
    assert table["split"].value_counts().to_dict() == {"train": 199_523, "test": 99_762}
    for task, rate in card.positive_rates.items():
        assert table[task].mean() == pytest.approx(rate, abs=1e-6)
    train, test = (
        pd.read_csv(files[name], header=None, keep_default_na=False).drop(columns=24) for name in (TRAIN, TEST)
    )
    known = set(pd.util.hash_pandas_object(train, index=False))
    assert pd.util.hash_pandas_object(test, index=False).isin(known).mean() == pytest.approx(0.268, abs=5e-4)


def test_acknowledged_are_the_columns_that_predict_a_label_alone(real):
    _, table = real
    train = table[table["split"] == "train"]
    half = np.random.default_rng(0).random(len(train)) < 0.5
    strong = set()
    for feature in CensusIncome(DatasetConfig()).schema().features:
        codes = pd.factorize(train[feature.source], use_na_sentinel=False)[0]
        for task in ("income", "marital"):
            rates = train[task][half].groupby(codes[half]).mean()
            score = pd.Series(codes[~half]).map(rates).fillna(train[task].mean())
            if roc_auc_score(train[task][~half], score) > 0.895:
                strong.add(feature.name)
    assert strong == set(CensusIncome.card.acknowledged)
