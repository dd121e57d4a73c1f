"""Sparse mixtures of experts: routers, dispatch to experts, the losses that keep routing healthy."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from mtbench.nn.dropout import Dropout
from mtbench.nn.loss import masked_mean

EPSILON = 1e-6
MAX_EXPERTS = 254

Level = Literal["token", "sentence", "task", "task_sentence"]
Balance = Literal["batch", "row"]


class Routing(NamedTuple):
    """What a router decided for rows of L tokens, with E experts of which each token is sent to k.

    ``logits`` and ``probabilities`` (rows, D, E) are of D decisions: L where every token has one of its own, else 1.
    ``chosen`` (rows, L, k) are experts, the most probable first, ``weights`` (rows, L, k) their probabilities, and
    ``kept`` (rows, L, k) is false where the expert had no room for the token.

    Since 0.1, provisional.
    """

    logits: Tensor
    probabilities: Tensor
    chosen: Tensor
    weights: Tensor
    kept: Tensor


class Router(nn.Module):
    """Sends tokens to experts by a softmax over linear scores, in single precision (Fedus et al., JMLR 23, 2022).

    ``jitter`` multiplies a copy of the input by uniform numbers from 1 - jitter to 1 + jitter in training. The
    probabilities of the k chosen are not made to sum to one. ``capacity`` is how many tokens of one row an expert
    takes, first choices before second ones and then in the order of the tokens, all of them unless given; so no row's
    fate depends on another's.
    """

    def __init__(
        self, in_features: int, experts: int, k: int = 1, capacity: int | None = None, jitter: float = 0.0
    ) -> None:
        super().__init__()
        if not 1 <= k <= experts:
            raise ValueError(f"a token can go to between 1 and {experts} experts, not {k}")
        self.linear = nn.Linear(in_features, experts)
        self.experts = experts
        self.k = k
        self.capacity = capacity
        self.jitter = jitter

    def forward(self, x: Tensor, tokens: int) -> Routing:
        """Return the routing of rows of ``tokens`` tokens by the decisions' inputs (rows, D, in); D is tokens or 1."""
        with torch.autocast(x.device.type, enabled=False):
            flat = x.float().flatten(0, 1)
            if self.training and self.jitter:
                flat = flat * torch.empty_like(flat).uniform_(1 - self.jitter, 1 + self.jitter)
            logits = torch.addmm(self.linear.bias.unsqueeze(1), self.linear.weight, flat.t())
            probabilities = logits.softmax(0)  # experts first: a softmax over the last dimension is slow
        weights, chosen = probabilities.max(0, keepdim=True) if self.k == 1 else probabilities.topk(self.k, 0)
        logits, probabilities, weights, chosen = (
            part.t().view(*x.shape[:2], -1) for part in (logits, probabilities, weights, chosen)
        )
        weights, chosen = weights.expand(-1, tokens, -1), chosen.expand(-1, tokens, -1)
        return Routing(logits, probabilities, chosen, weights, self._find_kept(chosen))

    def _find_kept(self, chosen: Tensor) -> Tensor:
        rows, tokens, _ = chosen.shape
        if self.capacity is None or self.capacity >= tokens * self.k:
            return torch.ones(1, 1, 1, dtype=torch.bool, device=chosen.device).expand_as(chosen)
        in_turn = chosen.transpose(1, 2).reshape(rows, -1)  # all first choices, then all second ones
        sent = functional.one_hot(in_turn, self.experts)
        place = (sent.cumsum(1) * sent).sum(-1)
        return (place <= self.capacity).view(rows, self.k, tokens).transpose(1, 2)


class SparseExperts(nn.Module):
    """Experts of two linear maps without biases, leaky ReLU and dropout between; each computes its own tokens alone.

    Both maps are as wide as the tokens.
    """

    def __init__(self, experts: int, width: int, dropout: float = 0.0, slope: float = 0.2) -> None:
        super().__init__()
        if experts > MAX_EXPERTS:
            raise ValueError(f"at most {MAX_EXPERTS} experts can be told apart in a byte, not {experts}")
        bound = width**-0.5
        self.inner = nn.Parameter(torch.empty(experts, width, width).uniform_(-bound, bound))
        self.outer = nn.Parameter(torch.empty(experts, width, width).uniform_(-bound, bound))
        self.dropout = Dropout(dropout)
        self.slope = slope

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        """Return the outputs of the experts of each token, shape (k, rows, tokens, width), zero where it was dropped.

        ``x`` has shape (rows, tokens, width).
        """
        experts, k = len(self.inner), routing.chosen.shape[-1]
        sent = torch.where(routing.kept, routing.chosen, experts).movedim(-1, 0).flatten()  # those dropped come last
        order = sent.to(torch.uint8).argsort(stable=True)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        counts = sent.bincount(minlength=experts + 1).tolist()
        flat = x.flatten(0, 1)
        *parts, dropped = torch.split(flat.index_select(0, order if k == 1 else order % len(flat)), counts)
        outputs = [
            self.dropout(functional.leaky_relu_(part @ inner, self.slope)) @ outer
            for part, inner, outer in zip(parts, self.inner, self.outer, strict=True)
        ]
        rows = torch.cat([*outputs, torch.zeros_like(dropped)]) if counts[-1] else torch.cat(outputs)
        return rows.index_select(0, back).view(k, *x.shape)


