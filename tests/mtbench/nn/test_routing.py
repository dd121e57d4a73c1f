from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from mtbench.nn.routing import (
    Router,
    Routing,
    SparseExperts,
    SparseMixture,
    balance_loss,
    entropy,
    expert_use,
    z_loss,
)

ROWS, TOKENS, WIDTH, EXPERTS = 7, 4, 6, 5


@pytest.fixture
def x():
    return torch.randn(ROWS, TOKENS, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def task():
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))


def mixture(**settings):
    torch.manual_seed(2)
    layer = SparseMixture(WIDTH, EXPERTS, **settings)
    torch.nn.init.normal_(layer.router.linear.weight)
    return layer.eval()


def normed(vector):
    return vector / (vector.square().mean().sqrt() + 1e-6)


def plain(layer, x, task, k, capacity=None):
    """The layer token by token; returns its output and what each expert was given, by row."""
    outputs, dropped = x.clone(), 0
    for row in range(len(x)):
        tokens = [normed(token) for token in x[row]]
        sentence = torch.stack(tokens[:-1]).mean(0)
        room = [capacity or 10**6] * EXPERTS
        choices = []
        for token in tokens:
            deciding = {
                "token": token,
                "sentence": sentence,
                "task": task[row],
                "task_sentence": sentence * task[row] if layer.product else torch.cat([sentence, task[row]]),
            }[layer.level]
            logits = layer.router.linear.weight @ deciding + layer.router.linear.bias
            p = (logits - logits.max()).exp()
            p = p / p.sum()
            choices.append([(e, p[e]) for e in sorted(range(EXPERTS), key=lambda e: -float(p[e]))[:k]])
        for turn in range(k):
            for at, token in enumerate(tokens):
                expert, p = choices[at][turn]
                if room[expert] == 0:
                    dropped += 1
                    continue
                room[expert] -= 1
                hidden = token @ layer.experts.inner[expert]
                outputs[row, at] += p * (torch.where(hidden > 0, hidden, 0.2 * hidden) @ layer.experts.outer[expert])
    return outputs, dropped


@pytest.mark.parametrize("level", ["token", "sentence", "task", "task_sentence"])
@pytest.mark.parametrize(("k", "capacity"), [(1, None), (2, None), (3, None), (1, 2), (1, 1), (2, 2)])
def test_the_layer_equals_a_loop_over_tokens(x, task, level, k, capacity):
    layer = mixture(level=level, k=k, capacity=capacity)
    expected, dropped = plain(layer, x, task, k, capacity)
    y, routing = layer(x, task)
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)
    assert int((~routing.kept).sum()) == dropped
    assert (dropped > 0) == (capacity is not None)


@pytest.mark.parametrize(("level", "capacity"), [("token", 1), ("token", 2), ("task", 1), ("task", 2), ("task", 3)])
def test_an_expert_takes_as_many_tokens_of_a_row_as_it_has_room_for(x, task, level, capacity):
    _, routing = mixture(level=level, k=2, capacity=capacity)(x, task)
    sent = functional.one_hot(routing.chosen, EXPERTS).flatten(1, 2)
    taken = (sent * routing.kept.reshape(ROWS, -1, 1)).sum(1)
    assert torch.equal(taken, sent.sum(1).clamp(max=capacity))
    assert (sent.sum(1) > capacity).any()


def test_the_product_of_sentence_and_task_decides(x, task):
    layer = mixture(level="task_sentence", product=True)
    torch.testing.assert_close(layer(x, task)[0], plain(layer, x, task, 1)[0], rtol=1e-6, atol=1e-6)


def test_gradients_equal_those_of_the_loop(x, task):
    layer = mixture(k=2, capacity=2)
    gradients = []
    for output in (layer(x, task)[0], plain(layer, x, task, 2, 2)[0]):
        layer.zero_grad()
        output.square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in layer.parameters()])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert found.any()


