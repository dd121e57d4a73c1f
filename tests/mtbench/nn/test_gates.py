from __future__ import annotations

import torch

from mtbench.nn import mix, mix_own


def test_mix_is_the_weighted_sum_of_experts():
    torch.manual_seed(0)
    experts, gates = torch.randn(3, 5, 4), torch.randn(2, 5, 3)
    expected = torch.stack(
        [torch.stack([sum(gates[t, b, e] * experts[e, b] for e in range(3)) for b in range(5)]) for t in range(2)]
    )
    torch.testing.assert_close(mix(experts, gates), expected)


def test_mix_own_is_the_weighted_sum_of_each_ones_own_experts():
    torch.manual_seed(0)
    experts, gates = torch.randn(6, 5, 4), torch.randn(2, 5, 3)
    expected = torch.stack(
        [torch.stack([sum(gates[t, b, e] * experts[3 * t + e, b] for e in range(3)) for b in range(5)]) for t in (0, 1)]
    )
    torch.testing.assert_close(mix_own(experts, gates), expected)
