"""What the data allow to say of means and of differences between models: intervals, p, Holm, ranks, delta-m.

A mean over seeds varies for two reasons: which users were in the test set, and which seeds were trained. The users'
part comes from joint resamples, the seeds' part from the deviation over the seeds, both enter with t quantiles whose
degrees of freedom follow Satterthwaite (Biometrics Bulletin 1946). Where neither part is known, as of one seed without
resamples, there is no interval and no p. An interval ends where the metric does: the true mean lies inside, so that
cutting loses nothing of its coverage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from mtbench.evaluation.improvement import compute_improvement

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.05
ROUNDING = 1e-12


class Sample(NamedTuple):
    """A model's values: of each seed, shape (seeds,), and of each resample, the mean over seeds, shape (resamples,).

    A resample without a value is NaN; ``replicates`` is empty where nothing was resampled. ``limits`` are the least and
    the greatest value that there can be.
    """

    seeds: np.ndarray
    replicates: np.ndarray
    limits: tuple[float, float] = (-np.inf, np.inf)


class Estimates(NamedTuple):
    """Means, the ends of their 95 % intervals and the two-sided p against zero, all of shape (estimates,).

    Ends and p are NaN where nothing tells how far the mean varies. ``clusters`` and ``seeds`` are the shares of the
    variance, both 0 where there is none.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    clusters: np.ndarray
    seeds: np.ndarray


def means(samples: Sequence[Sample], clusters: int) -> Estimates:
    """Return the mean over seeds of each sample. One seed has no seeds' part: its interval is of this trained model."""
    joint = [_joint([sample]) for sample in samples]
    own = [_clusters_variance(one, clusters)[0] for one in joint]
    known = [_varies(one) or has_seeds for one, has_seeds in zip(joint, _have_seeds(samples), strict=True)]
    estimates = _estimates(_means(samples), np.array(own), clusters, _seeds_parts(samples), known=np.array(known, bool))
    return _cut(estimates, *_limits(samples))


def differences(samples: Sequence[Sample], clusters: int) -> Estimates:
    """Return first minus second of every pair of samples, in the order of ``np.triu_indices(len(samples), 1)``.

    Where any sample has no replicates there is no clusters' part.
    """
    first, second = np.triu_indices(len(samples), 1)
    replicates = _joint(samples)
    covariance = _covariance(replicates, clusters)
    own = np.diag(covariance)
    both = own[first] + own[second]
    joint = both - 2 * covariance[first, second]
    joint[joint < ROUNDING * both] = 0.0  # all that is left of equal models
    variances, degrees = _seeds_parts(samples).T
    mean = _means(samples)
    parts = [np.stack((variances[side], degrees[side]), axis=-1) for side in (first, second)]
    has_seeds = _have_seeds(samples)
    known = has_seeds[first] & has_seeds[second] | _varies(replicates)
    low, high = _limits(samples)
    estimates = _estimates(mean[first] - mean[second], joint, clusters, *parts, known=known)
    return _cut(estimates, low[first] - high[second], high[first] - low[second])


def mean_share(samples: Sequence[Sample], constants: Sequence[float], bests: Sequence[float]) -> Sample:
    """Return the mean improvement over samples, one per task, from the constant predictor to a perfect model."""
    constant, best = (np.asarray(values)[:, None] for values in (constants, bests))

    def mean(values: np.ndarray) -> np.ndarray:
        shares: np.ndarray = compute_improvement(values, constant, best).mean(axis=0)
        return shares

    whole = all(sample.replicates.size for sample in samples)
    replicates = mean(np.stack([sample.replicates for sample in samples])) if whole else np.empty(0)
    ends = np.sort(compute_improvement(np.stack(_limits(samples), axis=1), constant, best), axis=1).mean(axis=0)
    return Sample(mean(np.stack([sample.seeds for sample in samples])), replicates, (ends[0], ends[1]))


def changes(
    model: Sequence[Sample],
    baseline: Sequence[Sample],
    signs: Sequence[float],
    origins: Sequence[float],
    clusters: int,
) -> Estimates:
    """Return the relative change against a baseline of each task, positive where better, and last delta-m, their mean.

    One sample per task of either; a value counts from its task's origin, which the baseline must exceed. Sign -1 is of
    a metric that is better when lower. Intervals are by the delta method (Maninis et al., CVPR 2019, define delta-m);
    where values end at their origin, none can fall by more than 100 %.
    """
    own, base, origin, sign = _means(model), _means(baseline), np.asarray(origins), np.asarray(signs)
    averaged = np.vstack((np.eye(len(model)), np.full(len(model), 1 / len(model))))
    by_model = averaged * (sign / (base - origin))
    by_baseline = averaged * (-sign * (own - origin) / (base - origin) ** 2)
    joint = np.hstack((by_model, by_baseline)) @ _joint([*model, *baseline])
    known = _varies(joint) or bool(_have_seeds([*model, *baseline]).all())
    estimates = _estimates(
        averaged @ (sign * (own - base) / (base - origin)),
        _clusters_variance(joint, clusters),
        clusters,
        _seeds_part(by_model @ np.stack([sample.seeds for sample in model])),
        _seeds_part(by_baseline @ np.stack([sample.seeds for sample in baseline])),
        known=np.full(len(averaged), known),
    )
    ends = np.where(_limits(model)[0] == origin, -sign, np.nan)
    low, high = np.where(ends < 0, ends, -np.inf), np.where(ends > 0, ends, np.inf)
    return _cut(estimates, np.append(low, low.mean()), np.append(high, high.mean()))