def test_a_token_whose_expert_is_full_passes_unchanged(x, task):
    layer = mixture(capacity=1)
    y, routing = layer(x, task)
    dropped = ~routing.kept.squeeze(-1)
    assert dropped.any()
    assert torch.equal(y[dropped], x[dropped])
    assert not (y[~dropped] == x[~dropped]).all(-1).any()


@pytest.mark.parametrize("capacity", [None, 1])
def test_a_row_is_routed_alike_in_any_batch(x, task, capacity):
    layer = mixture(k=2, capacity=capacity)
    together = layer(x, task)[0]
    alone = torch.cat([layer(x[i : i + 1], task[i : i + 1])[0] for i in range(ROWS)])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)


def test_jitter_is_for_training_and_for_the_router_alone(x, task):
    layer = mixture(jitter=0.3)
    before = x.clone()
    plain_y, plain_routing = mixture()(x, task)
    y, routing = layer(x, task)
    assert torch.equal(y, plain_y)
    assert torch.equal(routing.logits, plain_routing.logits)
    layer.train()
    _, first = layer(x, task)
    y, second = layer(x, task)
    assert not torch.allclose(first.logits, second.logits)
    assert torch.equal(x, before)
    n = torch.stack([normed(token) for token in x.flatten(0, 1)]).view_as(x)
    experts = layer.experts(n, second).squeeze(0)  # they see what was not jittered
    torch.testing.assert_close(y, x + second.weights * experts)


def test_the_router_computes_in_single_precision(x):
    router = Router(WIDTH, EXPERTS)
    with torch.autocast("cpu", torch.bfloat16):
        routing = router(x.bfloat16(), TOKENS)
    assert routing.logits.dtype == routing.probabilities.dtype == torch.float32
    torch.testing.assert_close(routing.logits, router(x.bfloat16().float(), TOKENS).logits)


def test_weights_are_probabilities_of_the_most_probable_and_do_not_sum_to_one(x):
    routing = Router(WIDTH, EXPERTS, k=2)(x, TOKENS)
    torch.testing.assert_close(routing.weights, routing.probabilities.sort(-1, descending=True).values[..., :2])
    torch.testing.assert_close(routing.probabilities.gather(-1, routing.chosen), routing.weights)
    assert (routing.weights.sum(-1) < 1).all()


def test_the_router_learns_through_the_weights(x, task):
    layer = mixture()
    y, _ = layer(x, task)
    y.sum().backward()
    assert layer.router.linear.weight.grad.any()
    assert layer.router.linear.bias.grad.any()


def routing_of(probabilities, k=1, tokens=None, kept=None):
    probabilities = torch.as_tensor(probabilities, dtype=torch.float32)
    weights, chosen = probabilities.topk(k, -1)
    if tokens is not None:
        weights, chosen = weights.expand(-1, tokens, -1), chosen.expand(-1, tokens, -1)
    kept = torch.ones_like(chosen, dtype=torch.bool) if kept is None else torch.as_tensor(kept)
    return Routing(probabilities.log(), probabilities, chosen, weights, kept)


@pytest.mark.parametrize("within", ["batch", "row"])
def test_balance_is_one_for_even_routing_and_the_number_of_experts_for_one_expert(within):
    even = routing_of(torch.eye(4).expand(6, 4, 4))
    torch.testing.assert_close(balance_loss(even, within), torch.tensor(1.0))
    one = routing_of(torch.eye(4)[:1].expand(6, 4, 4))
    torch.testing.assert_close(balance_loss(one, within), torch.tensor(4.0))


def test_rows_of_one_expert_each_balance_each_other_over_the_batch_alone():
    routing = routing_of(torch.eye(4).unsqueeze(1).expand(4, 3, 4))
    torch.testing.assert_close(balance_loss(routing, "batch"), torch.tensor(1.0))
    torch.testing.assert_close(balance_loss(routing, "row"), torch.tensor(4.0))


def test_balance_is_the_product_of_shares_and_probabilities(x):
    routing = Router(WIDTH, EXPERTS, k=2)(x, TOKENS)
    p = routing.probabilities.view(-1, EXPERTS)
    chosen = routing.chosen.reshape(-1, 2)
    expected = EXPERTS * sum(
        sum(e in pair.tolist() for pair in chosen) / (2 * len(chosen)) * p[:, e].mean() for e in range(EXPERTS)
    )
    torch.testing.assert_close(balance_loss(routing), expected)


