from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize
from torch import nn

from mtbench.errors import MTBenchError
from mtbench.schema import Task
from mtbench_balancers.gradients import (
    IMTLG,
    MGDA,
    AlignedMTL,
    CAGrad,
    ConFIG,
    DualProj,
    FairGrad,
    GradDrop,
    NashMTL,
    PCGrad,
    UPGrad,
)

ALL = (UPGrad, DualProj, PCGrad, MGDA, CAGrad, NashMTL, IMTLG, AlignedMTL, FairGrad, ConFIG, GradDrop)
CONFLICTING = torch.tensor([[1.0, 0.0], [-1.0, 2.0]])

matrices = hnp.arrays(
    np.float32, st.tuples(st.integers(2, 4), st.integers(1, 6)), elements=st.floats(-2, 2, width=16)
).map(torch.from_numpy)


def build(cls, tasks: int, **settings):
    return cls(cls.Config(**settings), [Task(name=f"task{number}") for number in range(tasks)])


def combined(cls, gradients: torch.Tensor, **settings) -> torch.Tensor:
    """Return what becomes of gradients, shape (tasks, values), that lie in two parameters."""
    middle = gradients.shape[1] // 2
    parts = [gradients[:, :middle], gradients[:, middle:].unsqueeze(-1)]
    return torch.cat([part.flatten() for part in build(cls, len(gradients), **settings).combine(parts)])


def test_pcgrad_of_two_tasks_by_hand():
    # g1 = (1, 0) loses its part along g2 = (-1, 2): g1 + g2 / 5; g2 its part along g1: (0, 2)
    torch.testing.assert_close(combined(PCGrad, CONFLICTING), torch.tensor([4 / 5, 2 / 5 + 2]))
    agreeing = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    torch.testing.assert_close(combined(PCGrad, agreeing), agreeing.sum(0))


def test_upgrad_of_two_tasks_is_the_mean_of_the_gradients_freed_of_the_conflict():
    torch.testing.assert_close(combined(UPGrad, CONFLICTING), torch.tensor([4 / 5, 2 / 5 + 2]) / 2)


def test_mgda_of_two_tasks_is_the_shortest_vector_between_them():
    # the foot of the origin on the line through (1, 0) and (-1, 2)
    torch.testing.assert_close(combined(MGDA, CONFLICTING), torch.tensor([0.5, 0.5]))


def test_imtl_g_has_equal_projections():
    gradients = torch.tensor([[3.0, 0.0, 1.0], [0.0, 0.2, 0.1], [1.0, 1.0, 1.0]])
    combination = combined(IMTLG, gradients)
    projections = gradients @ combination / gradients.norm(dim=1)
    torch.testing.assert_close(projections, projections[:1].expand(3), rtol=1e-4, atol=1e-6)


def test_config_is_at_one_angle_to_all_and_as_long_as_their_projections():
    gradients = torch.tensor([[3.0, 0.0, 1.0], [0.0, 0.2, 0.1], [1.0, 1.0, 1.0]])
    combination = combined(ConFIG, gradients)
    cosines = gradients @ combination / gradients.norm(dim=1) / combination.norm()
    torch.testing.assert_close(cosines, cosines[:1].expand(3), rtol=1e-4, atol=1e-6)
    assert combination.norm().item() == pytest.approx(
        (gradients @ combination / combination.norm()).sum().item(), rel=1e-4
    )


