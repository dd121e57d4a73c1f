"""No row is given anything of its own chunk or a later one, on generated tables."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtbench.errors import MTBenchError
from mtbench.schema import Split
from mtbench.testing.inputs import Generated, find_leaks, generate_table
from mtbench_inputs.rates import Rates, RatesConfig
from mtbench_inputs.recent import Recent, RecentConfig
from mtbench_inputs.text import Text, TextConfig

FOLDERS = count()
INPUTS = {
    "recent": (Recent(RecentConfig(length=5, item_length=3, features=True)), 6),
    "rates": (Rates(RatesConfig()), 6),
    "text": (Text(TextConfig(column="title", encoder="hashed", width=32)), 9),
}
"""An input, and the last chunk from which labels are changed."""
SPLITS = ("time", "random", "random without time")


@pytest.mark.parametrize("name", INPUTS)
@given(seed=st.integers(0, 2**32 - 1), by=st.sampled_from(SPLITS), data=st.data())
@settings(max_examples=500)
def test_no_row_is_given_anything_of_its_chunk_or_a_later_one(tmp_path_factory, name, seed, by, data):
    input_, last = INPUTS[name]
    chunk = data.draw(st.integers(0, last))
    rng = np.random.default_rng(seed)
    table = generate_table(rng, int(rng.integers(40, 200)), 8, 6, timed=by != "random without time")
    split = Split(by=by.split()[0], valid=0.15, test=0.15)
    folder = tmp_path_factory.getbasetemp() / f"law-{next(FOLDERS)}"
    try:
        changed = find_leaks(input_, Generated(table), split, chunk, folder)
    except MTBenchError:
        assume(False)
    assert changed == []
