from __future__ import annotations

import pytest

from mtbench.data.dataset import DatasetConfig
from mtbench.errors import MTBenchError
from mtbench_datasets import raw_files
from mtbench_datasets.ali_ccp import AliCCP

SKELETON, COMMON = "sample_skeleton_train.csv", "common_features_train.csv"


def features(*entries):
    return "\x01".join(f"{field}\x02{number}\x03{value}" for field, number, value in entries)


def impression(sample, click, conversion, index, *entries):
    return f"{sample},{click},{conversion},{index},{len(entries)},{features(*entries)}"


def common(index, *entries):
    return f"{index},{len(entries)},{features(*entries)}"


ANN = common("aa", ("101", 31319, "1.0"), ("124", 3, "1.0"), ("109_14", 77, "2.39790"), ("109_14", 78, "0.69315"))
NOBODY = common("bb", ("129", 4, "1.0"))
FILES = {
    SKELETON: [
        impression(1, 0, 0, "aa", ("205", 900, "1.0"), ("206", 50, "1.0"), ("508", 60, "0.69315"), ("301", 9, "1.0")),
        impression(2, 0, 1, "aa", ("205", 901, "1.0")),
        impression(3, 1, 0, "bb", ("216", 902, "1.0"), ("853", 10, "1.0"), ("853", 11, "1.0")),
        impression(4, 1, 1, "aa", ("205", 903, "1.0"), ("124", 8, "1.0")),
    ],
    COMMON: [ANN, NOBODY],
    "sample_skeleton_test.csv": [impression(1, 1, 0, "aa", ("205", 904, "1.0"))],
    "common_features_test.csv": [common("aa", ("101", 5, "1.0"))],
}


def dataset():
    return AliCCP(DatasetConfig())


def test_impressions_meet_their_common_features(placed, check_features):
    table = dataset().load(placed(dataset(), FILES))
    first, second, third, fourth = table.to_pylist()
    assert [(r["click"], r["conversion"], r["split"]) for r in (first, second, third, fourth)] == [
        (0, 0, "train"), (1, 0, "train"), (1, 1, "train"), (1, 0, "test"),
    ]  # fmt: skip
    assert {name: value for name, value in first.items() if value is not None} == {
        "click": 0, "conversion": 0, "split": "train", "user_id": 31319, "gender": 3, "item_id": 900, "category": 50,
        "category_history": [60], "position": 9,
    }  # fmt: skip
    assert (second["user_id"], second["geography"], second["item_id"], second["brand"]) == (None, 4, None, 902)
    assert (fourth["user_id"], fourth["item_id"]) == (5, 904)
    check_features(dataset(), table)


def test_a_common_field_goes_before_the_own(placed):
    table = dataset().load(placed(dataset(), FILES))
    assert table["gender"].to_pylist() == [3, None, 3, None]


@pytest.mark.parametrize("batch_bytes", [64, 1 << 20])
def test_all_ids_of_a_field_that_comes_several_times_are_a_list(placed, monkeypatch, batch_bytes):
    monkeypatch.setattr(raw_files, "_BATCH_BYTES", batch_bytes)
    skeleton = [
        *FILES[SKELETON],
        impression(5, 0, 0, "cc", ("853", 12, "1.0"), ("205", 9, "1.0"), ("853", 12, "1.0"), ("853", 7, "1.0")),
        impression(6, 0, 0, "cc", ("205", 9, "1.0")),
    ]
    shared = common("cc", ("853", 1, "1.0"), ("702", 5, "1.0"), ("853", 2, "1.0"))
    table = dataset().load(placed(dataset(), FILES | {SKELETON: skeleton, COMMON: [ANN, NOBODY, shared]}))
    assert table["intention_history"].to_pylist() == [None, [10, 11], None, [1, 2, 12, 12, 7], [1, 2], None]
    assert table["brand_history"].to_pylist() == [None, None, None, [5], [5], None]
    assert table["category_history"].to_pylist() == [[60], None, None, None, None, None]
    kinds = {feature.name: feature.kind for feature in dataset().schema().features}
    assert {name for name, kind in kinds.items() if kind == "multi"} == {
        "category_history", "shop_history", "brand_history", "intention_history",
    }  # fmt: skip


