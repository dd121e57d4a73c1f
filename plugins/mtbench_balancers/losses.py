"""One loss from the losses of the tasks, with weights that are learned, computed or drawn.

A task of which no row of a batch counts has no loss there, and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor
from torchjd import scalarization

from mtbench import Balancer, FloatRange, Settings
from mtbench_balancers.fixed import make_task_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench import Task

TORCHJD = ("torchjd",)


class Uncertainty(Balancer):
    """Learned uncertainties: the sum of (exp(-s) L + s) / 2, with an s for each task (Kendall et al., CVPR 2018).

    s starts at 0 and is the logarithm of the task's variance.
    """

    packages: ClassVar[tuple[str, ...]] = TORCHJD
    searched: ClassVar[bool] = True
    distributed: ClassVar[bool] = True

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.scalarizer = scalarization.UW(len(tasks))

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        still = self.scalarizer.log_var.detach().exp()  # the loss at which s has no gradient
        return self.scalarizer(torch.where(self.find_present(losses), losses, still))


class IMTLL(Balancer):
    """Learned scales: the sum of exp(s) L - s, with an s for each task (IMTL-L; Liu et al., ICLR 2021)."""

    packages: ClassVar[tuple[str, ...]] = TORCHJD
    searched: ClassVar[bool] = True
    distributed: ClassVar[bool] = True

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.scalarizer = scalarization.IMTLL(len(tasks))

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        still = (-self.scalarizer.log_scale.detach()).exp()  # the loss at which s has no gradient
        return self.scalarizer(torch.where(self.find_present(losses), losses, still))


class DWA(Balancer):
    """Dynamic weight average: tasks whose loss falls slowly weigh more (Liu et al., CVPR 2019).

    The weights of an epoch are softmax(r / temperature), r the ratio of a task's mean losses in the two epochs before,
    over the batches of which rows count for it. They are equal in the first two epochs.
    """

    searched: ClassVar[bool] = True
    distributed: ClassVar[bool] = True

    class Config(Settings):
        """Settings of the dynamic weight average."""

        temperature: Annotated[float, FloatRange(0.5, 5.0)] = Field(
            2.0, gt=0, description="Makes the weights more alike the higher it is."
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.temperature = config.temperature
        self.last: Tensor
        self.before: Tensor
        self.register_buffer("last", torch.full((len(tasks),), torch.nan))
        self.register_buffer("before", torch.full((len(tasks),), torch.nan))

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        rates = (self.last / self.before).nan_to_num(nan=1.0)
        return (rates / self.temperature).softmax(0) @ losses

    def end_epoch(self, losses: Tensor) -> None:
        """Take note of the mean losses of an epoch, shape (tasks,)."""
        self.before.copy_(self.last)
        self.last.copy_(torch.where(losses.isnan(), self.last, losses))


class _ResumableFAMO(scalarization.FAMO):
    """FAMO that keeps its inner optimiser's state with its own."""

    _resumed: dict[str, Any] | None = None

    @property
    def weights(self) -> Tensor:
        return self._w.detach().softmax(0)

    def update(self, values: Tensor, /) -> None:
        if self._resumed is not None:  # not before: the weights may have moved to another device since
            self._optimizer = torch.optim.Adam([self._w])
            self._optimizer.load_state_dict(self._resumed)
            self._resumed = None
        super().update(values)

    def get_extra_state(self) -> dict[str, Any] | None:
        return self._resumed if self._optimizer is None else self._optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any] | None) -> None:
        self._optimizer = None
        self._resumed = state


