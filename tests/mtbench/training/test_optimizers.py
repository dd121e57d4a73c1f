from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import mtbench
from mtbench.training.optimizers import RowWise

ROWS, WIDTH = 12, 3
OPTIONS = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-12}


def table(seed=0):
    return nn.Parameter(torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def looked_up(weight, rows, seed):
    """A loss of some rows, some of them twice; its gradient is sparse."""
    targets = torch.randn(len(rows), WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (functional.embedding(torch.tensor(rows), weight, sparse=True) - targets).square().sum()


def trained(optimizer, weight, steps):
    for seed, rows in enumerate(steps):
        optimizer.zero_grad()
        looked_up(weight, rows, seed).backward()
        optimizer.step()
    return weight.detach()


steps_of_rows = st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=8), min_size=1, max_size=6)


@given(steps_of_rows)
@settings(max_examples=60)
def test_row_adam_is_torchs_sparse_adam(steps):
    mine, theirs = table(), table()
    found = trained(RowWise([{"params": [mine], "rule": "row-adam"}], **OPTIONS), mine, steps)
    expected = trained(torch.optim.SparseAdam([theirs], **OPTIONS), theirs, steps)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # it adds eps before the correction of bias


@given(steps_of_rows)
@settings(max_examples=60)
def test_row_adagrad_is_torchs_adagrad(steps):
    mine, theirs = table(), table()
    found = trained(RowWise([{"params": [mine], "rule": "row-adagrad"}], **OPTIONS), mine, steps)
    expected = trained(torch.optim.Adagrad([theirs], lr=0.1, eps=1e-12), theirs, steps)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_row_adam_is_adam_with_weight_decay_where_every_row_is_looked_up_in_every_step():
    mine, theirs = table(), table()
    steps = [list(range(ROWS))] * 5
    found = trained(RowWise([{"params": [mine], "rule": "row-adam"}], **OPTIONS, weight_decay=0.3), mine, steps)
    adam = torch.optim.Adam([theirs], **OPTIONS, weight_decay=0.3)
    for seed, rows in enumerate(steps):
        adam.zero_grad()
        looked_up(theirs, rows, seed).backward()
        theirs.grad = theirs.grad.to_dense()
        adam.step()
    torch.testing.assert_close(found, theirs.detach(), rtol=0, atol=1e-10)


def test_other_groups_are_adams():
    weight, mine, theirs = table(1), table(2), table(2)
    optimizer = RowWise([{"params": [mine]}, {"params": [weight], "rule": "row-adam"}], **OPTIONS)
    adam = torch.optim.Adam([theirs], **OPTIONS)
    for seed in range(4):
        for one, each in ((optimizer, mine), (adam, theirs)):
            one.zero_grad()
            (each.square().sum() + looked_up(weight, [seed], seed)).backward()
            one.step()
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("rule", ["row-adam", "row-adagrad"])
def test_a_step_leaves_rows_alone_that_it_did_not_look_up(rule):
    weight = table()
    before = weight.detach().clone()
    trained(RowWise([{"params": [weight], "rule": rule}], **OPTIONS, weight_decay=0.1), weight, [[1, 2], [1, 4]])
    changed = (weight.detach() != before).all(1).nonzero().flatten().tolist()
    assert changed == [1, 2, 4]
    assert torch.equal(weight.detach()[0], before[0])


@pytest.mark.parametrize("rule", ["row-adam", "row-adagrad"])
def test_saved_and_loaded_it_goes_on_with_the_same_bits(rule):
    steps = [[0, 3, 3], [5, 0], [1, 0, 7], [3, 5]]
    whole = table()
    uninterrupted = RowWise([{"params": [whole], "rule": rule}], **OPTIONS)
    trained(uninterrupted, whole, steps)
    expected = trained(uninterrupted, whole, steps)
    first = table()
    optimizer = RowWise([{"params": [first], "rule": rule}], **OPTIONS)
    trained(optimizer, first, steps)
    file = io.BytesIO()
    torch.save({"weights": first.detach(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = nn.Parameter(saved["weights"])
    resumed = RowWise([{"params": [second], "rule": rule}], **OPTIONS)
    resumed.load_state_dict(saved["optimizer"])
    assert torch.equal(trained(resumed, second, steps), expected)


@pytest.mark.parametrize("model", ["mmoe", "single-task", "grec"])
def test_with_all_rows_in_each_step_training_is_adams(small, tmp_path, model):
    small |= {"models": [{"name": model, "embedding_dropout": 0.0, "dropout": 0.0}], "inputs": {"give": ["recent"]}}
    small["training"] |= {"batch_size": 100_000, "max_epochs": 6, "learning_rate": 0.02, "patience": 6}
    found = {}
    for update in ("adam", "row-adam", "row-adagrad"):
        small["training"]["embeddings"] = update
        (written,) = mtbench.run(small, records=tmp_path / update)
        found[update] = written.record.measured.seeds["0"].loss["click"]
    assert found["row-adam"] == pytest.approx(found["adam"], abs=1e-5)
    assert found["row-adagrad"][-1] != pytest.approx(found["adam"][-1], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"balancer": "pcgrad"}, r"'row-adam' and balancer 'pcgrad'.* cannot be used together"),
        ({"training": {"embeddings": "row-adam", "devices": 2}}, r"needs the gradients of one process.*now 2"),
    ],
)
def test_what_cannot_be_combined_is_refused(small, tmp_path, change, message):
    with pytest.raises(mtbench.MTBenchError, match=message):
        mtbench.run(small | {"training": {"embeddings": "row-adam"}} | change, records=tmp_path)
