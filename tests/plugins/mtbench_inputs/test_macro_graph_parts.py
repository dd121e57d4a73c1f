from __future__ import annotations

from itertools import combinations
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from mtbench_inputs.macro.clusters import Factors, balance, kmeans, renumber, scale_to_one
from mtbench_inputs.macro.scores import score_combinations

TASKS = ("click", "favor", "buy")


def score(done, scores="additive", beta=1.0, table=None):
    every = score_combinations(scores, TASKS, table or {}, beta)
    return every[sum(1 << TASKS.index(task) for task in done)]


def test_additive_scores_are_those_of_the_paper_s_figure():
    assert [score(done) for done in (["click"], ["favor"], ["buy"], ["favor", "buy"])] == pytest.approx([1, 2, 3, 5])


def test_lexicographic_scores_put_the_deeper_task_first():
    assert score(["favor", "buy"], "lexicographic") == pytest.approx(6)
    every = [set(some) for size in range(4) for some in combinations(TASKS, size)]
    by_depth = sorted(every, key=lambda done: ["buy" in done, "favor" in done, "click" in done])
    scores = [score(done, "lexicographic", 0.5) for done in by_depth]
    assert scores == sorted(scores)
    assert len(set(scores)) == 8


@pytest.mark.parametrize(("beta", "expected"), [(1, 3), (0.5, 2 * (sqrt(4) - 1)), (0, log(4)), (-1, 1 - 1 / 4)])
def test_ranks_are_transformed_by_box_and_cox(beta, expected):
    assert score(["buy"], beta=beta) == pytest.approx(expected)
    assert score([], beta=beta) == 0


def test_binary_scores_and_tables():
    assert [score(done, "binary") for done in ([], ["click"], ["favor", "buy"])] == [0, 1, 1]
    table = {"click": 1, "buy+click": 4}
    assert score(["click", "buy"], "table", table=table) == pytest.approx(4)
    assert np.isnan(score(["buy"], "table", table=table))


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(5, 60))
def test_numbers_follow_the_overlap(seed, count, nodes):
    rng = np.random.default_rng(seed)
    before = rng.integers(count + 1, size=nodes)
    renamed = np.append(0, 1 + rng.permutation(count))[before]
    assert (renumber(renamed, before, count) == before).all()


def blobs(rng, nodes, count, noise):
    centres = rng.normal(size=(count, 5)) * 3
    group = rng.integers(count, size=nodes)
    return (centres[group] + noise * rng.normal(size=(nodes, 5))).astype(np.float32), group


def inertia(vectors, weights, numbers):
    total = 0.0
    for number in np.unique(numbers):
        own, weight = vectors[numbers == number], weights[numbers == number]
        total += float((weight[:, None] * (own - np.average(own, axis=0, weights=weight)) ** 2).sum())
    return total


def test_kmeans_fits_as_well_as_scikit_learn():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        vectors, _ = blobs(rng, 400, 6, 0.7)
        weights = rng.uniform(0.5, 2, 400)
        numbers = kmeans(vectors, weights, np.zeros(400, int), 6, rng)
        oracle = KMeans(6, n_init=10, random_state=0).fit_predict(vectors, sample_weight=weights)
        assert set(numbers) == set(range(1, 7))
        assert inertia(vectors, weights, numbers) <= 1.03 * inertia(vectors, weights, oracle)


def test_inactive_nodes_are_assigned_but_move_no_centroid():
    rng = np.random.default_rng(0)
    active, group = blobs(rng, 200, 3, 0.1)
    inactive = active + 2 * rng.normal(size=active.shape).astype(np.float32)
    weights = np.repeat([1, 0], 200)
    both = kmeans(np.vstack([active, inactive]), weights, np.zeros(400, int), 3, np.random.default_rng(0))
    alone = kmeans(active, weights[:200], np.zeros(200, int), 3, np.random.default_rng(0))
    assert (both[:200] == alone).all()
    centres = np.array([active[alone == number].mean(0) for number in (1, 2, 3)])
    nearest = ((inactive[:, None] - centres) ** 2).sum(-1).argmin(1) + 1
    assert (both[200:] == nearest).all()
    assert len(np.unique(group[alone == 1])) == 1


def test_without_active_nodes_there_are_no_clusters():
    assert not kmeans(np.ones((5, 2), np.float32), np.zeros(5), np.zeros(5, int), 3, np.random.default_rng(0)).any()


def test_there_are_no_more_clusters_than_different_vectors():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    numbers = kmeans(vectors, np.ones(12), np.zeros(12, int), 8, np.random.default_rng(0))
    assert len(np.unique(numbers)) == 3
    assert all(len(np.unique(numbers[start : start + 4])) == 1 for start in (0, 4, 8))