class FAMO(Balancer):
    """Fast adaptive multitask optimisation: all losses fall at about one rate (Liu et al., NeurIPS 2023).

    The weights learn from how each task's loss on a batch changed with the step, so that every batch is passed forward
    twice (with the same dropout). Where no row of a batch counts for a task, its loss is taken to be the last known
    one, and to have changed as the others did.
    """

    packages: ClassVar[tuple[str, ...]] = TORCHJD
    revisits: ClassVar[bool] = True

    class Config(Settings):
        """Settings of FAMO."""

        learning_rate: Annotated[float, FloatRange(1e-3, 0.1, log=True)] = Field(
            0.025, gt=0, description="Step size of the weights."
        )
        weight_decay: Annotated[float, FloatRange(1e-5, 1e-2, log=True)] = Field(
            1e-3, ge=0, description="Pulls the weights towards equal ones."
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.scalarizer = _ResumableFAMO(len(tasks), lr=config.learning_rate, weight_decay=config.weight_decay)
        self.known: Tensor
        self.register_buffer("known", torch.ones(len(tasks)))

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        present = self.find_present(losses)
        self.known = torch.where(present, losses.detach(), self.known)
        return self.scalarizer(torch.where(present, losses, self.known))

    def after_step(self, losses: Tensor) -> None:
        """Learn from the losses after the step, shape (tasks,)."""
        present = self.find_present(losses)
        weights = torch.where(present, self.scalarizer.weights, 0)
        change = torch.where(present, losses / self.known, 1).log()
        others = (weights @ change / weights.sum()).nan_to_num()
        self.scalarizer.update(torch.where(present, losses, self.known * others.exp()))


class GeometricMean(Balancer):
    """The geometric mean of the losses: no task's scale matters (Chennupati et al., CVPR workshops 2019)."""

    packages: ClassVar[tuple[str, ...]] = TORCHJD

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.scalarizer = scalarization.GeometricMean()

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        present = self.find_present(losses)
        return self.scalarizer(losses[present]) if present.any() else losses.sum()


class RandomWeights(Balancer):
    """Random positive weights that sum to 1, drawn for each batch (random loss weighting; Lin et al., TMLR 2022)."""

    packages: ClassVar[tuple[str, ...]] = TORCHJD

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.scalarizer = scalarization.Random()

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        return self.scalarizer(losses)


class PreferenceConfig(Settings):
    """Settings of a scalarisation with preferences."""

    weights: Mapping[str, PositiveFloat] = Field(
        default_factory=dict, description="How much each task matters; 1 where it is not given."
    )


class _Preferring(Balancer):
    """A scalarisation of the tasks present, with a weight for each."""

    packages: ClassVar[tuple[str, ...]] = TORCHJD
    name: ClassVar[str]

    def __init__(self, config: PreferenceConfig, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weights: Tensor
        self.register_buffer("weights", make_task_weights(self.name, config.weights, tasks), persistent=False)

    def forward(self, losses: Tensor) -> Tensor:
        """Return a scalar for the losses of the tasks, shape (tasks,)."""
        present = self.find_present(losses)
        if not present.any():
            return losses.sum()
        return self.make_scalarizer(self.weights[present])(losses[present])

    def make_scalarizer(self, weights: Tensor) -> scalarization.Scalarizer:
        """Return what makes one loss of those with these weights."""
        raise NotImplementedError


class STCH(_Preferring):
    """Smooth Tchebycheff scalarisation: mu log sum exp(w L / mu), a smooth maximum (Lin et al., ICML 2024)."""

    name: ClassVar[str] = "stch"

    class Config(PreferenceConfig):
        """Settings of the smooth Tchebycheff scalarisation."""

        mu: Annotated[float, FloatRange(0.01, 1.0, log=True)] = Field(
            0.1, gt=0, description="Smoothness; the lower, the more the largest weighted loss alone counts."
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.mu = config.mu

    def make_scalarizer(self, weights: Tensor) -> scalarization.Scalarizer:
        """Return what makes one loss of those with these weights."""
        return scalarization.STCH(self.mu, weights)


class COSMOS(_Preferring):
    """The weighted mean of the losses minus a multiple of its cosine with the weights (Ruchte & Grabocka, ICDM 2021).

    The scalarisation alone: the paper's networks are conditioned on the weights too.
    """

    name: ClassVar[str] = "cosmos"

    class Config(PreferenceConfig):
        """Settings of COSMOS."""

        penalty: Annotated[float, FloatRange(0.01, 8.0, log=True)] = Field(
            1.0, ge=0, description="Multiple of the cosine."
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.penalty = config.penalty

    def make_scalarizer(self, weights: Tensor) -> scalarization.Scalarizer:
        """Return what makes one loss of those with these weights."""
        return scalarization.COSMOS(self.penalty, weights)


class PBI(_Preferring):
    """Penalty-based boundary intersection: the losses along the weights, plus how far off (Zhang & Li, TEVC 2007).

    The paper's theta of 5 is for evolutionary search: in training, a theta above about 0.7 raises the smaller losses
    where the largest does not fall fast enough.
    """

    name: ClassVar[str] = "pbi"

    class Config(PreferenceConfig):
        """Settings of the penalty-based boundary intersection."""

        theta: Annotated[float, FloatRange(0.05, 5.0, log=True)] = Field(
            0.5, ge=0, description="Penalty on the distance from the direction of the weights."
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.theta = config.theta

    def make_scalarizer(self, weights: Tensor) -> scalarization.Scalarizer:
        """Return what makes one loss of those with these weights."""
        return scalarization.PBI(self.theta, weights)
