from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from mtbench.testing.models import ModelSuite
from mtbench_models.cross_stitch import CrossStitch
from tests.plugins.mtbench_models.slow_forms import assert_logits, build, columns, network, rows, tower


class TestCrossStitch(ModelSuite):
    model = CrossStitch
    settings: ClassVar = {"stitched_layers": (32, 16), "tower_layers": (16,)}


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("layers", [(24,), (32, 16), (32, 16, 8)])
def test_it_equals_its_equations(norm, layers):
    model, batch = build(CrossStitch, stitched_layers=layers, norm=norm), rows()
    with torch.no_grad():
        for stitch in model.stitches:
            stitch.normal_()
    xs = [model.embed(batch)] * 4
    for layer, stitch in zip(model.layers, model.stitches, strict=True):
        ys = [network(layer, t, xs[t]) for t in range(4)]
        xs = [sum(stitch[t, j] * ys[j] for j in range(4)) for t in range(4)]
    assert_logits(model, batch, [tower(model.towers, t, xs[t]) for t in range(4)])


@pytest.mark.parametrize(("tasks", "own", "others"), [(1, 1.0, None), (2, 0.9, 0.1), (5, 0.9, 0.025)])
def test_stitches_start_near_the_identity(tasks, own, others):
    model = CrossStitch(CrossStitch.Config(), columns(tasks).spec)
    assert len(model.stitches) == 2
    for stitch in model.stitches:
        torch.testing.assert_close(stitch.diagonal(), torch.full((tasks,), own))
        off = stitch[~torch.eye(tasks, dtype=torch.bool)]
        torch.testing.assert_close(off, torch.full_like(off, others or 0.0))
        torch.testing.assert_close(stitch.sum(1), torch.ones(tasks))


def test_an_identity_keeps_the_tasks_apart_above_the_embeddings():
    model, batch = build(CrossStitch, own_weight=1.0), rows()
    model(batch)[:, 2].sum().backward()
    gradients = model.layers[0].linears[0].weight.grad
    assert [t for t in range(4) if gradients[t].any()] == [2]
