"""One gradient of the shared parameters from those of the tasks.

A task whose gradient is zero, because no row of the batch counts for it, is left out. Weights are found on the CPU in
double precision, from the inner products of the gradients: that is all that these methods need.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.optimize import nnls
from torch import Tensor, nn
from torchjd import aggregation
from torchjd.linalg import DualConeProjector

from mtbench import Aggregator, Choice, FloatRange, IntRange, MTBenchError, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench import Task

TORCHJD = ("torchjd",)
RIDGE = 1e-7


class Weighing(Aggregator):
    """Adds the tasks' gradients with weights that depend on their inner products.

    A subclass sets ``weighting``, or overrides :meth:`weigh`.
    """

    packages: ClassVar[tuple[str, ...]] = TORCHJD
    weighting: nn.Module

    def combine(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return one gradient of each parameter for those of the tasks, shape (tasks, ...) each."""
        if not gradients:
            return []
        rows = [of_tasks.flatten(1) for of_tasks in gradients]
        gramian = torch.stack([row @ row.T for row in rows]).cpu().double().sum(0)
        if not gramian.isfinite().all():
            raise MTBenchError("the gradients of the tasks are not finite; lower training.learning_rate")
        moving = gramian.diagonal() > 0
        weights = torch.zeros(len(gramian), dtype=torch.float64)
        weights[moving] = self.weigh(gramian[moving][:, moving], moving) if moving.sum() > 1 else 1.0
        return [torch.tensordot(weights.to(of_tasks), of_tasks, dims=1) for of_tasks in gradients]

    def weigh(self, gramian: Tensor, moving: Tensor) -> Tensor:
        """Return the weights of the n >= 2 gradients that are not zero, shape (n,).

        ``gramian`` (n, n) holds their inner products and ``moving`` (tasks,) says whose they are.
        """
        del moving
        weights: Tensor = self.weighting(gramian)
        return weights


def factor(gramian: Tensor) -> Tensor:
    """Return n vectors of n values with the same inner products, shape (n, n)."""
    values, vectors = torch.linalg.eigh(gramian)
    scaled: Tensor = vectors * values.clamp(min=0).sqrt()
    return scaled


class _Projector(DualConeProjector):
    """Projects onto the dual cone by non-negative least squares, without a quadratic-programming package.

    The projection of J^T u is J^T (u + x) with x >= 0 of the least norm of J^T (u + x). Gradients that depend on each
    other would allow any x: RIDGE keeps it small enough for single precision.
    """

    def __call__(self, U: Tensor, G: Tensor) -> Tensor:  # noqa: N803 - torchjd's names
        columns = factor(G / G.trace() + RIDGE * torch.eye(len(G), dtype=G.dtype)).numpy().T
        projected: np.ndarray = np.apply_along_axis(lambda u: u + nnls(columns, -columns @ u)[0], -1, U.numpy())
        return torch.from_numpy(projected)


class UPGrad(Weighing):
    """The mean of the gradients, each projected so that it conflicts with none (Quinton & Rey, arXiv 2406.16232)."""

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weighting = aggregation.UPGradWeighting(projector=_Projector())


class DualProj(Weighing):
    """The mean of the gradients, projected so that it conflicts with none (GEM; Lopez-Paz & Ranzato, NeurIPS 2017)."""

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weighting = aggregation.DualProjWeighting(projector=_Projector())


class PCGrad(Weighing):
    """The sum of the gradients, each freed in turn of what conflicts with another (Yu et al., NeurIPS 2020)."""

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weighting = aggregation.PCGradWeighting()


class MGDA(Weighing):
    """The shortest convex combination of the gradients (Désidéri 2012; Sener & Koltun, NeurIPS 2018)."""

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weighting = aggregation.MGDAWeighting()


