from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchjd import scalarization

from mtbench.errors import MTBenchError
from mtbench.schema import Task
from mtbench_balancers.losses import (
    COSMOS,
    DWA,
    FAMO,
    IMTLL,
    PBI,
    STCH,
    GeometricMean,
    RandomWeights,
    Uncertainty,
)

TASKS = (Task(name="click"), Task(name="buy"), Task(name="rating", kind="regression"))
LEARNED = {Uncertainty: "log_var", IMTLL: "log_scale"}
ALL = (Uncertainty, IMTLL, DWA, FAMO, GeometricMean, RandomWeights, STCH, COSMOS, PBI)

positive = st.lists(st.floats(1e-3, 10), min_size=3, max_size=3)


def build(cls, tasks=TASKS, **settings):
    return cls(cls.Config(**settings), tasks)


def gradient(balancer, losses: list[float]) -> torch.Tensor:
    leaf = torch.tensor(losses, requires_grad=True)
    balancer(leaf).backward()
    return leaf.grad


@given(losses=positive, s=st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_uncertainty_is_the_formula_of_the_paper(losses, s):
    balancer = build(Uncertainty)
    with torch.no_grad():
        balancer.scalarizer.log_var.copy_(torch.tensor(s))
    loss_of_batch = balancer(torch.tensor(losses))
    expected = sum(math.exp(-one) * loss / 2 + one / 2 for one, loss in zip(s, losses, strict=True))
    assert loss_of_batch.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("cls", LEARNED)
def test_learned_weights_approach_the_inverse_of_the_losses(cls):
    balancer = build(cls)
    optimizer = torch.optim.Adam(balancer.parameters(), lr=0.05)
    for _ in range(1000):
        optimizer.zero_grad()
        balancer(torch.tensor([0.1, 0.7, 4.0])).backward()
        optimizer.step()
    weights = gradient(balancer, [0.1, 0.7, 4.0])
    torch.testing.assert_close(weights / weights[1], 0.7 / torch.tensor([0.1, 0.7, 4.0]), rtol=1e-2, atol=0)


@pytest.mark.parametrize("cls", LEARNED)
def test_a_weight_rests_while_its_task_has_no_rows(cls):
    balancer = build(cls)
    weights = gradient(balancer, [0.5, 0.0, 2.0])
    learned = getattr(balancer.scalarizer, LEARNED[cls])
    assert learned.grad[1] == 0
    assert (learned.grad[[0, 2]] != 0).all()
    torch.testing.assert_close(weights[[0, 2]], gradient(build(cls), [0.5, 1.0, 2.0])[[0, 2]])


def test_dwa_is_torchjds_over_the_number_of_tasks():
    ours, theirs = build(DWA, temperature=1.5), scalarization.DWA(1.5)
    torch.manual_seed(0)
    for _ in range(5):
        batches = torch.rand(4, 3) + 0.1
        for losses in batches:
            torch.testing.assert_close(ours(losses), theirs(losses) / 3)
        ours.end_epoch(batches.mean(0))
        theirs.step()


def test_dwa_keeps_what_it_knew_of_a_task_that_an_epoch_had_no_rows_of():
    balancer = build(DWA)
    for means in ([1.0, 1.0, 1.0], [0.5, math.nan, 1.0], [0.25, 0.5, 1.0]):
        balancer.end_epoch(torch.tensor(means))
        assert gradient(balancer, [1.0, 1.0, 1.0]).isfinite().all()
    rates = torch.tensor([0.5, 0.5, 1.0])
    torch.testing.assert_close(gradient(balancer, [1.0, 1.0, 1.0]), (rates / 2).softmax(0))


def test_famo_is_torchjds_while_all_tasks_have_rows():
    ours, theirs = build(FAMO, learning_rate=0.1, weight_decay=0.01), scalarization.FAMO(3, lr=0.1, weight_decay=0.01)
    torch.manual_seed(0)
    for _ in range(10):
        before, after = torch.rand(2, 3) + 0.1
        torch.testing.assert_close(ours(before), theirs(before))
        ours.after_step(after)
        theirs.update(after)


def test_famo_pushes_the_task_that_improves_least_and_leaves_out_the_one_without_rows():
    balancer = build(FAMO)
    for _ in range(50):
        balancer(torch.tensor([1.0, 1.0, 0.0]))
        balancer.after_step(torch.tensor([0.9, 0.99, 0.0]))
    first, second, absent = gradient(balancer, [1.0, 1.0, 1.0]).tolist()
    assert first < absent < second
    assert gradient(balancer, [1.0, 1.0, 0.0])[2] == 0
    assert gradient(balancer, [1.0, 1.0, 0.0])[1] == pytest.approx(second, rel=1e-5)


def test_famo_goes_on_from_a_checkpoint_with_the_same_bits():
    torch.manual_seed(0)
    steps = torch.rand(20, 2, 3) + 0.1
    whole, part = build(FAMO), build(FAMO)
    for before, after in steps:
        whole(before)
        whole.after_step(after)
    for before, after in steps[:10]:
        part(before)
        part.after_step(after)
    file = io.BytesIO()
    torch.save(part.state_dict(), file)
    file.seek(0)
    resumed = build(FAMO)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for before, after in steps[10:]:
        resumed(before)
        resumed.after_step(after)
    assert torch.equal(resumed(steps[0, 0]), whole(steps[0, 0]))


@given(losses=positive)
def test_the_geometric_mean_gives_every_task_one_share(losses):
    weights = gradient(build(GeometricMean), losses)
    shares = weights * torch.tensor(losses)
    torch.testing.assert_close(shares, shares.mean().expand(3), rtol=1e-4, atol=1e-7)


def test_random_weights_are_positive_sum_to_one_and_change():
    torch.manual_seed(0)
    balancer = build(RandomWeights)
    first, second = (gradient(balancer, [1.0, 2.0, 3.0]) for _ in range(2))
    assert (first > 0).all()
    assert first.sum().item() == pytest.approx(1)
    assert not torch.equal(first, second)


def test_stch_is_a_smooth_maximum_of_the_weighted_losses():
    losses, weights = torch.tensor([0.3, 0.7, 0.5]), torch.tensor([0.5, 0.25, 0.25])
    smooth = build(STCH, mu=0.2, weights={"click": 2.0})(losses)
    torch.testing.assert_close(smooth, 0.2 * (weights * losses / 0.2).logsumexp(0))
    assert gradient(build(STCH, mu=0.01), [0.3, 0.7, 0.5])[1].item() == pytest.approx(1 / 3, rel=1e-2)


def test_cosmos_and_pbi_are_their_formulas():
    losses, weights = torch.tensor([0.3, 0.7, 0.5]), torch.tensor([0.5, 0.25, 0.25])
    cosine = (weights * losses).sum() / weights.norm() / losses.norm()
    cosmos = build(COSMOS, penalty=0.5, weights={"click": 2.0})(losses)
    torch.testing.assert_close(cosmos, (weights * losses).sum() - 0.5 * cosine)
    along = losses @ weights / weights.norm()
    off = (losses - along * weights / weights.norm()).norm()
    torch.testing.assert_close(build(PBI, theta=3.0, weights={"click": 2.0})(losses), along + 3 * off)


@pytest.mark.parametrize("cls", [STCH, COSMOS, PBI])
def test_a_weight_for_no_task_is_refused(cls):
    with pytest.raises(MTBenchError, match=rf"balancer '{cls.name}' has a weight for 'clik'.*did you mean 'click'"):
        build(cls, weights={"clik": 2.0})


@pytest.mark.parametrize("cls", ALL)
def test_a_task_without_rows_has_no_gradient_and_breaks_nothing(cls):
    torch.manual_seed(0)
    balancer = build(cls)
    for losses in ([0.5, 0.0, 2.0], [0.5, 0.3, 2.0], [0.0, 0.0, 0.0], [0.5, 0.3, 0.0]):
        weights = gradient(balancer, losses)
        assert weights.isfinite().all()
        if cls in {GeometricMean, STCH, COSMOS, PBI, FAMO} and sum(losses):
            assert weights[0] != 0
        balancer.after_step(torch.tensor(losses) * 0.9)
        balancer.end_epoch(torch.tensor([loss or math.nan for loss in losses]))
        assert all(value.isfinite().all() for value in balancer.parameters())
    assert gradient(balancer, [0.5, 0.3, 2.0]).isfinite().all()


@pytest.mark.parametrize("cls", ALL)
def test_state_comes_back_from_a_checkpoint(cls):
    balancer = build(cls)
    for scale in (1.0, 0.7, 0.6):
        losses = torch.tensor([0.5, 0.3, 2.0]) * scale
        balancer(losses)
        balancer.after_step(losses * torch.tensor([0.9, 0.8, 0.99]))
        balancer.end_epoch(losses.square())
    other = build(cls)
    other.load_state_dict(copy.deepcopy(balancer.state_dict()))
    results = []
    for twin in (balancer, other):
        torch.manual_seed(0)
        results.append(twin(torch.tensor([0.5, 0.3, 2.0])))
    assert torch.equal(*results)
