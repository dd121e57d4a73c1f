from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from mtbench.evaluation import predictions
from mtbench.evaluation.comparison import (
    Sample,
    changes,
    differences,
    holm,
    mean_share,
    means,
    rank_intervals,
)
from mtbench.evaluation.resampling import resample
from mtbench.registry import Registry
from mtbench.schema import Task

AUC = Registry.load().metric("auc")
CLUSTERS = 200


def delong(first, second, label):
    """Return difference and variance of two AUCs, from the placements of each positive and negative."""
    areas, placed = [], []
    for scores in (first, second):
        wins = scores[label == 1][:, None] - scores[label == 0][None]
        wins = (wins > 0) + 0.5 * (wins == 0)
        areas.append(wins.mean())
        placed.append((wins.mean(axis=1), wins.mean(axis=0)))
    by_positive, by_negative = (placed[0][side] - placed[1][side] for side in (0, 1))
    variance = by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative)
    return areas[0] - areas[1], variance


@pytest.mark.parametrize("case", range(4))
def test_one_seed_over_rows_agrees_with_delong(case):
    rng = np.random.default_rng(case)
    rows = 500
    logit = rng.normal(size=rows)
    label = (rng.random(rows) < 1 / (1 + np.exp(-2 * logit))).astype(float)
    scores = [1 / (1 + np.exp(-logit - noise * rng.normal(size=rows))) for noise in (0.8, 0.8 + 0.25 * case)]
    scores = [each.astype("float32") for each in scores]
    samples = []
    for each in scores:
        table = predictions.make_table(
            0, "test", ["click"], np.arange(rows), prediction=each[:, None], label=label[:, None],
            mask=np.ones((rows, 1), bool),
        )  # fmt: skip
        made = resample(table, [Task(name="click")], {"auc": AUC})
        assert made.clusters == "rows"
        value = (
            float(stats.mannwhitneyu(each[label == 1], each[label == 0]).statistic) / label.sum() / (1 - label).sum()
        )
        samples.append(Sample(np.array([value]), np.array(made.tasks["click"].values, float)))
    found = differences(samples, rows)
    effect, variance = delong(*scores, label)
    assert found.mean[0] == pytest.approx(effect, abs=1e-9)
    half = stats.t.ppf(0.975, rows - 1) * np.sqrt(variance)
    # the standard error of 1000 resamples has itself a standard error of 2.2 %
    assert (found.high - found.low)[0] / 2 == pytest.approx(half, rel=0.08)
    expected = 2 * stats.t.sf(abs(effect) / np.sqrt(variance), rows - 1)
    assert found.p[0] == pytest.approx(expected, abs=0.01 + 0.1 * expected)
    assert (found.clusters[0], found.seeds[0]) == (1, 0)


def sample(rng, mean, *, users=0.01, seeds=0.01, count=5, shared=None):
    shared = rng.normal(size=400) if shared is None else shared
    return Sample(mean + seeds * rng.normal(size=count), mean + users * shared)


def test_without_users_a_difference_is_welchs_and_a_mean_students():
    rng = np.random.default_rng(0)
    first, second = (Sample(rng.normal(size=count), np.empty(0)) for count in (5, 8))
    found = differences([first, second], CLUSTERS)
    welch = stats.ttest_ind(first.seeds, second.seeds, equal_var=False)
    low, high = welch.confidence_interval()
    assert found.p[0] == pytest.approx(welch.pvalue)
    assert (found.low[0], found.high[0]) == pytest.approx((low, high))
    own = means([first], CLUSTERS)
    student = stats.ttest_1samp(first.seeds, 0)
    assert own.p[0] == pytest.approx(student.pvalue)
    assert (own.low[0], own.high[0]) == pytest.approx(tuple(student.confidence_interval()))


