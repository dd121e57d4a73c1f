"""Tasks whose label is any number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.kinds.kind import Kind

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mtbench.kinds.kind import Fit, Fits


class Regression(Kind):
    """A number: squared error of the standardised label, which the logit is."""

    metric = "rmse"
    label = "a finite number"
    rising = True

    def fit(self, labels: np.ndarray) -> Fit:
        """Return the ``centre`` and ``scale`` of the labels, their mean and deviation."""
        if not len(labels):
            return {"centre": 0.0, "scale": 1.0}
        return {"centre": float(labels.mean()), "scale": float(labels.std())}

    def loss(self, logits: Tensor, labels: Tensor, fits: Fits) -> Tensor:
        """Return the squared error."""
        return (logits - ((labels - fits["centre"]) / fits["scale"]).to(logits.dtype)).square()

    def predict(self, logits: Tensor, fits: Fits) -> Tensor:
        """Return values in the unit of the label."""
        return logits * fits["scale"] + fits["centre"]
