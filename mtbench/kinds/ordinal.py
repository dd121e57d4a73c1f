"""Tasks whose label is a grade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.errors import MTBenchError
from mtbench.kinds.kind import Kind

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mtbench.kinds.kind import Fit, Fits

MOST_GRADES = 100
SPEED = 10.0
"""Cut points move so much faster than the parameter behind them: logits do so too, which many weights move at once."""


class Ordinal(Kind):
    """Ordered grades such as stars: cumulative logits with learned cut points; the expected grade is predicted.

    The probability of a grade up to g_k is sigmoid(c_k - logit), with one logit for all grades and cut points c_1 <
    c_2 < ...: the proportional odds of McCullagh, JRSS B 1980. Grades are whole numbers, those that training rows
    have; another one counts as the nearest of these. The cut points begin where a logit of 0 predicts the shares of
    the training labels. Ten times ``steps`` are the first cut point and numbers whose softplus is the distance to the
    next one.
    """

    metric = "qwk"
    label = "a whole number (a grade)"
    judged_as = ("regression",)
    rising = True
    learned = ("steps",)

    def allows(self, labels: np.ndarray) -> np.ndarray:
        """Return which numbers are whole."""
        allowed: np.ndarray = super().allows(labels) & (labels == labels.round())
        return allowed

    def fit(self, labels: np.ndarray) -> Fit:
        """Return the ``grades`` in their order and the initial ``steps``. Raises MTBenchError for more than 100."""
        import numpy as np  # noqa: PLC0415 - kinds are known without NumPy

        grades, counts = np.unique(labels, return_counts=True) if len(labels) else (np.arange(2.0), np.ones(2))
        if len(grades) > MOST_GRADES:
            raise MTBenchError(
                f"has {len(grades)} grades, and an ordinal task at most {MOST_GRADES}; take kind regression or count"
            )
        below = counts.cumsum()[:-1]
        cuts = np.log(below) - np.log(counts.sum() - below)
        gaps = np.diff(cuts)
        steps = [*cuts[:1], *(gaps + np.log(-np.expm1(-gaps)))]  # the inverse of softplus
        return {"grades": grades.tolist(), "steps": [float(step) / SPEED for step in steps]}

    def loss(self, logits: Tensor, labels: Tensor, fits: Fits) -> Tensor:
        """Return the negative logarithm of the probability of each grade."""
        import torch  # noqa: PLC0415 - kinds are known without torch
        from torch.nn.functional import logsigmoid  # noqa: PLC0415

        grades, cuts, gaps = fits["grades"], *_cuts(fits["steps"])
        at = (labels.unsqueeze(-1) > (grades[:, 1:] + grades[:, :-1]) / 2).sum(-1, keepdim=True)
        far = cuts.new_full((len(cuts), 1), torch.inf)
        bounds, widths = torch.cat([-far, cuts, far], 1), torch.cat([far, gaps, far], 1)
        of_grades = (bounds[:, :-1], bounds[:, 1:], widths)
        lower, upper, width = (part.expand(len(labels), -1, -1).gather(2, at).squeeze(2) for part in of_grades)
        # log(sigmoid(b) - sigmoid(a)) without the difference of near numbers
        return -logsigmoid(upper - logits) - logsigmoid(logits - lower) - (-(-width).expm1()).log()

    def predict(self, logits: Tensor, fits: Fits) -> Tensor:
        """Return expected grades: the lowest, and each distance to the next times the probability of going on."""
        grades, (cuts, _) = fits["grades"], _cuts(fits["steps"])
        beyond = (logits.unsqueeze(-1) - cuts).sigmoid()
        return grades[:, 0] + (beyond * grades.diff(dim=1)).sum(-1)

    def admit(self, values: np.ndarray, fit: Fit) -> np.ndarray:
        """Return values from the lowest to the highest grade."""
        return values.clip(fit["grades"][0], fit["grades"][-1])


def _cuts(steps: Tensor) -> tuple[Tensor, Tensor]:
    """Return cut points in their order, (tasks, grades - 1), and the distances between them."""
    import torch  # noqa: PLC0415 - kinds are known without torch
    from torch.nn.functional import softplus  # noqa: PLC0415

    first, gaps = SPEED * steps[:, :1], softplus(SPEED * steps[:, 1:])
    return torch.cat([first, gaps], 1).cumsum(1), gaps
