"""Information transferred along a funnel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from mtbench import Choice, FloatRange, ModelCard, MultiTaskModel
from mtbench.nn import Dropout, EntireSpace, FeatureEmbedding, StackedLinear, StackedMLP, masked_mean, widen
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench import Batch, DataSpec, Task


class InformationTransfer(nn.Module):
    """Adaptive information transfer: each task after the first of a chain attends to itself and the one before it.

    ``before`` is the column of the task before each, or -1. Tasks at the same place in their chains go together.
    """

    def __init__(self, before: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        places = [0] * len(before)
        for task in range(len(before)):
            at = before[task]
            while at >= 0:
                places[task] += 1
                at = before[at]
        self.steps = [[task for task, at in enumerate(places) if at == place] for place in range(1, max(places) + 1)]
        self.before = tuple(before)
        self.information = nn.ModuleList(StackedLinear(len(step), width, width) for step in self.steps)
        self.attention = StackedLinear(3, width, width, bias=False) if self.steps else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (tasks, batch, width), that of ``x``."""
        tasks = list(x.unbind())
        for step, information in zip(self.steps, self.information, strict=True):
            own = torch.stack([tasks[task] for task in step])
            earlier = torch.stack([tasks[self.before[task]] for task in step])
            passed = self.dropout(information(earlier).relu())
            for task, attended in zip(step, self._attend(torch.stack([own, passed])), strict=True):
                tasks[task] = attended
        return torch.stack(tasks)

    def _attend(self, pair: Tensor) -> Tensor:
        """Return the attention-weighted sum of values over the first axis of (2, tasks, batch, width)."""
        assert self.attention is not None
        projected = self.attention(pair.flatten(0, 2)).view(3, *pair.shape)
        query, key, value = projected.unbind()
        weights = ((query * key).sum(-1, keepdim=True) / pair.shape[-1] ** 0.5).softmax(0)
        attended: Tensor = (weights * value).sum(0)
        return attended


class AITM(MultiTaskModel):
    """Task networks that pass information along a funnel, and a calibrator of their order.

    Logits are of probabilities at all impressions; ``predict`` makes them conditional for tasks with ``given``.
    """

    class Config(TowerConfig):
        """Settings of AITM."""

        tower_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64, 32), (256, 128, 64)))] = Field(
            (128, 64, 32), min_length=1, description="Layer sizes of a task's network, which stands on the embeddings."
        )
        calibrator: Annotated[float, FloatRange(0.0, 1.0)] = Field(
            0.6,
            ge=0,
            description="Weight of the penalty on a later task that is likelier than the one before it; 0 where the "
            "tasks are no funnel.",
        )
        chain: Annotated[Literal["auto", "order"], Choice(("auto", "order"))] = Field(
            "auto",
            description="Which task comes before a task: 'order' is the one listed before it; 'auto' is the one that "
            "it is given, or the one listed before it where no task is given another.",
        )

    card = ModelCard(
        paper=(
            "Xi, Chen, Yan, Zhang, Zhu, Zhuang, Chen: Modeling the Sequential Dependence among Audience Multi-step "
            "Conversions with Multi-task Learning in Targeted Display Advertising. KDD 2021."
        ),
        equations=(
            "h_t = the last hidden layer of task t's network on the shared embeddings, z_1 = h_1",
            "p = dropout(ReLU(W_t z_t-1))",
            "z_t = sum over u in {h_t, p} of softmax(<Q u, K u> / sqrt(d)) V u",
            "logit_t = w_t z_t, y_t = sigmoid(logit_t)",
            "loss_t = cross-entropy_t + calibrator * mean of max(y_t - y_t-1, 0): the later is not the likelier",
        ),
        verified=(
            (
                "The authors' code, which has two tasks: the equations, the calibrator over all rows with weight 0.6, "
                "networks of 128, 64 and 32, dropout on p."
            ),
        ),
        inferred=(
            "Decided here: Q, K and V are the same for all transfers of a longer chain.",
            "Decided here: which task comes before which (setting `chain`).",
            (
                "Decided here: tasks with `given` learn over all impressions as the paper's do; their predictions are "
                "divided by the given task's, for they are evaluated where that is positive."
            ),
            "Decided here: numbers take part in the transfer but not in the calibrator.",
        ),
        differences=(
            (
                "Q, K and V start as linear layers do, in the authors' code from a normal distribution with deviation "
                "0.01."
            ),
            "One rate of dropout; the authors' code has 0.1, 0.3 and 0.3 for its three layers.",
        ),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.calibrator = config.calibrator
        tasks = data.tasks
        given = _find_given(tasks)
        before = given if config.chain == "auto" and max(given) >= 0 else list(range(-1, len(tasks) - 1))
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        self.networks = StackedMLP(len(tasks), self.embed.width, config.tower_layers, config.dropout, config.norm)
        self.transfer = InformationTransfer(before, self.networks.width, config.dropout)
        self.head = StackedLinear(len(tasks), self.networks.width, 1)
        self.impressions = EntireSpace(tasks)
        probable = [task.probability for task in tasks]
        ordered = [at >= 0 and probable[task] and probable[at] for task, at in enumerate(before)]
        conditional = [at >= 0 and probable[task] for task, at in enumerate(given)]
        for name, values in (("before", before), ("given", given), ("ordered", ordered), ("conditional", conditional)):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.before: Tensor
        self.given: Tensor
        self.ordered: Tensor
        self.conditional: Tensor

    def forward(self, batch: Batch) -> Tensor:
        """Return logits of probabilities at all impressions, shape (batch, tasks)."""
        logits: Tensor = self.head(self.transfer(self.networks(self.embed(batch))))
        return logits.squeeze(-1).t()

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return each task's loss, shape (tasks,): cross-entropy over all impressions and the calibrator."""
        outputs = outputs.float()
        labels, known = self.impressions.labels(batch)
        entropy = functional.binary_cross_entropy_with_logits(outputs, labels, reduction="none")
        probabilities = outputs.sigmoid()
        excess = torch.where(self.ordered, (probabilities - probabilities[:, self.before]).relu(), 0).mean(0)
        losses = masked_mean(entropy, torch.where(self.targets.probability, known, 0)) + self.calibrator * excess
        return torch.where(self.targets.probability, losses, super().loss(outputs, batch))

    def predict(self, outputs: Tensor) -> Tensor:
        """Return predictions, shape (batch, tasks); conditional probabilities, at most 1, for tasks with ``given``."""
        conditional = self._compute_log_conditional(outputs).exp().clamp(max=1)
        return torch.where(self.conditional, conditional, super().predict(outputs))

    def score(self, outputs: Tensor) -> Tensor:
        """Return logits, shape (batch, tasks), and logarithms of conditional probabilities, those above 1 too."""
        return torch.where(self.conditional, self._compute_log_conditional(outputs), super().score(outputs))

    def _compute_log_conditional(self, outputs: Tensor) -> Tensor:
        log_p = functional.logsigmoid(widen(outputs))
        return log_p - log_p[:, self.given]


def _find_given(tasks: Sequence[Task]) -> list[int]:
    """Return the column of the task that each task is given, or -1."""
    columns = {task.name: column for column, task in enumerate(tasks)}
    return [-1 if task.given is None else columns[task.given] for task in tasks]
