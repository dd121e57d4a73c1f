from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from mtbench.testing.models import ModelSuite
from mtbench_models.esmm import ESMM
from tests.plugins.mtbench_models.slow_forms import assert_logits, build, rows, tower


class TestESMM(ModelSuite):
    model = ESMM
    settings: ClassVar = {"tower_layers": (32, 16)}


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_it_equals_its_equations(norm):
    model = build(ESMM, norm=norm)
    batch = rows()
    assert_logits(model, batch, [tower(model.towers, t, model.embed(batch)) for t in range(4)])


def test_the_loss_is_that_of_products_over_all_impressions():
    """Click, cart given click, buy given cart, and a regression."""
    model, batch = build(ESMM), rows(count=512)
    with torch.no_grad():
        logits = model(batch)
        losses = model.loss(logits, batch)
    probabilities = logits.double().sigmoid()
    products = [probabilities[:, 0], probabilities[:, :2].prod(1), probabilities[:, :3].prod(1)]
    for task, p in enumerate(products):
        entropies = []
        for row in range(len(batch)):
            label = None
            for j in range(task + 1):
                if batch.mask[row, j] == 0:
                    break
                label = float(batch.labels[row, j]) if j == task or batch.labels[row, j] == 0 else None
                if label == 0:
                    break
            if label is not None:
                entropies.append(functional.binary_cross_entropy(p[row], torch.tensor(label).double()))
        assert len(entropies) > 350
        torch.testing.assert_close(losses[task].double(), torch.stack(entropies).mean(), rtol=1e-5, atol=1e-6)
    fit = model.data.targets[3]
    value = (batch.labels[:, 3].double() - fit["centre"]) / fit["scale"]
    error = (logits[:, 3] - value).square() * batch.mask[:, 3]
    torch.testing.assert_close(losses[3].double(), error.sum() / batch.mask[:, 3].sum(), rtol=1e-5, atol=1e-6)


def test_rows_without_a_click_teach_the_conversion_and_the_conversion_the_click():
    model, batch = build(ESMM, tasks=2), rows(tasks=2, count=200)
    batch = batch.take((batch.mask[:, 0] * (1 - batch.labels[:, 0])).nonzero().squeeze(1))
    assert not batch.mask[:, 1].any()
    logits = model(batch).detach().requires_grad_()
    model.loss(logits, batch)[1].backward()
    assert (logits.grad > 0).all()  # both probabilities are too high where nothing happened


def test_no_loss_is_on_the_conditional_probability_itself():
    """At a row with a click and no cart, both factors are wrong alike: only their product counts."""
    model, batch = build(ESMM, tasks=2), rows(tasks=2, count=1)
    one = replace(batch, labels=torch.tensor([[1.0, 0.0]]), mask=torch.ones(1, 2))
    for a, b in ((2.0, -1.0), (-1.0, 2.0)):
        loss = model.loss(torch.tensor([[a, b]]), one)[1]
        product = torch.tensor(a).sigmoid() * torch.tensor(b).sigmoid()
        torch.testing.assert_close(loss, -torch.log(1 - product))


def test_extreme_logits_keep_a_finite_loss_and_gradient():
    model, batch = build(ESMM), rows(count=200)
    for size in (30.0, 1e4):
        for signs in (1, -1, torch.tensor([1, -1, 1, -1]), torch.tensor([-1, 1, -1, 1])):
            logits = (size * signs * torch.ones(200, 4)).requires_grad_()
            losses = model.loss(logits, batch)
            losses.sum().backward()
            assert losses.isfinite().all()
            assert logits.grad.isfinite().all()


def test_without_given_each_task_learns_from_its_own_label():
    model = build(ESMM, tasks=1)
    batch = rows(tasks=1, count=300)
    logits = model(batch)
    entropy = functional.binary_cross_entropy_with_logits(logits, batch.labels, reduction="none")
    torch.testing.assert_close(model.loss(logits, batch)[0], (entropy * batch.mask).sum() / batch.mask.sum())