def test_vectors_alike_up_to_rounding_are_one_vector_also_after_a_warm_start():
    rng = np.random.default_rng(0)
    different = scale_to_one(rng.normal(size=(5, 6)).astype(np.float32))
    group = rng.integers(5, size=900)
    vectors = different[group] + 1e-7 * rng.normal(size=(900, 6)).astype(np.float32)
    for before in (np.zeros(900, int), 1 + (group > 2)):
        numbers = kmeans(vectors, np.ones(900), before, 8, rng)
        assert adjusted_rand_score(group, numbers) == 1


def test_clusters_do_not_depend_on_the_number_of_threads():
    vectors = scale_to_one(np.random.default_rng(0).normal(size=(40_000, 8)).astype(np.float32))
    weights = np.random.default_rng(1).uniform(0.5, 2, 40_000)
    numbers = []
    for threads in (1, 4):
        with threadpool_limits(threads):
            numbers.append(kmeans(vectors, weights, np.zeros(40_000, int), 50, np.random.default_rng(0)))
    assert (numbers[0] == numbers[1]).all()


def test_numbers_stay_when_a_new_group_appears():
    rng = np.random.default_rng(1)
    vectors, group = blobs(rng, 300, 4, 0.05)
    old = group < 3
    before = np.where(old, np.array([4, 2, 1, 0])[group], 0)
    numbers = kmeans(vectors, np.ones(300), before, 4, rng)
    assert (numbers[old] == before[old]).all()
    assert (numbers[~old] == 3).all()


def test_factors_are_those_of_a_singular_value_decomposition():
    rng = np.random.default_rng(2)
    left, right = np.linalg.qr(rng.normal(size=(40, 5)))[0], np.linalg.qr(rng.normal(size=(30, 5)))[0]
    values = np.array([10, 6, 3, 1, 0.5])
    users, items = Factors(30, 3, seed=0).of(aslinearoperator((left * values) @ right.T))
    left, right, values = left[:, :3], right[:, :3], values[:3]
    np.testing.assert_allclose(users @ users.T, (left * values**2) @ left.T, atol=1e-3)
    np.testing.assert_allclose(items @ items.T, (right * values**2) @ right.T, atol=1e-3)
    np.testing.assert_allclose(users.T @ users, np.diag(values**2), atol=1e-3)


def test_scores_beyond_popularity_are_divided_by_the_roots_of_their_sums():
    dense = np.array([[1, 0, 3], [0, 0, 0], [2, 0, 5]], np.float32)
    entries = balance(sparse.csr_array(dense)) @ np.eye(3, dtype=np.float32)
    mean = 11 / 2
    assert entries[0, 2] == pytest.approx((3 - 4 * 8 / 11) / sqrt((4 + mean) * (8 + mean)))
    assert entries[2, 0] == pytest.approx((2 - 7 * 3 / 11) / sqrt((7 + mean) * (3 + mean)))
    assert not entries[1].any()
    assert not entries[:, 1].any()


def test_popularity_alone_leaves_nothing():
    dense = np.outer([1, 2, 4], [3, 1, 5, 2]).astype(np.float32)
    np.testing.assert_allclose(balance(sparse.csr_array(dense)) @ np.eye(4, dtype=np.float32), 0, atol=1e-6)


def test_weak_groups_are_found_among_nodes_of_uneven_popularity():
    rng = np.random.default_rng(3)
    group, shelf = rng.integers(3, size=600), rng.integers(3, size=300)
    often, popular = rng.pareto(2, 600) + 0.5, rng.pareto(2, 300) + 0.5
    rate = 0.02 * np.outer(often, popular) * np.where(group[:, None] == shelf, 2.2, 0.4)
    scores = sparse.csr_array(rng.poisson(rate).astype(np.float32))
    users, items = Factors(300, 2, seed=0).of(balance(scores))
    for vectors, truth in ((users, group), (items, shelf)):
        seen = np.linalg.norm(vectors, axis=1) > 0
        numbers = kmeans(scale_to_one(vectors[seen]), np.ones(seen.sum()), np.zeros(seen.sum(), int), 3, rng)
        assert adjusted_rand_score(truth[seen], numbers) > 0.5


def test_vectors_of_rounding_errors_become_zero():
    scaled = scale_to_one(np.array([[3, 4], [1e-6, 0], [0, 0]], np.float32))
    np.testing.assert_allclose(scaled, [[0.6, 0.8], [0, 0], [0, 0]], rtol=1e-6)