class SparseMixture(nn.Module):
    """A residual layer of sparse experts over the tokens of a row, of which the last is the task's.

    ``y = x + sum_k p_k E_k(n)`` with ``n`` the RMS norm of ``x`` (Zhang and Sennrich, NeurIPS 2019), whose gain is left
    to the linear maps that follow. A token that is dropped passes unchanged.

    ``level`` says what decides (Kudugunta et al., EMNLP Findings 2021): ``token``: each token for itself, by ``n``;
    ``sentence``: one decision for a row, by the mean of ``n`` over all tokens but the task's; ``task``: by the task's
    embedding, the same for all rows; ``task_sentence``: by the sentence's mean and the task's embedding, side by side
    or, with ``product``, multiplied.

    Since 0.1, provisional.
    """

    def __init__(
        self,
        width: int,
        experts: int,
        *,
        level: Level = "token",
        product: bool = False,
        k: int = 1,
        capacity: int | None = None,
        jitter: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.level = level
        self.product = product
        wide = level == "task_sentence" and not product
        self.router = Router(2 * width if wide else width, experts, k, capacity, jitter)
        self.experts = SparseExperts(experts, width, dropout)

    def forward(self, x: Tensor, tasks: Tensor) -> tuple[Tensor, Routing]:
        """Return the tokens, of the shape of ``x`` (rows, L, width), and their routing.

        ``tasks`` (T, width) are embeddings of the tasks, which alternate: rows 0 to T - 1 are those of one example.
        """
        normed = x * (torch.linalg.vector_norm(x, dim=-1, keepdim=True) * x.shape[-1] ** -0.5 + EPSILON).reciprocal()
        routing = self.router(self._select_deciding(normed, tasks), x.shape[1])
        y = x
        for output, weight in zip(self.experts(normed, routing), routing.weights.unbind(-1), strict=True):
            y = torch.addcmul(y, output, weight.unsqueeze(-1).to(output.dtype))
        return y, routing

    def _select_deciding(self, tokens: Tensor, tasks: Tensor) -> Tensor:
        if self.level == "token":
            return tokens
        task = tasks.repeat(len(tokens) // len(tasks), 1).unsqueeze(1)
        if self.level == "task":
            return task
        sentence = tokens[:, :-1].mean(1, keepdim=True)
        if self.level == "sentence":
            return sentence
        return sentence * task if self.product else torch.cat([sentence, task], -1)


def z_loss(routing: Routing) -> Tensor:
    """Return the mean squared log-sum-exp of the router's logits (Zoph et al., ST-MoE, arXiv 2202.08906, 2022).

    Since 0.1, provisional.
    """
    return _average_rows(routing.logits.logsumexp(-1).square().mean(1))


def balance_loss(routing: Routing, within: Balance = "batch") -> Tensor:
    """Return ``E sum_e f_e P_e``: 1 for even routing, E where all goes to one expert (Fedus et al., JMLR 23, 2022).

    ``f_e`` is the share of choices that fell on expert e, dropped ones included, and carries no gradient; ``P_e`` is
    the mean probability. ``within`` takes both over all decisions of the batch, or over each row's, then the mean.

    Since 0.1, provisional.
    """
    decisions, experts = routing.probabilities.shape[1:]
    chosen = routing.chosen[:, :decisions].flatten(1)
    if within == "row":
        share = functional.one_hot(chosen, experts).float().mean(1)
    else:
        sent = chosen.flatten().bincount(minlength=experts).float()
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sent)
        share = sent / sent.sum()
    return experts * _average_rows((share * routing.probabilities.mean(1)).sum(-1))


def _average_rows(values: Tensor) -> Tensor:
    return masked_mean(values.unsqueeze(1), torch.ones_like(values).unsqueeze(1)).squeeze(0)


def expert_use(routing: Routing, tasks: int) -> Tensor:
    """Return how many tokens of each task each expert computed, shape (tasks, experts).

    The tasks alternate: rows 0 to tasks - 1 are those of one example.

    Since 0.1, provisional.
    """
    experts = routing.probabilities.shape[-1]
    task = torch.arange(len(routing.chosen), device=routing.chosen.device) % tasks
    place = task[:, None, None] * experts + routing.chosen
    return place[routing.kept].bincount(minlength=tasks * experts).view(tasks, experts)


def entropy(routing: Routing) -> Tensor:
    """Return the mean entropy of the decisions, as a share of its greatest value, log E.

    Since 0.1, provisional.
    """
    p = routing.probabilities
    mean: Tensor = torch.special.entr(p).sum(-1).mean() / math.log(p.shape[-1])
    return mean
