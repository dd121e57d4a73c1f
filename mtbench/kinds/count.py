"""Tasks whose label is a count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.kinds.kind import Kind

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mtbench.kinds.kind import Fit, Fits

LARGEST = 30.0
"""A logit counts as this at most where a rate is predicted, so that it stays finite."""
SMALLEST = 0.01
"""The smallest rate that a reference can predict, as a share of the mean: zero would be a certainty."""


class Count(Kind):
    """How often something happens: Poisson regression with a logarithmic link; the prediction is the rate.

    The rate is the mean of the training labels times exp(logit). The loss is half the deviance, over the dispersion of
    the training labels, variance over mean: the quasi-likelihood of Wedderburn, Biometrika 1974. Counts that vary as
    much as Poisson's have a dispersion of 1; where they vary more, as numbers of plays do, their losses stay as large
    as those of a standardised regression and drown no other task. It is 1 at least.
    """

    metric = "poisson_deviance"
    label = "a whole number from 0 on"
    judged_as = ("regression",)
    rising = True

    def allows(self, labels: np.ndarray) -> np.ndarray:
        """Return which numbers are whole and not negative."""
        allowed: np.ndarray = super().allows(labels) & (labels == labels.round()) & (labels >= 0)
        return allowed

    def fit(self, labels: np.ndarray) -> Fit:
        """Return the ``mean`` of the labels, 1 where there is nothing to count, and their ``dispersion``."""
        if not labels.any():
            return {"mean": 1.0, "dispersion": 1.0}
        mean = float(labels.mean())
        return {"mean": mean, "dispersion": max(float(labels.var()) / mean, 1.0)}

    def loss(self, logits: Tensor, labels: Tensor, fits: Fits) -> Tensor:
        """Return half the deviance over the dispersion."""
        labels = labels.clamp(min=0)
        log_rates = logits + fits["mean"].log()
        return (log_rates.exp() - labels + labels.xlogy(labels) - labels * log_rates) / fits["dispersion"]

    def predict(self, logits: Tensor, fits: Fits) -> Tensor:
        """Return rates."""
        return logits.clamp(max=LARGEST).exp() * fits["mean"]

    def admit(self, values: np.ndarray, fit: Fit) -> np.ndarray:
        """Return values that are positive."""
        return values.clip(SMALLEST * fit["mean"])