class CAGrad(Weighing):
    """The best worst case among directions near the mean gradient (Liu et al., NeurIPS 2021)."""

    packages: ClassVar[tuple[str, ...]] = (*TORCHJD, "cvxpy", "clarabel")

    class Config(Settings):
        """Settings of CAGrad."""

        c: Annotated[float, FloatRange(0.1, 0.9)] = Field(
            0.4, ge=0, lt=1, description="How far from the mean gradient, as a share of its length."
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weighting = aggregation.CAGradWeighting(config.c)

    def weigh(self, gramian: Tensor, moving: Tensor) -> Tensor:
        """Return the weights of the gradients that are not zero, shape (n,)."""
        return super().weigh(gramian / gramian.trace(), moving)  # torchjd takes short gradients for zero


class NashMTL(Weighing):
    """The Nash bargaining solution, in which each task gains as much in proportion (Navon et al., ICML 2022).

    Each problem is solved from the weights of the last one. A solution takes a good part of a second: see ``every``.
    """

    packages: ClassVar[tuple[str, ...]] = (*TORCHJD, "cvxpy", "ecos")

    class Config(Settings):
        """Settings of Nash-MTL."""

        max_norm: Annotated[float, FloatRange(0.1, 10.0, log=True)] = Field(
            1.0, ge=0, description="Longest combined gradient; 0 for no limit."
        )
        every: Annotated[int, IntRange(1, 50, log=True)] = Field(
            1, gt=0, description="Steps that go on with one solution."
        )
        iterations: int = Field(20, gt=0, description="Iterations of the solver at most.")

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.settings = config
        self.solvers: dict[int, aggregation.NashMTL] = {}
        self.alpha: Tensor
        self.steps: Tensor
        self.register_buffer("alpha", torch.ones(len(tasks)))
        self.register_buffer("steps", torch.tensor(0))

    def weigh(self, gramian: Tensor, moving: Tensor) -> Tensor:
        """Return the weights of the gradients that are not zero, shape (n,)."""
        moving = moving.to(self.alpha.device)
        if self.steps % self.settings.every == 0:
            self.alpha[moving] = self._solve(gramian, self.alpha[moving]).to(self.alpha)
        self.steps += 1
        weights = self.alpha[moving].cpu().double()
        length = (weights @ gramian @ weights).sqrt()
        limit = self.settings.max_norm
        return weights * (limit / length) if 0 < limit < length else weights

    def _solve(self, gramian: Tensor, last: Tensor) -> Tensor:
        solver = self.solvers.get(len(gramian))
        if solver is None:
            solver = aggregation.NashMTL(len(gramian), max_norm=0.0, optim_niter=self.settings.iterations)
            self.solvers[len(gramian)] = solver
        solver.weighting.prvs_alpha = last.cpu().numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a problem that is slow, and solved roughly
            return solver.weighting(factor(gramian))


class IMTLG(Weighing):
    """The combination whose projections onto all gradients are equally long (IMTL-G; Liu et al., ICLR 2021)."""

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weighting = aggregation.IMTLGWeighting()


class AlignedMTL(Weighing):
    """The mean of the gradients with principal components made equally long (Senushkin et al., CVPR 2023)."""

    class Config(Settings):
        """Settings of Aligned-MTL."""

        scale: Annotated[Literal["min", "median", "rmse"], Choice(("min", "median", "rmse"))] = Field(
            "min", description="Length of the components: the least of theirs, the median, or of the mean square."
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weighting = aggregation.AlignedMTLWeighting(scale_mode=config.scale)


class FairGrad(Weighing):
    """The alpha-fair allocation of the loss decrease to the tasks (Ban & Ji, ICML 2024)."""

    class Config(Settings):
        """Settings of FairGrad."""

        alpha: Annotated[float, FloatRange(0.5, 5.0)] = Field(
            2.0, gt=0, description="Kind of fairness: 1 is proportional, more is nearer to max-min."
        )

    def __init__(self, config: Config, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.weighting = aggregation.FairGradWeighting(config.alpha)


class ConFIG(Weighing):
    """The direction at one angle to all gradients, as long as their projections onto it (Liu et al., ICLR 2025)."""

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.aggregator = aggregation.ConFIG()

    def weigh(self, gramian: Tensor, moving: Tensor) -> Tensor:  # noqa: ARG002
        """Return the weights of the gradients that are not zero, shape (n,)."""
        vectors = factor(gramian)
        weights: Tensor = self.aggregator(vectors) @ torch.linalg.pinv(vectors)
        return weights


class GradDrop(Aggregator):
    """Keeps in each value the gradients of one sign, drawn by how pure it is (Chen et al., NeurIPS 2020)."""

    packages: ClassVar[tuple[str, ...]] = TORCHJD

    def __init__(self, config: Settings, tasks: Sequence[Task]) -> None:
        super().__init__(config, tasks)
        self.aggregator = aggregation.GradDrop()

    def combine(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return one gradient of each parameter for those of the tasks, shape (tasks, ...) each."""
        return [self.aggregator(of_tasks.flatten(1)).view_as(of_tasks[0]) for of_tasks in gradients]
