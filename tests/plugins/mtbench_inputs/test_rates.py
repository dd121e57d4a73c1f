from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtbench.data.prepare import prepare
from mtbench.errors import MTBenchError
from mtbench.inputs.interactions import collect_interactions, collect_rows
from mtbench.schema import Split
from mtbench.testing.inputs import Generated, InMemory, generate_table, give_input
from mtbench_inputs.rates import Rates, RatesConfig


def log_odds(share):
    return math.log(share / (1 - share))


def plain_rates(columns, strength):
    """The numbers of each row, row by row, without events from before the first row."""
    rows, positive = collect_rows(columns), columns.positive()
    rates = []
    for at, chunk in enumerate(rows.chunk):
        earlier = np.flatnonzero(rows.chunk < chunk)
        numbers = []
        for nodes in (rows.user, rows.item):
            own = earlier[nodes[earlier] == nodes[at]]
            p, n = positive[own].sum(0), len(own)
            means = [(total + 1) / (len(earlier) + 2) for total in positive[earlier].sum(0)]
            numbers += [math.log10(1 + n), *(math.log10(1 + count) for count in p)]
            numbers += [
                log_odds((count + strength * m) / (n + strength)) - log_odds(m)
                for count, m in zip(p, means, strict=True)
            ]
        rates.append(numbers)
    return np.array(rates)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1.0, 20.0]))
@settings(max_examples=40)
def test_rates_equal_counts_row_by_row(tmp_path_factory, seed, timed, strength):
    rng = np.random.default_rng(seed)
    table = generate_table(rng, int(rng.integers(40, 120)), 6, 8, timed=timed)
    try:
        columns = prepare("generated", Generated(table), Split(by="time" if timed else "random"), source=str(seed))
    except MTBenchError:
        assume(False)
    parts = give_input(Rates(RatesConfig(strength=strength)), columns, tmp_path_factory.mktemp("rates") / "input")
    np.testing.assert_allclose(parts["numbers"], plain_rates(columns, strength), atol=1e-5)


def test_events_from_before_the_first_row_are_counted_and_are_no_rate(tmp_path):
    table = generate_table(np.random.default_rng(4), 120, 6, 5)
    dataset = Generated(table)
    earlier = pa.table({"user": [0, 0, 0], "item": [1, 1, 2], "click": [True, True, True], "buy": [False, True, False]})
    with_past = InMemory(table, dataset.schema(), earlier)
    without, counted = (
        give_input(Rates(RatesConfig()), source.prepare(Split(by="time")), tmp_path / name)["numbers"]
        for name, source in (("without", dataset), ("with", with_past))
    )
    rows = collect_rows(with_past.prepare(Split(by="time")))
    first = np.flatnonzero((rows.user == rows.user[table.user.to_numpy().argmin()]) & (rows.chunk == 0))
    assert len(first)
    np.testing.assert_allclose(
        counted[first][:, :3], [[0, math.log10(1 + 3), math.log10(1 + 1)]] * len(first), atol=1e-6
    )
    for rate in (3, 4, 8, 9):
        np.testing.assert_array_equal(counted[:, rate], without[:, rate])


def test_any_model_is_given_the_numbers_by_name(tmp_path):
    columns = Generated(generate_table(np.random.default_rng(3), 150, 8, 6)).prepare(Split(by="time"))
    input_ = Rates(RatesConfig())
    tmp_path.joinpath("input").mkdir()
    input_.build(collect_interactions(columns), collect_rows(columns), columns, tmp_path / "input")
    opened = input_.open(tmp_path / "input")
    lists, numbers = opened.pool(opened.take(torch.arange(150)))
    assert not lists
    assert numbers.isfinite().all()
    sizes, names = opened.features()
    assert not sizes
    assert names == tuple(
        f"{node} {name}"
        for node in ("user", "item")
        for name in ("rows", "positives of click", "positives of buy", "rate of click", "rate of buy")
    )
    assert opened.features()[1] == opened.to("cpu").spec.names
    assert pytest.approx(numbers.numpy()) == opened.take(torch.arange(150)).numbers.numpy()