def test_balance_reads_probabilities_and_not_logits(x):
    router = Router(WIDTH, EXPERTS)
    first = router(x, TOKENS)
    with torch.no_grad():
        router.linear.bias += 100  # moves every logit and no probability
    torch.testing.assert_close(balance_loss(router(x, TOKENS)), balance_loss(first), rtol=1e-4, atol=0)


def test_balance_counts_dropped_tokens_where_they_were_sent():
    p = torch.tensor([[[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]])
    full = routing_of(p)
    dropped = full._replace(kept=torch.tensor([[[True], [False], [False]]]))
    assert torch.equal(balance_loss(dropped), balance_loss(full))
    torch.testing.assert_close(balance_loss(full), 2 * p[..., 1].mean())


def test_one_decision_for_a_row_balances_as_one():
    p = torch.tensor([[[0.9, 0.1]], [[0.2, 0.8]], [[0.7, 0.3]]])
    torch.testing.assert_close(balance_loss(routing_of(p, tokens=4)), balance_loss(routing_of(p)))


def test_balance_pulls_probabilities_from_the_crowded_expert():
    logits = torch.tensor([[[1.0, 0.0, 0.0]] * 4]).requires_grad_()
    probabilities = logits.softmax(-1)
    chosen = torch.zeros(1, 4, 1, dtype=torch.long)
    routing = Routing(logits, probabilities, chosen, probabilities[..., :1], torch.ones_like(chosen) > 0)
    balance_loss(routing).backward()
    assert (logits.grad[..., 0] > 0).all()
    assert (logits.grad[..., 1:] < 0).all()


def test_z_loss_is_the_mean_squared_log_sum_exp():
    logits = torch.tensor([[[0.0, 0.0], [1.0, -1.0]], [[3.0, 3.0], [0.0, 5.0]]])
    routing = Routing(logits, logits.softmax(-1), *(torch.zeros(2, 2, 1),) * 3)
    expected = sum(math.log(sum(math.exp(z) for z in row)) ** 2 for row in logits.view(-1, 2).tolist()) / 4
    torch.testing.assert_close(z_loss(routing), torch.tensor(expected))


def test_use_counts_the_tokens_that_were_computed_by_task():
    chosen = torch.tensor([[0, 1], [1, 1], [2, 1], [1, 0]]).unsqueeze(-1)  # two examples of two tasks
    kept = torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1]]).unsqueeze(-1) > 0
    p = functional.one_hot(chosen.squeeze(-1), 4).float()
    routing = Routing(p, p, chosen, p[..., :1], kept)
    assert expert_use(routing, 2).tolist() == [[1, 2, 1, 0], [1, 2, 0, 0]]


def test_entropy_is_one_where_routing_is_undecided_and_zero_where_it_is_sure():
    assert float(entropy(routing_of(torch.full((2, 3, 4), 0.25)))) == pytest.approx(1)
    assert float(entropy(routing_of(torch.eye(4).expand(2, 4, 4)))) == 0
    half = torch.tensor([[[0.5, 0.5, 0, 0]]])
    assert float(entropy(routing_of(half))) == pytest.approx(0.5)


def test_tokens_cost_what_their_own_experts_cost():
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    flops = []
    for experts in (2, 16):
        layer, router = SparseExperts(experts, WIDTH), Router(WIDTH, experts)
        x = torch.randn(50, TOKENS, WIDTH)
        routing = router(x, TOKENS)
        with FlopCounterMode(display=False) as counter:
            layer(x, routing)
        flops.append(counter.get_total_flops())
    assert flops == [2 * 2 * 50 * TOKENS * WIDTH**2] * 2


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="between 1 and 4"):
        Router(WIDTH, 4, k=5)
    with pytest.raises(ValueError, match="254"):
        SparseExperts(300, WIDTH)
