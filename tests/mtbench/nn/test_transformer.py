from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from mtbench.nn.transformer import ParallelBlock, masked_pool, rotate, unpack

WIDTH, HEADS, HEAD = 6, 3, 4


@pytest.fixture(params=[HEADS, 1])
def block(request):
    torch.manual_seed(0)
    block = ParallelBlock(WIDTH, heads=request.param, head_dim=HEAD, expansion=2)
    torch.nn.init.normal_(block.norm.weight)
    return block.double()


@pytest.fixture
def x():
    return torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def turned(vector, position):
    """RoPE, pair by pair, as a product of complex numbers."""
    half = len(vector) // 2
    parts = [
        torch.complex(vector[i], vector[i + half]) * complex(math.cos(angle), math.sin(angle))
        for i in range(half)
        for angle in [position * 10_000 ** (-2 * i / len(vector))]
    ]
    return torch.stack([part.real for part in parts] + [part.imag for part in parts])


def plain(block, x, mask):
    """The block for one row, number by number: heads, positions and the softmax in loops."""
    heads = block.heads
    normed = functional.layer_norm(x, (WIDTH,)) * block.norm.weight
    parts = torch.split(normed @ block.project.weight.T, [heads * HEAD, HEAD, HEAD, 2 * WIDTH, 2 * WIDTH], -1)
    q, k, v, up, gate = parts
    rows = []
    for i in range(len(x)):
        mixed = []
        for head in range(heads):
            query = turned(q[i, head * HEAD : (head + 1) * HEAD], i)
            scores = {j: (query @ turned(k[j], j)).item() / math.sqrt(HEAD) for j in range(len(x)) if mask[j]}
            total = sum(math.exp(score) for score in scores.values())
            mixed.append(sum(math.exp(score) / total * v[j] for j, score in scores.items()))
        attention = block.attention_out.weight @ torch.cat(mixed)
        forward = block.forward_out.weight @ (up[i] * gate[i] * torch.sigmoid(gate[i]))
        rows.append(attention + forward)
    return torch.stack(rows)


def test_the_block_equals_its_equation(block, x):
    expected = torch.stack([plain(block, row, [1] * 5) for row in x])
    torch.testing.assert_close(block(x), expected)


def test_hidden_positions_are_seen_by_none_and_give_zeros(block, x):
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]])
    y = block(x, mask)
    for row in range(2):
        at = mask[row] > 0
        torch.testing.assert_close(y[row][at], plain(block, x[row], mask[row])[at])
    assert not y[mask == 0].any()
    garbled = torch.where(mask.unsqueeze(-1) > 0, x, torch.inf)
    assert torch.equal(block(garbled, mask), y)


def test_padding_changes_nothing(block, x):
    longer = torch.cat([x, torch.full((3, 4, WIDTH), 7.0, dtype=x.dtype)], 1)
    mask = torch.arange(9).expand(3, -1) < 5
    torch.testing.assert_close(block(longer, mask)[:, :5], block(x))


def test_a_row_without_positions_leaves_gradients_finite(block, x):
    x.requires_grad_()
    block(x, torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])).sum().backward()
    for tensor in (x, *block.parameters()):
        assert tensor.grad.isfinite().all()
    assert not x.grad[1].any()
    assert not x.grad[0, 2:].any()


def test_scores_depend_on_the_difference_of_positions_alone(block, x):
    def scores(shift):
        projected = block.project_inputs(x, torch.arange(5) + shift)
        return projected.queries @ projected.keys.unsqueeze(1).mT

    torch.testing.assert_close(scores(0), scores(11))
    projected = block.project_inputs(x[:, :1].expand(-1, 5, -1), torch.arange(5))
    same = projected.queries @ projected.keys.unsqueeze(1).mT
    for difference in range(1, 5):
        diagonal = same.diagonal(difference, -2, -1)
        torch.testing.assert_close(diagonal, diagonal[..., :1].expand_as(diagonal))
    assert not torch.allclose(same.diagonal(1, -2, -1)[..., 0], same.diagonal(2, -2, -1)[..., 0])


def test_rotary_turns_pairs_and_keeps_lengths():
    x = torch.randn(4, HEAD, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    expected = torch.stack([turned(row, position) for position, row in enumerate(x)])
    torch.testing.assert_close(rotate(x, torch.arange(4)), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rotate(x, torch.arange(4)).norm(dim=-1), x.norm(dim=-1))


def test_the_block_leaves_the_residual_to_its_caller(block, x):
    torch.nn.init.zeros_(block.attention_out.weight)
    torch.nn.init.zeros_(block.forward_out.weight)
    assert not block(x).any()


def test_the_block_has_one_key_and_value_for_all_heads_and_no_biases():
    block = ParallelBlock(8, heads=3)
    assert {name: tuple(parameter.shape) for name, parameter in block.named_parameters()} == {
        "norm.weight": (8,),
        "project.weight": (3 * 8 + 8 + 8 + 2 * 32, 8),
        "attention_out.weight": (8, 24),
        "forward_out.weight": (8, 32),
    }
    with pytest.raises(ValueError, match="even"):
        ParallelBlock(5)


def test_pooling_looks_at_what_is_there():
    x = torch.randn(3, 4, 2)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]])
    pooled = masked_pool(x, mask)
    for row in (0, 2):
        seen = x[row][mask[row] > 0]
        torch.testing.assert_close(pooled[row], torch.cat([seen.mean(0), seen.amax(0)]))
    assert not pooled[1].any()
    torch.testing.assert_close(masked_pool(torch.where(mask.unsqueeze(-1) > 0, x, 1e9), mask)[0], pooled[0])


def test_unpacked_puts_rows_where_the_mask_is_true():
    mask = torch.tensor([[True, False, True], [False, True, False]])
    x = torch.arange(6.0).view(3, 2)
    assert torch.equal(unpack(x, mask)[mask], x)
    assert not unpack(x, mask)[~mask].any()