def test_nash_mtl_solves_the_bargaining_problem():
    gradients = torch.tensor([[3.0, 0.0], [0.2, 0.5]])
    alpha = torch.linalg.solve(gradients.T, combined(NashMTL, gradients, max_norm=0.0))
    gains = gradients @ gradients.T @ alpha * alpha  # G alpha = 1 / alpha, up to the scale of G
    assert gains[0].item() == pytest.approx(gains[1].item(), rel=2e-2)
    assert combined(NashMTL, gradients, max_norm=0.3).norm().item() == pytest.approx(0.3, rel=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_fairgrad_solves_its_equation(alpha):
    gradients = torch.tensor([[3.0, 0.0], [0.2, 0.5]])
    weights = torch.linalg.solve(gradients.T, combined(FairGrad, gradients, alpha=alpha))
    torch.testing.assert_close(gradients @ gradients.T @ weights, weights ** (-1 / alpha), rtol=1e-3, atol=1e-4)


def test_aligned_mtl_of_orthogonal_gradients_is_their_mean_at_the_least_length():
    gradients = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    torch.testing.assert_close(combined(AlignedMTL, gradients), torch.tensor([0.25, 0.25]))
    torch.testing.assert_close(combined(AlignedMTL, gradients, scale="rmse")[0].item(), math.sqrt((9 + 0.25) / 2) / 2)


def test_cagrad_improves_the_worst_task_as_far_as_its_ball_allows():
    gradients = torch.tensor([[1.0, 0.0], [-0.6, 0.4]])
    mean, combination = gradients.mean(0), combined(CAGrad, gradients, c=0.5)
    radius = 0.5 * mean.norm().item()
    angles = torch.linspace(0, 2 * math.pi, 20_001)
    ball = mean + radius * torch.stack([angles.cos(), angles.sin()], 1)
    best = (ball @ gradients.T).min(1).values.max().item()
    assert (gradients @ combination).min().item() == pytest.approx(best, abs=1e-3)
    assert (combination - mean).norm().item() == pytest.approx(radius, rel=1e-3)


@pytest.mark.parametrize("cls", [UPGrad, DualProj])
@given(gradients=matrices)
def test_a_projected_gradient_conflicts_with_no_task(cls, gradients):
    combination = combined(cls, gradients)
    assert (gradients @ combination >= -1e-4 * gradients.norm().clamp(min=1) ** 2).all()


@given(gradients=matrices)
def test_mgda_conflicts_with_no_task_by_more_than_its_stop(gradients):
    combination = combined(MGDA, gradients)
    assert (gradients @ combination >= -0.1 * gradients.norm().clamp(min=1) ** 2).all()


DEPENDENT = torch.tensor([[0.1875, -1.5, -1.5], [0, 0, -1.5], [0, 0.1094, 0.25], [0, -1.5, 1.0781]])


@example(gradients=DEPENDENT)
@given(gradients=matrices)
def test_dualproj_is_the_nearest_direction_without_conflict(gradients):
    norms = gradients.norm(dim=1)
    gradients = gradients[norms > 0]
    if len(gradients) < 2:
        return
    rows, mean = gradients.double().numpy(), gradients.double().mean(0).numpy()
    combination = combined(DualProj, gradients).double().numpy()
    nearest = minimize(
        lambda d: ((d - mean) ** 2).sum(),
        mean,
        jac=lambda d: 2 * (d - mean),
        constraints=[{"type": "ineq", "fun": lambda d: rows @ d, "jac": lambda _: rows}],
        method="SLSQP",
    )
    if nearest.success:
        assert np.linalg.norm(combination - mean) <= np.linalg.norm(nearest.x - mean) + 1e-3


@pytest.mark.parametrize("cls", [UPGrad, DualProj, PCGrad, MGDA, CAGrad, IMTLG, AlignedMTL, ConFIG])
def test_short_gradients_are_combined_as_long_ones_are(cls):
    gradients = torch.tensor([[3.0, 0.0, 1.0], [-1.0, 0.2, 0.1], [1.0, -1.0, 1.0]])
    results = []
    for scale in (1.0, 1e-5):
        torch.manual_seed(0)
        results.append(combined(cls, gradients * scale) / scale)
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cls", ALL)
def test_a_task_without_rows_is_left_out(cls):
    two = torch.tensor([[1.0, 0.5], [-0.2, 0.4]])
    three = torch.tensor([[1.0, 0.5], [0.0, 0.0], [-0.2, 0.4]])
    results = []
    for gradients in (two, three):
        torch.manual_seed(0)
        results.append(combined(cls, gradients))
    assert results[0].any()
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("cls", ALL)
def test_the_gradient_of_one_task_alone_stays_as_it_is(cls):
    gradients = torch.tensor([[0.0, 0.0, 0.0], [0.3, -0.2, 0.1]])
    torch.testing.assert_close(combined(cls, gradients), gradients[1])
    assert combined(cls, torch.zeros(2, 3)).tolist() == [0, 0, 0]


def test_graddrop_keeps_one_sign_in_each_value():
    torch.manual_seed(0)
    gradients = torch.randn(3, 1000)
    combination = combined(GradDrop, gradients)
    positive, negative = gradients.clamp(min=0).sum(0), gradients.clamp(max=0).sum(0)
    kept = torch.minimum((combination - positive).abs(), (combination - negative).abs())
    assert kept.max() < 1e-5
    purity = (1 + gradients.sum(0) / gradients.abs().sum(0)) / 2
    assert ((combination - positive).abs() < 1e-5).float().mean().item() == pytest.approx(
        purity.mean().item(), abs=0.05
    )


def test_nash_mtl_goes_on_from_a_checkpoint_and_keeps_solutions_for_some_steps():
    torch.manual_seed(0)
    steps = torch.randn(6, 3, 4)
    whole, part = build(NashMTL, 3, every=2), build(NashMTL, 3, every=2)
    expected = [whole.combine([gradients])[0] for gradients in steps]
    for gradients in steps[:3]:
        part.combine([gradients])
    resumed = build(NashMTL, 3, every=2)
    resumed.load_state_dict(part.state_dict())
    for gradients, one in zip(steps[3:], expected[3:], strict=True):
        assert torch.equal(resumed.combine([gradients])[0], one)
    assert resumed.steps == 6


def test_gradients_that_are_not_finite_are_refused():
    with pytest.raises(MTBenchError, match="the gradients of the tasks are not finite; lower"):
        combined(UPGrad, torch.tensor([[1.0, math.inf], [0.0, 1.0]]))


def test_shared_parameters_get_the_combination_and_others_their_own_gradient():
    torch.manual_seed(0)
    shared, own = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(3, 4))
    losses = (own @ shared).square()
    balancer = build(UPGrad, 3)
    rows = torch.stack([torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses])
    (expected,) = torch.autograd.grad(losses.sum(), own, retain_graph=True)
    balancer.backward(balancer(losses), [shared], [own])
    torch.testing.assert_close(shared.grad, build(UPGrad, 3).combine([rows])[0])
    torch.testing.assert_close(own.grad, expected)


@pytest.mark.parametrize("cls", ALL)
@settings(max_examples=40)
@given(gradients=matrices)
def test_any_gradients_give_finite_ones(cls, gradients):
    assert combined(cls, gradients).isfinite().all()
