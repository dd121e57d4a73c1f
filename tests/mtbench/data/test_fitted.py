"""Lists of rows out of order; what is fitted on training rows is tested where it is prepared and encoded."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtbench.data.fitted import take_lists


@given(st.data())
def test_lists_are_taken_whole_in_the_order_of_the_rows(data):
    lists = data.draw(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=8))
    row = st.integers(0, len(lists) - 1)
    rows = data.draw(st.lists(row, max_size=10)) if lists else []
    lengths = np.array([len(one) for one in lists], np.int64)
    values, picked = take_lists(np.array(rows, np.int64), np.array(sum(lists, []), np.int64), lengths)  # noqa: RUF017
    assert picked.tolist() == [len(lists[at]) for at in rows]
    assert values.tolist() == [value for at in rows for value in lists[at]]