def test_parts_of_the_variance_are_what_was_planted():
    rng = np.random.default_rng(1)
    users, seeds = rng.normal(size=(3, 400)), rng.normal(size=(3, 6))
    samples = [Sample(*each) for each in zip(seeds, users, strict=True)]
    found = differences(samples, CLUSTERS)
    for index, (i, j) in enumerate(combinations(range(3), 2)):
        by_users = np.var(users[i] - users[j], ddof=1) * CLUSTERS / (CLUSTERS - 1)
        by_seeds = [seeds[one].var(ddof=1) / 6 for one in (i, j)]
        total = by_users + sum(by_seeds)
        freedom = total**2 / (by_users**2 / (CLUSTERS - 1) + sum(each**2 for each in by_seeds) / 5)
        assert found.clusters[index] == pytest.approx(by_users / total)
        assert found.seeds[index] == pytest.approx(sum(by_seeds) / total)
        half = stats.t.ppf(0.975, freedom) * np.sqrt(total)
        assert (found.high - found.low)[index] / 2 == pytest.approx(half)
        assert found.mean[index] == pytest.approx(seeds[i].mean() - seeds[j].mean())


def test_turning_a_pair_turns_the_sign():
    rng = np.random.default_rng(8)
    pair = [sample(rng, mean, count=count) for mean, count in ((0.7, 5), (0.72, 7))]
    there, back = differences(pair, CLUSTERS), differences(pair[::-1], CLUSTERS)
    turned = back._replace(mean=-back.mean, low=-back.high, high=-back.low)
    assert np.concatenate(there) == pytest.approx(np.concatenate(turned))


def test_shared_users_cancel():
    rng = np.random.default_rng(2)
    shared = rng.normal(size=400)
    joint = differences([sample(rng, mean, shared=shared) for mean in (0.7, 0.71)], CLUSTERS)
    assert joint.clusters[0] == 0
    assert joint.seeds[0] == pytest.approx(1)


def test_equal_models_do_not_differ():
    rng = np.random.default_rng(3)
    one = sample(rng, 0.7, count=1)
    constant = Sample(np.full(5, 0.5), np.full(400, 0.5))
    found = differences([one, one, constant, constant], CLUSTERS)
    assert found.p[0] == found.p[-1] == 1
    assert (found.low[0], found.mean[0], found.high[0]) == (0, 0, 0)
    assert np.isfinite(np.concatenate(found)).all()
    assert (found.p[1:-1] < 1e-6).all()


def test_resamples_that_are_undefined_for_any_are_left_out():
    rng = np.random.default_rng(4)
    first, second = (rng.normal(size=100) for _ in range(2))
    seeds = np.zeros(1)
    holes = first.copy()
    holes[::10] = np.nan
    kept = np.arange(100) % 10 > 0
    with_holes = differences([Sample(seeds, holes), Sample(seeds, second)], CLUSTERS)
    without = differences([Sample(seeds, first[kept]), Sample(seeds, second[kept])], CLUSTERS)
    assert with_holes.high == pytest.approx(without.high)


p_values = arrays.arrays(float, st.integers(1, 6), elements=st.floats(0, 1))


@given(p_values)
def test_holm_is_the_closure_of_bonferroni(p):
    tests = range(len(p))
    subsets = list(chain.from_iterable(combinations(tests, size) for size in range(1, len(p) + 1)))
    expected = [max(min(1.0, len(each) * p[list(each)].min()) for each in subsets if test in each) for test in tests]
    assert holm(p) == pytest.approx(np.array(expected))


@st.composite
def boards(draw):
    models = draw(st.integers(1, 6))
    pairs = models * (models - 1) // 2
    true = np.array(draw(st.lists(st.integers(0, 3), min_size=models, max_size=models)), float)
    first, second = np.triu_indices(models, 1)
    effects = true[first] - true[second]
    clear = np.array(draw(st.lists(st.booleans(), min_size=pairs, max_size=pairs)), bool) & (effects != 0)
    return effects, np.where(clear, 0.01, 0.5), models, true


@given(boards())
def test_rank_intervals_hold_ranks_and_turn_with_the_sign(board):
    effects, adjusted, models, true = board
    ranks = rank_intervals(effects, adjusted, models)
    assert ranks.shape == (models, 2)
    assert (ranks[:, 0] >= 1).all()
    assert (ranks[:, 1] <= models).all()
    assert (ranks[:, 0] <= ranks[:, 1]).all()
    best = np.argmax(true)
    assert ranks[best, 0] == 1
    for rank in range(1, models + 1):
        assert ((ranks[:, 0] <= rank) & (rank <= ranks[:, 1])).any()
    turned = rank_intervals(-effects, adjusted, models)
    assert (turned == models + 1 - ranks[:, ::-1]).all()


