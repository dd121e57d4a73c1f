"""What training rows are given depends on training rows alone, and what validation rows are given not on test rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from mtbench.inputs.interactions import collect_interactions, collect_rows
from mtbench.schema import Feature, Split
from mtbench.testing.inputs import TASKS, Generated, InMemory, generate_table
from mtbench_inputs.full_graph import FullGraph, FullGraphConfig
from mtbench_inputs.macro_graph import MacroGraph, MacroGraphConfig
from mtbench_inputs.rates import Rates, RatesConfig
from mtbench_inputs.recent import Recent, RecentConfig
from mtbench_inputs.text import Text, TextConfig

ROWS, USERS, ITEMS = 400, 12, 9
MACRO = {"user_clusters": 4, "item_clusters": 3, "rank": 3, "neighbors": 4}
INPUTS = {
    "recent": Recent(RecentConfig(length=5, item_length=3, features=True)),
    "rates": Rates(RatesConfig()),
    "macro-graph": MacroGraph(MacroGraphConfig(**MACRO)),
    "macro-graph of columns": MacroGraph(MacroGraphConfig(**MACRO, user_column="club", item_column="shelf")),
    "text": Text(TextConfig(column="title", encoder="hashed", width=16)),
    "full-graph": FullGraph(FullGraphConfig(width=4)),
}


def visits(rng, timed):
    """Return rows with the part of each; the first ones train and have every user and item but the last."""
    table = generate_table(rng, ROWS, USERS - 1, ITEMS - 1, timed=timed != "no time")
    every = np.arange(USERS * ITEMS)
    table.loc[every, ["user", "item"]] = np.column_stack([every % USERS, every // USERS]).clip(
        max=[USERS - 2, ITEMS - 2]
    )
    table["part"] = rng.choice(["train", "valid", "test"], ROWS, p=[0.6, 0.2, 0.2])
    table.loc[every, "part"] = "train"
    if timed == "in order":
        order = table["part"].map({"train": 0, "valid": 1, "test": 2}).to_numpy()
        table.loc[np.argsort(order, kind="stable"), "time"] = np.arange(ROWS)
    elif timed == "mixed":
        table["time"] = rng.permutation(ROWS) // 2
    table.loc[rng.random(ROWS) < 0.8, "title"] = None  # so that some items have a text in held-out rows alone
    return table.assign(price=rng.normal(size=ROWS), tags=[[int(tag)] for tag in rng.integers(5, size=ROWS)])


def change(table, part, rng):
    """Return the table with everything of the rows of a part drawn anew, times far away and new nodes among it."""
    changed, rows = table.copy(), np.flatnonzero(table["part"] == part)
    drawn = pd.DataFrame({
        "user": rng.integers(USERS, size=len(rows)),
        "item": rng.integers(ITEMS, size=len(rows)),
        "club": rng.integers(9, size=len(rows)),
        "shelf": rng.integers(9, size=len(rows)),
        "title": [f"new {number}" for number in rng.integers(99, size=len(rows))],
        "price": np.where(rng.random(len(rows)) < 0.5, np.nan, 1e9),
        "tags": [[int(tag)] * 3 for tag in rng.integers(99, size=len(rows))],
    })  # fmt: skip
    if "time" in table:
        drawn["time"] = table["time"].to_numpy()[rows] + rng.integers(1000, 10**6)
        changed["time"] = changed["time"].astype(np.int64)
    for task in TASKS:
        drawn[task] = rng.integers(2, size=len(rows))
    for column in drawn:
        values = changed[column].to_numpy().astype(drawn[column].to_numpy().dtype)
        values[rows] = drawn[column]
        changed[column] = values
    return changed


def prepare(table):
    schema = Generated(table).schema()
    more = (Feature(name="price", kind="numeric"), Feature(name="tags", kind="multi", of="item"))
    schema = schema.model_copy(update={"split": "part", "features": (*schema.features, *more)})
    return InMemory(table, schema).prepare(Split(by="official"))


def give(input_, columns, folder, rows):
    """Return everything that rows are given, by name."""
    folder.mkdir()
    input_.build(collect_interactions(columns), collect_rows(columns), columns, folder)
    opened = input_.open(folder)
    taken = opened.take(rows)
    pooled, numbers = opened.pool(taken)
    given = taken._asdict()
    for name, (values, offsets) in pooled.items():
        given |= {f"pooled {name}": values, f"lengths of {name}": offsets}
    return given | ({} if numbers is None else {"pooled numbers": numbers})


@pytest.mark.parametrize("timed", ["in order", "mixed", "no time"])
@pytest.mark.parametrize("name", INPUTS)
def test_what_rows_are_given_depends_on_no_row_of_a_later_part(tmp_path, name, timed):
    rng = np.random.default_rng(5)
    table = visits(rng, timed)
    columns = prepare(table)
    counts = columns.counts
    train, valid = torch.arange(counts["train"]), torch.arange(counts["train"], counts["train"] + counts["valid"])
    cases = {
        "validation": (change(change(table, "test", rng), "valid", rng), train),
        "test": (change(table, "test", rng), torch.cat([train, valid])),
    }
    for which, (changed, rows) in cases.items():
        again = prepare(changed)
        assert np.array_equal(again.row_ids(again.everything())[rows], columns.row_ids(columns.everything())[rows])
        before = give(INPUTS[name], columns, tmp_path / f"{which}-before", rows)
        after = give(INPUTS[name], again, tmp_path / f"{which}-after", rows)
        differing = [part for part, values in before.items() if not torch.equal(values, after[part])]
        assert not differing, which


@pytest.mark.parametrize("timed", ["in order", "mixed", "no time"])
def test_codes_scales_and_constants_are_learned_from_training_rows_alone(timed):
    rng = np.random.default_rng(5)
    table = visits(rng, timed)
    columns, again = prepare(table), prepare(change(change(table, "test", rng), "valid", rng))
    assert columns.spec == again.spec
    assert columns.constants() == again.constants()
    before, after = columns.train.whole(), again.train.whole()
    for name in ("rows", "categorical", "numeric", "labels", "mask"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name
    for one, other in zip(before.multi["tags"], after.multi["tags"], strict=True):
        assert torch.equal(one, other)


def test_the_rows_that_changed_are_given_something_else(tmp_path):
    rng = np.random.default_rng(5)
    table = visits(rng, "mixed")
    columns, again = prepare(table), prepare(change(table, "test", rng))
    test = torch.arange(sum(columns.counts.values()) - columns.counts["test"], sum(columns.counts.values()))
    for name, input_ in INPUTS.items():
        before = give(input_, columns, tmp_path / f"{name}-before", test)
        after = give(input_, again, tmp_path / f"{name}-after", test)
        assert any(not torch.equal(values, after[part]) for part, values in before.items()), name