def test_the_same_id_twice_is_one(placed):
    twice = impression(1, 0, 0, "aa", ("205", 900, "1.0"), ("206", 7, "1.0"), ("205", 900, "1.0"))
    table = dataset().load(placed(dataset(), FILES | {SKELETON: [twice]}))
    assert (table["item_id"][0].as_py(), table["category"][0].as_py()) == (900, 7)


@pytest.mark.parametrize("batch_bytes", [256, 1 << 20])
def test_pieces_of_the_file_give_the_same_rows(placed, monkeypatch, batch_bytes):
    monkeypatch.setattr(raw_files, "_BATCH_BYTES", batch_bytes)
    lines = [impression(i, i % 2, 0, "ab"[i % 3 == 0] * 2, ("205", 1000 + i, "1.0")) for i in range(300)]
    table = dataset().load(placed(dataset(), FILES | {SKELETON: lines}))
    assert table["item_id"].to_pylist() == [*range(1000, 1300), 904]
    assert table["user_id"].to_pylist() == [*(None if i % 3 == 0 else 31319 for i in range(300)), 5]
    assert table["click"].to_pylist() == [*(i % 2 for i in range(300)), 1]
    broken = [*lines, impression(7, 3, 0, "aa", ("205", 1, "1.0"))]
    with pytest.raises(MTBenchError, match="column 'click', row 301: found 3, expected 0 or 1"):
        dataset().load(placed(dataset(), FILES | {SKELETON: broken}))


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (SKELETON, [FILES[SKELETON][0], "5,0,0,aa,1"], "Row #2: Expected 6 columns, got 5"),
        (SKELETON, ["sample_id,click,conversion,index,num,list"], "column 'click', row 1: .*'click'"),
        (SKELETON, ["1,0,0,aa,1,205:900:1.0"], "column 'feature_list', row 1: found '205:900:1.0', expected FIELD"),
        (
            SKELETON,
            [FILES[SKELETON][0], f"2,0,0,aa,2,{features(('205', 9, '1.0'), ('206', 10**12, '1.0'))}"],
            "column 'feature_list', row 2: found '206.*1000000000000",
        ),
        (
            SKELETON,
            [FILES[SKELETON][0], impression(2, 0, 0, "aa", ("205", 9, "1.0"), ("206", 1, "1.0"), ("205", 8, "1.0"))],
            r"column 'feature_list', row 2: found the ids 9 and 8 of field 205 \(item_id\), expected one",
        ),
        (
            COMMON,
            [NOBODY, common("aa", ("125", 1, "1.0"), ("125", 2, "1.0"))],
            r"column 'feature_list', row 2: found the ids 1 and 2 of field 125 \(age\), expected one",
        ),
        (SKELETON, [impression(1, 0, 0, "cc", ("205", 9, "1.0"))], None),
        (COMMON, [ANN, "bb,1"], "Row #2: Expected 3 columns, got 2"),
        (COMMON, [ANN, NOBODY, NOBODY], "column 'common_feature_index': 'bb' occurs twice"),
    ],
)
def test_an_unexpected_file_is_refused(placed, name, lines, message):
    if message is None:
        name, message, lines = COMMON, "column 'common_feature_index': 'cc' is among the interactions", {name: lines}
    else:
        lines = {name: lines}
    with pytest.raises(MTBenchError, match=rf"{name}: (.*: )?{message}"):
        dataset().load(placed(dataset(), FILES | lines))


def test_rows_without_a_user_are_prepared(placed, prepared):
    def lines(count):
        return [
            impression(i, i % 2, int(i % 4 == 1), "ab"[i % 3 == 0] * 2, ("205", 1000 + i % 9, "1.0"))
            for i in range(count)
        ]

    test = {"sample_skeleton_test.csv": lines(40), "common_features_test.csv": [ANN, NOBODY]}
    placed(dataset(), FILES | {SKELETON: lines(200)} | test)
    columns = prepared(dataset())
    assert columns.counts == {"train": 180, "valid": 20, "test": 40, "warmup": 0}
    assert columns.open_test().labels.mean(0).tolist() == [0.5, 0.25]
    assert columns.meta["users"] == 2
    assert columns.spec.categorical["user_id"] == 3  # unknown, missing, Ann
