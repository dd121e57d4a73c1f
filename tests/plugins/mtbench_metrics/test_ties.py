from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtbench_metrics import ties

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


@pytest.fixture(autouse=True, params=[ties.PART, 2], ids=["whole", "in parts"], scope="module")
def _part(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ties, "PART", request.param)
        patch.setattr(ties, "SPAN", 4 * request.param)
        yield


def listed(rows, *, grouped=True):
    """Return the blocks of all parts, groups numbered on from part to part."""
    groups, preds, target = (torch.tensor(column) for column in zip(*rows, strict=True))
    blocks, before = [], 0
    for part in ties.rank(preds.double(), target.double(), groups if grouped else None):
        blocks += zip((part.group + before).tolist(), *(column.tolist() for column in part[1:]), strict=True)
        before += int(part.group[-1]) + grouped
        assert part.per_group(part.size).sum() == part.size.sum()
    return blocks


@given(ROWS)
def test_blocks_are_those_of_counting(rows):
    assert listed(rows) == plain(rows)


@given(ROWS, st.randoms())
def test_no_block_depends_on_the_order_of_rows(rows, random):
    assert listed(random.sample(rows, len(rows))) == listed(rows)


@given(ROWS)
def test_without_groups_all_rows_are_one(rows):
    assert listed(rows, grouped=False) == plain([(0, pred, label) for _, pred, label in rows])


@pytest.mark.parametrize("style", ["logits", "probabilities", "ids"])
def test_no_part_is_much_larger_than_it_should_be(style, monkeypatch):
    """Then the time grows as the rows do."""
    monkeypatch.setattr(ties, "PART", 256)
    rng = np.random.default_rng(3)
    values, key = rng.normal(0, 3, 10_000), ties._descend
    if style == "probabilities":
        values = 1 / (1 + np.exp(-values))
    elif style == "ids":
        values, key = rng.integers(0, 2000, 10_000), np.asarray
    parts = [key(part) for (part,) in ties.deal([values], values, key)]
    assert max(map(len, parts)) < 2 * ties.PART
    assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(key(values)))
    assert all(one.max() < other.min() for one, other in pairwise(parts))