def test_ranks_of_models_that_cannot_be_separated_are_shared():
    effects = np.array([0.1, 0.2, 0.1])
    assert rank_intervals(effects, np.array([0.5, 0.01, 0.5]), 3).tolist() == [[1, 2], [1, 3], [2, 3]]
    assert rank_intervals(effects, np.full(3, 0.01), 3).tolist() == [[1, 1], [2, 2], [3, 3]]


def test_a_mean_share_is_linear_in_every_seed_and_resample():
    rng = np.random.default_rng(5)
    samples = [sample(rng, mean) for mean in (0.7, 0.9)]
    found = mean_share(samples, [0.5, 2.0], [1.0, 0.0])
    for part in ("seeds", "replicates"):
        auc, rmse = (getattr(each, part) for each in samples)
        assert getattr(found, part) == pytest.approx(((auc - 0.5) / 0.5 + (2 - rmse) / 2) / 2)
    without = mean_share([samples[0], samples[1]._replace(replicates=np.empty(0))], [0.5, 2.0], [1.0, 0.0])
    assert not without.replicates.size
    assert (without.seeds == found.seeds).all()


SIGNS, ORIGINS = [1, -1], [0.5, 0.0]


def test_relative_changes_are_signed_and_of_the_excess():
    model = [Sample(np.full(2, 0.71), np.empty(0)), Sample(np.full(2, 0.9), np.empty(0))]
    reference = [Sample(np.full(2, 0.7), np.empty(0)), Sample(np.full(2, 1.0), np.empty(0))]
    found = changes(model, reference, SIGNS, ORIGINS, CLUSTERS)
    assert found.mean == pytest.approx([0.01 / 0.2, 0.1, (0.05 + 0.1) / 2])
    assert (found.low == found.mean).all()


def test_the_interval_of_delta_m_is_that_of_a_simulation():
    """Seeds and users are drawn again and again; the true spread of delta-m is what one draw's interval says."""
    rng = np.random.default_rng(6)
    truth = {"model": np.array([0.74, 0.9]), "reference": np.array([0.70, 1.0])}
    # users move both models, each task alike but not equally; seeds move the tasks of one training together
    by_users = {"model": np.array([[0.02, 0.0], [0.01, 0.02]]), "reference": np.array([[0.015, 0.0], [0.02, 0.01]])}
    by_seeds = {"model": np.array([[0.01, 0.0], [-0.02, 0.03]]), "reference": np.array([[0.02, 0.0], [0.01, 0.04]])}

    def delta(model, reference):
        shares = np.array(SIGNS)[:, None] * (model - reference) / (reference - np.array(ORIGINS)[:, None])
        return np.vstack((shares, shares.mean(axis=0)))

    def drawn(side, users, count=5):
        seeds = by_seeds[side] @ rng.normal(size=(2, users.shape[1] * count))
        return truth[side][:, None] + by_users[side] @ users + seeds.reshape(2, -1, count).mean(axis=2)

    users = rng.normal(size=(2, 100_000))
    simulated = delta(drawn("model", users), drawn("reference", users)).std(axis=1)
    widths = []
    for _ in range(200):
        shared = rng.normal(size=(2, 1000))
        samples = {
            side: [
                Sample(
                    truth[side][task] + by_seeds[side][task] @ seeds, truth[side][task] + by_users[side][task] @ shared
                )
                for task in range(2)
            ]
            for side, seeds in (("model", rng.normal(size=(2, 5))), ("reference", rng.normal(size=(2, 5))))
        }
        found = changes(samples["model"], samples["reference"], SIGNS, ORIGINS, 100_000)
        assert found.mean[:2].mean() == pytest.approx(found.mean[2])
        widths.append((found.high - found.low) / 2 / stats.norm.ppf(0.975))
    # five seeds widen t: its quantile exceeds the normal one, more so where seeds matter most
    ratio = np.mean(widths, axis=0) / simulated
    assert (ratio > 0.97).all()
    assert (ratio < 1.25).all()


