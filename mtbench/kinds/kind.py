"""What a kind of task is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np
    from torch import Tensor

    Fit = Mapping[str, Any]
    Fits = Mapping[str, Tensor]


class Kind(ABC):
    """What the labels of a task are, how one logit per row learns them, and what is predicted from it.

    ``metric`` is the primary metric of tasks that name none, and ``judged_as`` names kinds whose metrics judge this
    one too. ``label`` says in words what a label must be. Labels of ``probability`` are 0 or 1, and predictions
    probabilities: such a task is an event that graphs and histories are made of, and may be ``given`` to others.
    ``rising`` says that predictions rise with the logit, by which rows are ranked then: it does not saturate.

    ``fit`` looks at the training labels once. What it returns, numbers and lists of them, comes back to ``admit`` as it
    is, and to ``loss`` and ``predict`` as tensors, stacked over the tasks that are computed together: a number of each
    has shape (tasks,), a list of K numbers (tasks, K); they are float64, so that labels are centred before they are
    rounded. The entries named in ``learned`` are parameters, trained from
    these values on. The module of a kind imports torch, if it must, inside of functions.

    Since 0.1, provisional.
    """

    metric: ClassVar[str]
    label: ClassVar[str]
    probability: ClassVar[bool] = False
    rising: ClassVar[bool] = False
    judged_as: ClassVar[tuple[str, ...]] = ()
    learned: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    def is_judged_by(self, kinds: Collection[str]) -> bool:
        """Return whether a metric for these kinds of tasks judges this one."""
        return any(name in kinds for name in (self.name, *self.judged_as))

    def allows(self, labels: np.ndarray) -> np.ndarray:
        """Return which numbers (rows,) can be labels, bool; what is said of NaN is not asked. All finite ones can."""
        allowed: np.ndarray = abs(labels) < math.inf
        return allowed

    def fit(self, labels: np.ndarray) -> Fit:  # noqa: ARG002
        """Return what the training labels that count, float64 (rows,), teach; there may be none."""
        return {}

    def constant(self, labels: np.ndarray) -> float:
        """Return the prediction of one who knows the training labels that count, float64 (rows,), alone: their mean."""
        return float(labels.mean()) if len(labels) else 0.0

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, fits: Fits) -> Tensor:
        """Return the loss of each label, finite and 0 or more, all of shape (rows, tasks).

        A label that does not count may be any number; its loss must be finite too. Logits are float32, labels float64
        where that cannot hold them; whatever the loss is in, float32 becomes of it.
        """

    @abstractmethod
    def predict(self, logits: Tensor, fits: Fits) -> Tensor:
        """Return the expected label for each logit, (rows, tasks), in the label's unit; logits are float64."""

    def admit(self, values: np.ndarray, fit: Fit) -> np.ndarray:  # noqa: ARG002
        """Return predictions (rows,) of a model that knows nothing of kinds, moved to where predictions can be."""
        return values
