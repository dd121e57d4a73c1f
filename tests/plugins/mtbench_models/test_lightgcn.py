from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from mtbench.testing.examples import TASKS, examples
from mtbench.testing.models import ModelSuite, sample
from mtbench_models.lightgcn import LightGCN
from tests.plugins.mtbench_models.slow_forms import tower

SMALL = {"embedding_dim": 8, "width": 8, "tower_layers": (16, 8)}
COLUMNS = examples(TASKS[:3], LightGCN.inputs(LightGCN.Config(), examples(TASKS[:3]).schema))


class TestLightGCN(ModelSuite):
    model = LightGCN
    settings: ClassVar = SMALL


def build(**settings):
    torch.manual_seed(0)
    return LightGCN(LightGCN.Config(**(SMALL | settings)), COLUMNS.spec).eval()


@pytest.mark.parametrize("layers", [1, 3])
def test_it_equals_its_equations(layers):
    model, batch = build(layers=layers), sample(COLUMNS.valid)  # validation rows have no edges that are left out
    place = batch.inputs["full-graph"]
    matrix = model.data.inputs["full-graph"].graph.__getstate__()[0].by_user.to_dense()
    people, goods = model.users.detach(), model.items.detach()
    sums = matrix.sum(1).clamp(min=1e-12).sqrt()[:, None], matrix.sum(0).clamp(min=1e-12).sqrt()[None]
    scaled = matrix / sums[0] / sums[1]
    users, items = [people], [goods]
    for _ in range(layers):
        people, goods = scaled @ goods, scaled.T @ people
        users.append(people)
        items.append(goods)
    user, item = sum(users)[place.users] / (layers + 1), sum(items)[place.items] / (layers + 1)
    with torch.no_grad():
        z = torch.cat([model.embed(batch), user, item, user * item], 1)
        expected = torch.stack([tower(model.towers, t, z) for t in range(3)], -1)
        torch.testing.assert_close(model(batch), expected, rtol=1e-4, atol=1e-5)


def test_the_penalty_acts_on_the_first_embeddings_of_the_batch_s_rows_alone():
    free, held = build(penalty=0.0), build(penalty=0.5)
    batch = sample(COLUMNS.train, 8)
    place = batch.inputs["full-graph"]
    logits = torch.zeros(8, 3)
    penalty = (held.loss(logits, batch) - free.loss(logits, batch)).sum()
    users, items = held.users[place.users.long()], held.items[place.items.long()]
    torch.testing.assert_close(penalty, 0.5 * (users.square().sum() + items.square().sum()) / 16)
    penalty.backward()
    assert set(held.users.grad.any(1).nonzero().flatten().tolist()) == set(place.users.tolist())
    assert set(held.items.grad.any(1).nonzero().flatten().tolist()) == set(place.items.tolist())


def test_validation_and_test_rows_have_no_edges():
    matrix = build().data.inputs["full-graph"].graph.__getstate__()[0].by_user
    positives = COLUMNS.positive()[: COLUMNS.counts["train"]].any(1)
    assert matrix.values().sum() == COLUMNS.positive()[: COLUMNS.counts["train"]].sum()
    assert positives.any()


def test_layers_are_propagated_as_far_as_asked():
    batch = sample(COLUMNS.valid)
    logits = [build(layers=layers)(batch) for layers in (1, 2, 3)]
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[1], logits[2])
