"""Tasks whose label is 0 or 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.kinds.kind import Kind

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mtbench.kinds.kind import Fit, Fits

EVEN = 0.5


class Binary(Kind):
    """An event, predicted with its probability: cross-entropy on the logit."""

    metric = "auc"
    label = "0 or 1"
    probability = True
    rising = True

    def allows(self, labels: np.ndarray) -> np.ndarray:
        """Return which numbers are 0 or 1."""
        allowed: np.ndarray = (labels == 0) | (labels == 1)
        return allowed

    def constant(self, labels: np.ndarray) -> float:
        """Return the share of positives; one half where there is no label."""
        return super().constant(labels) if len(labels) else EVEN

    def loss(self, logits: Tensor, labels: Tensor, fits: Fits) -> Tensor:  # noqa: ARG002
        """Return the cross-entropy."""
        from torch.nn import functional  # noqa: PLC0415 - kinds are known without torch

        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")

    def predict(self, logits: Tensor, fits: Fits) -> Tensor:  # noqa: ARG002
        """Return probabilities."""
        return logits.sigmoid()

    def admit(self, values: np.ndarray, fit: Fit) -> np.ndarray:  # noqa: ARG002
        """Return values from 0 to 1."""
        return values.clip(0, 1)
