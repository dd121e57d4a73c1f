from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtbench_metrics.ties import tie_blocks

FEW = st.sampled_from([0.125, 0.25, 0.5, 0.75])
ROWS = st.lists(st.tuples(st.sampled_from([-7, 0, 1, 2, 1 << 62]), FEW, st.integers(0, 1)), min_size=1, max_size=30)


def plain(rows):
    """Every block by counting: (group, prediction, size, positives, above, positives above)."""
    blocks = []
    for number, group in enumerate(sorted({group for group, _, _ in rows})):
        of_group = [(pred, label) for one, pred, label in rows if one == group]
        for pred in sorted({pred for pred, _ in of_group}, reverse=True):
            same = [label for one, label in of_group if one == pred]
            above = [label for one, label in of_group if one > pred]
            blocks.append((number, pred, len(same), sum(same), len(above), sum(above)))
    return blocks


def listed(blocks):
    return list(zip(*(column.tolist() for column in blocks), strict=True))


@given(ROWS)
def test_blocks_are_those_of_counting(rows):
    groups, preds, target = (torch.tensor(column) for column in zip(*rows, strict=True))
    blocks = tie_blocks(preds.double(), target.double(), groups)
    assert listed(blocks) == plain(rows)
    assert blocks.per_group(blocks.size).tolist() == np.unique(groups, return_counts=True)[1].tolist()


@given(ROWS, st.randoms())
def test_no_block_depends_on_the_order_of_rows(rows, random):
    shuffled = random.sample(rows, len(rows))
    first, second = (
        listed(tie_blocks(*(torch.tensor([row[at] for row in one]).double() for at in (1, 2)),
                          torch.tensor([row[0] for row in one])))
        for one in (rows, shuffled)
    )  # fmt: skip
    assert first == second


@given(ROWS)
def test_without_groups_all_rows_are_one(rows):
    blocks = tie_blocks(*(torch.tensor([row[at] for row in rows]).double() for at in (1, 2)))
    assert listed(blocks) == plain([(0, pred, label) for _, pred, label in rows])
