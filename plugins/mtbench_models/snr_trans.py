"""Sub-network routing with transformations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from mtbench import Choice, FloatRange, IntRange, ModelCard, MultiTaskModel
from mtbench.nn import FeatureEmbedding, HardConcrete, StackedLinear, StackedMLP, Towers
from mtbench_models.config import TowerConfig

if TYPE_CHECKING:
    from mtbench import Batch, DataSpec


class Connections(nn.Module):
    """A matrix from every lower sub-network to every upper one, each behind a gate of its own."""

    def __init__(self, lower: int, upper: int, width: int, initial_gate: float) -> None:
        super().__init__()
        self.linear = StackedLinear(upper, lower * width, width, bias=False)
        self.gates = HardConcrete(upper, lower, start=initial_gate)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (upper, batch, width) for ``x`` of shape (lower, batch, width)."""
        z = self.gates().repeat_interleave(x.shape[-1], 1).unsqueeze(1)
        weight = self.linear.weight * z
        y = functional.linear(x.transpose(0, 1).flatten(1), weight.flatten(0, 1))
        return y.view(len(y), *weight.shape[:2]).transpose(0, 1)


class SNRTrans(MultiTaskModel):
    """Levels of sub-networks between which learned gates choose the connections.

    A gate is drawn once per training batch, is exactly 0 or 1 with some probability, and is deterministic in
    evaluation.
    """

    class Config(TowerConfig):
        """Settings of SNR-Trans."""

        levels: Annotated[int, IntRange(1, 3)] = Field(2, gt=0, description="Levels of sub-networks.")
        subnetworks: Annotated[int, IntRange(2, 8)] = Field(4, gt=0, description="Sub-networks on a level.")
        subnetwork_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (256, 128)))] = Field(
            (128, 64), min_length=1, description="Layer sizes of a sub-network."
        )
        l0: Annotated[float, FloatRange(1e-5, 1e-1, log=True)] = Field(
            1e-3, ge=0, description="Weight of the expected share of open connections in each task's loss."
        )
        initial_gate: Annotated[float, FloatRange(0.5, 0.95)] = Field(
            0.8, gt=0, lt=1, description="The sigmoid of a gate's parameter at the start."
        )

    card = ModelCard(
        paper=(
            "Ma, Zhao, Chen, Li, Hong, Chi: SNR: Sub-Network Routing for Flexible Parameter Sharing in Multi-task "
            "Learning. AAAI 2019."
        ),
        equations=(
            "v_i = sum over j of z_ij W_ij u_j, from the outputs u of a level to the inputs v of the next",
            "the same from the last level to the towers, which give the logits",
            "z_ij is a hard concrete variable",
            "loss_t = cross-entropy_t + l0 * expected share of open connections",
        ),
        inferred=(
            "From a review: the equation, hard concrete gates, the L0 penalty. No code of the authors was found.",
            (
                "Decided here: sizes, one gate for each connection, the start of the gates, and the penalty as a "
                "share, so that its weight means the same for any number of connections."
            ),
        ),
        differences=("SNR-Aver, which has no W, is not offered.",),
    )

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        self.l0 = config.l0
        self.embed = FeatureEmbedding(data, config.embedding_dim, dropout=config.embedding_dropout)
        width = config.subnetwork_layers[-1]
        self.levels = nn.ModuleList(
            StackedMLP(
                config.subnetworks,
                width if level else self.embed.width,
                config.subnetwork_layers,
                config.dropout,
                config.norm,
            )
            for level in range(config.levels)
        )
        uppers = [config.subnetworks] * (config.levels - 1) + [data.num_tasks]
        self.connections = nn.ModuleList(
            Connections(config.subnetworks, upper, width, config.initial_gate) for upper in uppers
        )
        self.towers = Towers(data.num_tasks, width, config.tower_layers, config.dropout, config.norm)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        x = self.embed(batch)
        for level, connections in zip(self.levels, self.connections, strict=True):
            x = connections(level(x))
        logits: Tensor = self.towers(x)
        return logits

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return each task's loss, shape (tasks,), with the penalty on open connections."""
        gates = [module for module in self.modules() if isinstance(module, HardConcrete)]
        total = sum(gate.log_alpha.numel() for gate in gates)
        opened = sum((gate.expected_open() for gate in gates), outputs.new_zeros(()))
        return super().loss(outputs, batch) + self.l0 * opened / total