def test_delta_m_of_a_reference_against_its_twin_includes_both_variances():
    rng = np.random.default_rng(7)
    model, reference = ([sample(rng, 0.7, users=0)] for _ in range(2))
    found = changes(model, reference, [1], [0.5], CLUSTERS)
    base = reference[0].seeds.mean() - 0.5
    own = model[0].seeds.mean() - 0.5
    by_model = (model[0].seeds / base).var(ddof=1) / 5
    by_reference = (reference[0].seeds * own / base**2).var(ddof=1) / 5
    freedom = (by_model + by_reference) ** 2 / ((by_model**2 + by_reference**2) / 4)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(by_model + by_reference)
    assert (found.high - found.mean)[0] == pytest.approx(half)


NONE = np.empty(0)


def ends(estimates):
    return np.stack((estimates.low, estimates.high))


def test_where_nothing_varied_there_is_no_interval_and_no_p():
    """One seed without resamples, or with a single one: it was once [x, x], and p 0 of any difference."""
    one, other, five = Sample(np.array([0.7]), NONE), Sample(np.array([0.6]), np.array([0.6])), sample(
        np.random.default_rng(0), 0.7
    )._replace(replicates=NONE)  # fmt: skip
    for estimates in (
        means([one, other], CLUSTERS),
        differences([one, other], CLUSTERS),
        differences([one, five], CLUSTERS),  # the other's seeds say nothing of the one
        changes([one], [other], [1.0], [0.5], CLUSTERS),
        changes([one], [five], [1.0], [0.5], CLUSTERS),
    ):
        assert np.isfinite(estimates.mean).all()
        assert np.isnan([estimates.low, estimates.high, estimates.p]).all()
    assert np.isfinite(ends(means([five], CLUSTERS))).all()
    mixed = differences([one, five, five], CLUSTERS)
    assert np.isnan(mixed.p).tolist() == [True, True, False]


def test_one_seed_with_resamples_has_the_interval_of_its_trained_model():
    one, other = (sample(np.random.default_rng(seed), 0.7, count=1) for seed in (1, 2))
    for estimates in (
        means([one], CLUSTERS), differences([one, other], CLUSTERS), changes([one], [other], [1.0], [0.5], CLUSTERS)
    ):  # fmt: skip
        assert (estimates.low < estimates.high).all()
        assert (estimates.seeds == 0).all()
        assert (estimates.clusters == 1).all()


SHARE = (0.0, 1.0)


@pytest.mark.parametrize("clusters", [2, 3, CLUSTERS])
@given(values=arrays.arrays(float, (2, 2), elements=st.floats(0, 1)))
def test_no_interval_leaves_the_range_of_its_metric(clusters, values):
    """Two seeds, or two users, whose t quantile is 12.7: AUC once went from -1.0 to 1.96."""
    rng = np.random.default_rng(0)
    replicates = [np.clip(seeds.mean() + 0.2 * rng.normal(size=20), *SHARE) for seeds in values]
    pair = [Sample(seeds, drawn, SHARE) for seeds, drawn in zip(values, replicates, strict=True)]
    own = means(pair, clusters)
    assert ((own.low >= 0) & (own.low <= own.mean) & (own.mean <= own.high) & (own.high <= 1)).all()
    apart = differences(pair, clusters)
    assert (apart.low >= -1).all()
    assert (apart.high <= 1).all()
    share = mean_share(pair, [0.5, 0.25], [1.0, 0.0])
    assert share.limits == (pytest.approx((-1 - 3) / 2), 1)
    assert (means([share], clusters).high <= 1).all()


def test_what_the_limits_do_not_touch_is_as_without_them():
    narrow = sample(np.random.default_rng(4), 0.7)
    bound = narrow._replace(limits=SHARE)
    assert np.array_equal(ends(means([narrow], 200)), ends(means([bound], 200)))
    assert np.array_equal(ends(differences([narrow] * 2, 200)), ends(differences([bound] * 2, 200)))


def test_an_error_cannot_fall_by_more_than_all_of_it():
    rmse = (0.0, np.inf)
    model, baseline = Sample(np.array([0.1, 0.5]), NONE, rmse), Sample(np.array([1.0, 1.4]), NONE, rmse)
    gain = Sample(np.array([0.1, 0.9]), NONE, SHARE)
    change = changes([model, gain], [baseline, gain], [-1.0, 1.0], [0.0, 0.0], CLUSTERS)
    assert change.high[0] == 1
    assert change.low[1] == -1
    assert change.high[1] > 1
