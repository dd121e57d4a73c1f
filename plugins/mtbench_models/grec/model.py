"""GRec: one generalist network for all tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mtbench import Choice, Component, FloatRange, IntRange, ModelCard, ModelConfig, MultiTaskModel
from mtbench.nn import (
    Balance,
    Dropout,
    FeatureEmbedding,
    Level,
    Routing,
    SparseMixture,
    StackedLinear,
    balance_loss,
    entropy,
    expert_use,
    z_loss,
)
from mtbench_models.grec.encoders import SLOPE, ContextEncoder, HistoryEncoder, ItemEncoder
from mtbench_models.grec.mixing import TaskMixing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench import Batch, DataSpec, Schema

AT_ONCE = 1 << 15
"""Tokens that pass mixing and experts at once on the CPU, where larger tensors cost more than their share."""


class GRec(MultiTaskModel):
    """Generalist recommender: modality tokens and a task token, mixed, through sparse experts.

    A modality that the dataset does not have gives no token. An item's numbers and lists belong to the context alone.
    """

    class Config(ModelConfig):
        """Settings of GRec."""

        embedding_dropout: Annotated[float, FloatRange(0.0, 0.7)] = Field(
            0.1, ge=0, lt=1, description="Dropout on embedded features, those of the item and the history among them."
        )
        embedding_std: Annotated[float, FloatRange(0.05, 1.0, log=True)] = Field(
            0.5, gt=0, description="Spread of embeddings at the start; 1 in the released code, by torch's default."
        )
        width: Annotated[int, Choice((32, 64, 128))] = Field(
            32, gt=0, multiple_of=2, description="Width of every token; 256 in the released code."
        )
        history: bool = Field(True, description="Encode the user's last positives.")
        history_length: Annotated[int, IntRange(5, 50)] = Field(
            20, gt=0, description="How many of the user's last positives."
        )
        sequence_layers: Annotated[int, IntRange(1, 3)] = Field(1, gt=0, description="Blocks over the history.")
        heads: Annotated[int, IntRange(1, 4)] = Field(1, gt=0, description="Heads of a block, each of the whole width.")
        text: Annotated[Literal["hashed", "minilm", "none"], Choice(("hashed", "minilm"))] = Field(
            "hashed", description="Encoder of the item's text; the released code has MiniLM."
        )
        text_column: str | None = Field(None, description="Which of the dataset's texts; the first unless given.")
        mixing_residual: bool = Field(False, description="A residual around the mixing of the tokens.")
        experts: Annotated[int, IntRange(2, 16)] = Field(4, gt=0, description="Experts of the sparse layer.")
        top_k: Annotated[int, IntRange(1, 2)] = Field(1, gt=0, description="Experts that compute a token.")
        level: Annotated[Level, Choice(("token", "sentence", "task", "task_sentence"))] = Field(
            "token", description="What is routed; token is the released code."
        )
        task_sentence: Literal["concat", "product"] = Field(
            "concat", description="How level task_sentence joins the task to the sentence; product as in PaRS."
        )
        capacity: int | None = Field(
            None, gt=0, description="Tokens of one row and task that an expert computes; all of them unless given."
        )
        jitter: float = Field(0.1, ge=0, lt=1, description="Noise of the router's input in training.")
        z_loss: float = Field(1e-4, ge=0, description="Weight of the router's z-loss.")
        balance_loss: float = Field(1e-4, ge=0, description="Weight of the load-balancing loss.")
        balance: Balance = Field(
            "batch", description="Balance over the batch, or over the tokens of each row (released code)."
        )
        head: Literal["shared", "per_task"] = Field("shared", description="One head, or one for each task (PaRS).")
        head_width: Annotated[int, Choice((32, 64, 128))] = Field(64, gt=0, description="Hidden width of the head.")
        task_bias: bool = Field(True, description="Add a constant of the task to the shared head's logit.")
        dropout: Annotated[float, FloatRange(0.0, 0.5)] = Field(
            0.1, ge=0, lt=1, description="Dropout after each block, in the experts and in the head."
        )

    card = ModelCard(
        paper=(
            "Wang, Tang, Zhang, Ruan, Huang, Dai: Efficient Multi-Task Learning via Generalist Recommender. CIKM 2023."
        ),
        equations=(
            "For a row and a task t, all tokens equally wide, P(x) = Attention(N(x)) + SwiGLU(N(x)):",
            "x_0 = item * kind for each event, x_l+1 = x_l + P_l(x_l)",
            "history = Linear(Linear(mean || max over events of x_L))",
            "context = leaky(Linear(embeddings)) || leaky(Linear(numbers))",
            "text = Linear(vector), item = Linear(embeddings of its features)",
            "h = P([history, context, text, item, task_t])",
            "n = RMSNorm(h), p = softmax(W_r n + b), z = h + sum over the k largest p_e of p_e E_e(n)",
            "logit_t = Linear(leaky(Linear(flatten z))) + bias_t",
        ),
        verified=(
            (
                "The authors' code: the tokens; the parallel block with one norm, a fused projection, multi-query "
                "attention, RoPE and SwiGLU, heads as wide as the model, a residual around the blocks of the sequence "
                "encoder and none around the mixing block."
            ),
            (
                "The authors' code: routing of each token by itself after mixing (`level` token), top-1, the weight "
                "p_e without renormalisation; experts and head, one for all tasks; the weights of the routing losses."
            ),
            (
                "The authors' code: tokens 256 wide, five of them mixed with one head, text of 32 words by MiniLM, a "
                "head from 1280 to 640. Other sizes were not released."
            ),
        ),
        inferred=(
            (
                "Decided here: everything about tasks that are labels of the same impression. The authors predict the "
                "next item, one task per row. Here the encoders run once, and mixing, experts and head for all tasks "
                "in one call, with logits in place of scores of items and a bias per task."
            ),
            (
                "Decided here: a row has labels of several tasks; the released weights of tasks, by their numbers of "
                "rows, are left to the balancer."
            ),
            (
                "Decided here: an event's kind, made of the tasks that were positive and the time since, stands in for "
                "the page of the released sequence encoder."
            ),
            (
                "Decided here: the levels sentence, task and task_sentence are readings of task-sentence level "
                "routing; which one the paper means is unknown."
            ),
        ),
        differences=(
            (
                "The released code's defects are mended: the balancing loss reads probabilities, not logits; jitter "
                "acts in training alone, on a copy that the experts do not see; a dropped token passes unchanged; "
                "padding is not pooled; an empty history is a learned vector, not NaN."
            ),
            "Numbers are standardised by the data, not by batch norm.",
        ),
    )
    config: Config

    @classmethod
    def inputs(cls, config: Config, schema: Schema) -> Sequence[Component]:  # type: ignore[override]
        """Return the history where there are users and items, and the text where there is one."""
        asked = []
        if schema.user and schema.item:
            length = config.history_length if config.history else 0
            asked.append(Component(name="recent", length=length, features=True))
        if schema.texts and config.text != "none":
            column = config.text_column or schema.texts[0]
            asked.append(Component(name="text", column=column, encoder=config.text))
        return asked

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        width = config.width
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        if self.embed.table is not None:
            with torch.no_grad():
                self.embed.table.mul_(config.embedding_std / self.embed.STD)
        numbers = len(data.numeric)
        self.context = ContextEncoder(self.embed.width - numbers, numbers, width)
        self.item: ItemEncoder | None = None
        self.history: HistoryEncoder | None = None
        self.item_places: list[int] = []
        if "recent" in data.inputs:
            recent = data.inputs["recent"]
            self.item_places = [list(data.categorical).index(name) for name in recent.features]
            if self.item_places or config.history:
                self.item = ItemEncoder(self.embed, self.item_places, recent.items, width)
            if config.history:
                layers = config.sequence_layers, config.heads, config.dropout
                self.history = HistoryEncoder(recent.tasks, width, *layers)
        self.text = nn.Linear(data.inputs["text"].width, width) if "text" in data.inputs else None
        self.tasks = nn.Embedding(data.num_tasks, width)
        self.mixing = TaskMixing(width, config.heads, config.dropout, residual=config.mixing_residual)
        self.mixture = SparseMixture(
            width,
            config.experts,
            level=config.level,
            product=config.task_sentence == "product",
            k=config.top_k,
            capacity=config.capacity,
            jitter=config.jitter,
            dropout=config.dropout,
        )
        tokens = 2 + bool(self.item_places) + (self.history is not None) + (self.text is not None)
        self.head = Head(config, data.num_tasks, tokens * width)
        self.routing: Routing | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "routing": None}  # tensors of a graph can be neither copied nor pickled

    def tokens(self, batch: Batch) -> Tensor:
        """Return what the encoders make of the rows, shape (batch, modalities, width); no task is involved."""
        tokens = []
        if self.history is not None and self.item is not None:
            tokens.append(self.history(batch.inputs["recent"], self.item, self.embed))
        tokens.append(self.context(self.embed(batch)))
        if self.text is not None:
            tokens.append(self.text(batch.inputs["text"].vectors))
        if self.item is not None and self.item_places:
            tokens.append(self.item(batch.categorical[:, self.item_places], self.embed))
        return torch.stack(tokens, 1)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        tokens = self.tokens(batch)
        tasks = self.tasks(torch.arange(self.data.num_tasks, device=tokens.device))
        size = max(AT_ONCE // (len(tasks) * (tokens.shape[1] + 1)), 1) if tokens.device.type == "cpu" else len(tokens)
        parts = [self._decide(part, tasks) for part in torch.split(tokens, max(size, 1))]
        logits, routings = zip(*parts, strict=True)
        self.routing = Routing(*(torch.cat(part) for part in zip(*routings, strict=True)))
        return torch.cat(logits)

    def _decide(self, tokens: Tensor, tasks: Tensor) -> tuple[Tensor, Routing]:
        """Return the logits (batch, T) of all tasks for the tokens of some rows, and their routing."""
        mixed, routing = self.mixture(self.mixing(tokens, tasks).flatten(0, 1), tasks)
        return self.head(mixed.view(len(tokens), len(tasks), -1)), routing

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return each task's loss, shape (tasks,), in training with the losses of the last forward's routing.

        These belong to no task: each task's loss gets them whole, so that a weighted mean of losses has them once.
        """
        losses = super().loss(outputs, batch)
        if not self.training or self.routing is None:
            return losses
        config = self.config
        balance = balance_loss(self.routing, config.balance)
        return losses + config.z_loss * z_loss(self.routing) + config.balance_loss * balance

    def expert_use(self) -> Tensor:
        """Return the share of each task's tokens that each expert computed in the last forward, (tasks, experts)."""
        return _normalize(expert_use(self._get_routing(), self.data.num_tasks))

    def statistics(self) -> Mapping[str, float]:
        """Return what the last forward's routing was like: entropy, dropped tokens, experts without any, loads."""
        routing = self._get_routing()
        use = expert_use(routing, self.data.num_tasks)
        load = _normalize(use.sum(0, keepdim=True))
        values = {
            "router_entropy": float(entropy(routing).detach()),
            "dropped_tokens": 1 - float(routing.kept.float().mean()),
            "dead_experts": float((load == 0).sum()),
        }
        names = ("all tasks", *(task.name for task in self.data.tasks))
        for name, shares in zip(names, torch.cat([load, _normalize(use)]).tolist(), strict=True):
            values |= {f"load/{name}/{expert}": share for expert, share in enumerate(shares)}
        return values

    def _get_routing(self) -> Routing:
        if self.routing is None:
            raise ValueError("nothing was routed yet; call forward first")
        return self.routing


def _normalize(use: Tensor) -> Tensor:
    """Return counts (rows, experts) as shares of their rows."""
    return use.double() / use.sum(1, keepdim=True).clamp(min=1)


class Head(nn.Module):
    """Flattened tokens to logits by two linear layers with leaky ReLU between, shared or one of each task."""

    def __init__(self, config: GRec.Config, tasks: int, width: int) -> None:
        super().__init__()
        self.shared = config.head == "shared"
        heads = 1 if self.shared else tasks
        self.hidden = StackedLinear(heads, width, config.head_width)
        self.out = StackedLinear(heads, config.head_width, 1, bias=not (self.shared and config.task_bias))
        self.bias = nn.Parameter(torch.zeros(tasks)) if self.shared and config.task_bias else None
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, tasks) for tokens (batch, tasks, width)."""
        stacked = x.flatten(0, 1) if self.shared else x.transpose(0, 1)
        hidden = self.dropout(functional.leaky_relu(self.hidden(stacked), SLOPE))
        logits: Tensor = self.out(hidden).squeeze(-1)
        logits = logits.view(x.shape[:2]) if self.shared else logits.t()
        return logits if self.bias is None else logits + self.bias
