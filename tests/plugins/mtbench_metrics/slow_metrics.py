"""Every metric as its definition says, slowly: plain loops and exact sums. None where it is undefined.

All take predictions and labels as lists of numbers, and those over groups the group of each row.
"""

from __future__ import annotations

import math
from fractions import Fraction

EPS = 2.0**-52


def auc(preds, target):
    positives = [pred for pred, label in zip(preds, target, strict=True) if label]
    negatives = [pred for pred, label in zip(preds, target, strict=True) if not label]
    if not positives or not negatives:
        return None
    won = sum(2 * (one > other) + (one == other) for one in positives for other in negatives)
    return float(Fraction(won, 2 * len(positives) * len(negatives)))


def average_precision(preds, target):
    total = sum(target)
    if not total:
        return None
    terms = []
    for threshold in set(preds):
        gained = sum(label for pred, label in zip(preds, target, strict=True) if pred == threshold)
        taken = [label for pred, label in zip(preds, target, strict=True) if pred >= threshold]
        terms.append(gained * sum(taken) / len(taken))
    return math.fsum(terms) / total


def log_loss(preds, target):
    clipped = [min(max(pred, EPS), 1 - EPS) for pred in preds]
    terms = (-math.log(pred) if label else -math.log1p(-pred) for pred, label in zip(clipped, target, strict=True))
    return math.fsum(terms) / len(preds)


def normalized_entropy(preds, target):
    rate = sum(target) / len(target)
    if rate in {0, 1}:
        return None
    return log_loss(preds, target) / log_loss([rate] * len(target), target)


def calibration_error(preds, target, bins=15):
    """Return the gaps of bins of equal count, every row carrying the mean label of the rows tied with it."""
    shared = {}
    for tied in set(preds):
        labels = [label for pred, label in zip(preds, target, strict=True) if pred == tied]
        shared[tied] = Fraction(int(sum(labels)), len(labels))
    rows = sorted(preds, reverse=True)
    total = Fraction(0)
    for chosen in range(bins):
        inside = [pred for place, pred in enumerate(rows) if place * bins // len(rows) == chosen]
        total += abs(sum((shared[pred] - Fraction(pred) for pred in inside), Fraction(0)))
    return float(total / len(rows))


def _by_group(preds, target, groups):
    users = {}
    for pred, label, group in zip(preds, target, groups, strict=True):
        users.setdefault(group, ([], []))
        users[group][0].append(pred)
        users[group][1].append(label)
    return list(users.values())


def gauc(preds, target, groups):
    if groups is None:
        return None
    areas = [(auc(*user), len(user[0])) for user in _by_group(preds, target, groups)]
    judged = [(area, rows) for area, rows in areas if area is not None]
    if not judged:
        return None
    return math.fsum(area * rows for area, rows in judged) / sum(rows for _, rows in judged)


def _over_groups(value, preds, target, groups, k):
    """Return the mean over the groups that have a positive and more than k rows."""
    if groups is None:
        return None
    users = [user for user in _by_group(preds, target, groups) if any(user[1]) and len(user[0]) > k]
    return math.fsum(value(*user, k) for user in users) / len(users) if users else None


def ndcg(preds, target, groups, k):
    return _over_groups(_ndcg_of_one, preds, target, groups, k)


def _ndcg_of_one(preds, target, k):
    """Return the gain where each place has the share of positives among the rows that may take it."""
    discounts = [1 / math.log2(2 + place) for place in range(min(k, len(preds)))]
    gains = []
    for pred, discount in zip(sorted(preds, reverse=True), discounts, strict=False):
        tied = [label for other, label in zip(preds, target, strict=True) if other == pred]
        gains.append(discount * sum(tied) / len(tied))
    return math.fsum(gains) / math.fsum(discounts[: int(sum(target))])


def hit_rate(preds, target, groups, k):
    return _over_groups(_hit_of_one, preds, target, groups, k)


def _hit_of_one(preds, target, k):
    """Return the probability that the first k rows have a positive: those above the last place, then a draw."""
    last = sorted(preds, reverse=True)[k - 1]
    if any(label for pred, label in zip(preds, target, strict=True) if pred > last):
        return 1.0
    tied = [label for pred, label in zip(preds, target, strict=True) if pred == last]
    drawn = k - sum(pred > last for pred in preds)
    negatives = len(tied) - int(sum(tied))
    return float(1 - Fraction(math.comb(negatives, drawn), math.comb(len(tied), drawn)))


def _errors(preds, target):
    return [Fraction(pred) - Fraction(label) for pred, label in zip(preds, target, strict=True)]


def rmse(preds, target):
    mean = sum(error**2 for error in _errors(preds, target)) / len(preds)
    scale = Fraction(max(map(abs, _errors(preds, target))))  # a mean square itself may be no floating-point number
    return math.sqrt(mean / scale**2) * float(scale) if scale else 0.0


def mae(preds, target):
    return float(sum(map(abs, _errors(preds, target))) / len(preds))


def quadratic_weighted_kappa(preds, target):
    """Return one minus the squared errors over those of every prediction with every label."""
    rounded = [round(pred) for pred in preds]
    grades = [int(label) for label in target]
    observed = Fraction(sum((pred - label) ** 2 for pred, label in zip(rounded, grades, strict=True)), len(grades))
    chance = Fraction(sum((pred - label) ** 2 for pred in rounded for label in grades), len(grades) ** 2)
    return float(1 - observed / chance) if chance else None


def poisson_deviance(preds, target):
    if min(preds) <= 0:
        return None
    terms = []
    for rate, count in zip(preds, target, strict=True):
        ratio = Fraction(rate) / Fraction(count) if count else None
        # log(1 + x) of an exact x: the logarithm of the ratio itself, rounded before, would lose it near 1
        log = 0.0 if ratio is None else math.log1p(float(ratio - 1)) if 0.5 < ratio < 2 else math.log(ratio)
        terms.append(2 * (Fraction(rate) - Fraction(count) - Fraction(count) * Fraction(log)))
    return float(sum(terms) / len(terms))