def holm(p: np.ndarray) -> np.ndarray:
    """Return p adjusted for all tests together, shape (tests,). Holm, Scandinavian Journal of Statistics 1979."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def rank_intervals(effects: np.ndarray, adjusted: np.ndarray, models: int) -> np.ndarray:
    """Return the first and last rank of each model, int of shape (models, 2).

    ``effects`` and ``adjusted`` are of the pairs, ordered as by :func:`differences`, an effect being positive where the
    first is better. Ranks run from 1 + the number of models significantly better to the number of models less those
    significantly worse: with p adjusted by Holm all intervals hold together with 95 % (Al Mohamad, Goeman and van Zwet,
    Biometrics 2022).
    """
    first, second = np.triu_indices(models, 1)
    clear = adjusted < LEVEL
    beats = np.zeros((models, models), bool)
    beats[first, second] = clear & (effects > 0)
    beats[second, first] = clear & (effects < 0)
    return np.stack((1 + beats.sum(axis=0), models - beats.sum(axis=1)), axis=1)


def _means(samples: Sequence[Sample]) -> np.ndarray:
    return np.array([sample.seeds.mean() for sample in samples])


def _joint(samples: Sequence[Sample]) -> np.ndarray:
    """Return the replicates of the resamples that every sample has a value for, shape (samples, resamples)."""
    if not all(sample.replicates.size for sample in samples):
        return np.empty((len(samples), 0))
    replicates = np.stack([sample.replicates for sample in samples])
    kept: np.ndarray = replicates[:, ~np.isnan(replicates).any(axis=0)]
    return kept


def _varies(joint: np.ndarray) -> bool:
    """Return whether there are resamples that say how far values vary."""
    return int(joint.shape[1]) > 1


def _have_seeds(samples: Sequence[Sample]) -> np.ndarray:
    """Return whether seeds say how far each sample varies, shape (samples,)."""
    return np.array([len(sample.seeds) > 1 for sample in samples], bool)


def _limits(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.array([sample.limits for sample in samples]).reshape(-1, 2).T
    return low, high


def _cut(estimates: Estimates, low: np.ndarray, high: np.ndarray) -> Estimates:
    """Return the estimates with intervals that end at these limits."""
    return estimates._replace(low=np.maximum(estimates.low, low), high=np.minimum(estimates.high, high))


def _covariance(joint: np.ndarray, clusters: int) -> np.ndarray:
    """Return the covariance of replicates; drawn from what was observed they vary too little by (clusters - 1)."""
    if not _varies(joint):
        return np.zeros((len(joint), len(joint)))
    return np.atleast_2d(np.cov(joint)) * (clusters / (clusters - 1))


def _clusters_variance(joint: np.ndarray, clusters: int) -> np.ndarray:
    return np.diag(_covariance(joint, clusters))


def _seeds_parts(samples: Sequence[Sample]) -> np.ndarray:
    """Return the seeds' variance of each mean and its degrees of freedom, shape (samples, 2)."""
    return np.array([_seeds_part(sample.seeds[None])[0] for sample in samples]).reshape(-1, 2)


def _seeds_part(values: np.ndarray) -> np.ndarray:
    """Return the variance of means over seeds, (means, seeds), and its degrees of freedom, (means, 2)."""
    seeds = values.shape[1]
    variances = values.var(axis=1, ddof=1) / seeds if seeds > 1 else np.zeros(len(values))
    return np.stack((variances, np.full(len(values), max(seeds - 1, 1))), axis=1)


def _estimates(mean: np.ndarray, joint: np.ndarray, clusters: int, *seeds: np.ndarray, known: np.ndarray) -> Estimates:
    """Return the estimates whose variance is the sum of the clusters' part and of independent parts of seeds."""
    variances = np.stack([joint, *(part[:, 0] for part in seeds)])
    degrees = np.stack([np.full(len(mean), max(clusters - 1, 1)), *(part[:, 1] for part in seeds)])
    total = variances.sum(axis=0)
    varies = total > 0
    safe = np.where(varies, total, 1.0)
    freedom = np.where(varies, safe**2 / np.where(varies, (variances**2 / degrees).sum(axis=0), 1.0), 1.0)
    error = np.sqrt(total)
    half = np.where(known, stats.t.ppf(1 - LEVEL / 2, freedom) * error, np.nan)
    p = np.where(varies, 2 * stats.t.sf(np.abs(mean) / np.sqrt(safe), freedom), mean == 0)
    p = np.where(known, p, np.nan)
    return Estimates(mean, mean - half, mean + half, p, joint / safe, variances[1:].sum(axis=0) / safe)
