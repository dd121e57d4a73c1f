"""Macro nodes: clusters of users and of items that keep their numbers from snapshot to snapshot."""

from __future__ import annotations

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import aslinearoperator
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from numpy.random import Generator
    from scipy.sparse.linalg import LinearOperator

FIRST_ITERATIONS, ITERATIONS, EXTRA = 10, 4, 16
SAMPLE = 65_536
FIRST_STARTS, FRESH_STARTS, LLOYD_STEPS = 10, 2, 50
BETTER = 0.95
NOTHING, DECIMALS = 1e-5, 3


@dataclass(frozen=True)
class Macro:
    """The macro node of each node, from 1 to ``count``, 0 for none."""

    numbers: np.ndarray
    count: int

    def one_hot(self) -> sparse.csr_array:
        """Return which macro node each node is in, shape (nodes, macro nodes)."""
        known = self.numbers > 0
        ends = np.concatenate([[0], np.cumsum(known)])
        ones = np.ones(ends[-1], np.float32)
        return sparse.csr_array((ones, self.numbers[known] - 1, ends), shape=(len(known), self.count))


def balance(scores: sparse.csr_array) -> LinearOperator:
    """Return the scores beyond what popularity explains, as a linear map (users, items).

    Scores S with sums a of users and b of items become ``(S - a b' / sum(a)) / sqrt((a + mean(a)) (b + mean(b))')``:
    spectral co-clustering (Dhillon, KDD 2001) without its first singular vectors, which tell popularity alone. The mean
    sums keep nodes with few edges from having directions of their own (Qin and Rohe, NeurIPS 2013).
    """
    sums = [np.asarray(scores.sum(axis)).ravel() for axis in (1, 0)]
    by_user, by_item = (1 / np.sqrt(np.where(total > 0, total + total[total > 0].mean(), 1)) for total in sums)
    data = scores.data * np.repeat(by_user, np.diff(scores.indptr)) * by_item[scores.indices]
    divided: Any = sparse.csr_array((data.astype(np.float32), scores.indices, scores.indptr), shape=scores.shape)
    of_users = (sums[0] * by_user).astype(np.float32)
    of_items = (sums[1] * by_item / sums[1].sum()).astype(np.float32)
    expected = aslinearoperator(of_users[:, None]) @ aslinearoperator(of_items[None, :])
    return aslinearoperator(divided) - expected


class Factors:
    """Low-rank vectors of users and items by subspace iteration (Halko et al., SIAM Review 2011).

    The first basis is random, drawn before anything is seen; each snapshot starts from the last one's. It is wider than
    the vectors that are returned, because sparse graphs have singular values close to each other.
    """

    def __init__(self, items: int, rank: int, seed: int) -> None:
        self._rank = rank
        self._basis = np.random.default_rng(seed).standard_normal((items, rank + EXTRA)).astype(np.float32)
        self._iterations = FIRST_ITERATIONS

    def of(self, scores: LinearOperator) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors of users (users, rank) and of items (items, rank), the strongest directions first."""
        for _ in range(self._iterations):
            self._basis = np.linalg.qr(scores.T @ (scores @ self._basis))[0]
        self._iterations = ITERATIONS
        users, values, turn = np.linalg.svd(scores @ self._basis, full_matrices=False)
        items = self._basis @ turn.T
        return (users * values)[:, : self._rank], (items * values)[:, : self._rank]


def scale_to_one(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors divided by their lengths; one that is all rounding error becomes zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    some = lengths > NOTHING * lengths.max(initial=0)
    scaled: np.ndarray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=some)
    return scaled


def kmeans(vectors: np.ndarray, weights: np.ndarray, before: np.ndarray, clusters: int, rng: Generator) -> np.ndarray:
    """Return the cluster of each vector, from 1; 0 where no vector has weight. ``before`` are the last ones, 0 if none.

    Vectors without weight are assigned but move no centroid. scikit-learn's k-means starts from the centroids of the
    vectors that were together before, and from fresh ones (k-means++), which must fit clearly better to be taken;
    numbers then follow the overlap with those before. At most 65,536 weighted vectors, drawn by ``rng``, move the
    centroids. ``performance/kmeans.py`` measures what this comes to.
    """
    # loaded here, for a graph that lies in the cache needs no clusters
    from sklearn.cluster import KMeans  # noqa: PLC0415
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415

    chosen = np.flatnonzero(weights > 0)
    if not len(chosen):
        return np.zeros(len(vectors), np.int64)
    if len(chosen) > SAMPLE:
        chosen = np.sort(rng.choice(chosen, SAMPLE, replace=False))
    own, mass = vectors[chosen], weights[chosen].astype(np.float32)
    carried = _average(own, mass, Macro(before[chosen], clusters).one_hot())
    points, mass = _merge_alike(own, mass)
    count, seed = min(clusters, len(points)), int(rng.integers(2**31))

    def fit(init: str | np.ndarray, starts: int) -> KMeans:
        model = KMeans(count, init=init, n_init=starts, max_iter=LLOYD_STEPS, random_state=seed)
        return model.fit(points, sample_weight=mass)

    # sums that several threads share differ from run to run; a warning says that a cluster stayed empty, which it may
    with threadpool_limits(1, "openmp"), catch_warnings(action="ignore", category=ConvergenceWarning):
        best = fit("k-means++", FRESH_STARTS if len(carried) else FIRST_STARTS)
        if len(carried):
            # where some are missing others come twice: the second is empty, so scikit-learn moves it to a far vector
            warm = fit(np.resize(carried, (count, carried.shape[1])), 1)
            best = warm if best.inertia_ >= BETTER * warm.inertia_ else best
        numbers = best.predict(vectors) + 1
    return renumber(numbers, before, clusters)


def _average(vectors: np.ndarray, weights: np.ndarray, member: sparse.csr_array) -> np.ndarray:
    """Return the weighted means of the vectors in each cluster that has any."""
    sums, totals = member.T @ (weights[:, None] * vectors), member.T @ weights
    means: np.ndarray = sums[totals > 0] / totals[totals > 0, None]
    return means


def _merge_alike(vectors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors that differ by more than rounding, each once, and the sums of their weights."""
    _, first, index = np.unique(vectors.round(DECIMALS), axis=0, return_index=True, return_inverse=True)
    return vectors[first], np.bincount(index, weights)


def renumber(numbers: np.ndarray, before: np.ndarray, clusters: int) -> np.ndarray:
    """Return the clusters under the numbers that they share most nodes with; 0 stays 0."""
    pairs = (numbers > 0) & (before > 0)
    shared = np.zeros((clusters, clusters))
    np.add.at(shared, (numbers[pairs] - 1, before[pairs] - 1), 1)
    _, name = linear_sum_assignment(shared, maximize=True)
    renamed: np.ndarray = np.append(0, name + 1)[numbers]
    return renamed


def metis(scores: sparse.csr_array, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of users and of items, from 1, 0 where a node has no edge (Karypis and Kumar, SISC 1998).

    The graph of users and items is cut into parts of like size with few edges between them; edges weigh the same.
    Raises MTBenchError if DGL is absent.
    """
    from mtbench import load_dgl  # noqa: PLC0415 - DGL is loaded where it is used

    edges = scores.tocoo()
    both = np.concatenate([edges.row.astype(np.int64), edges.col.astype(np.int64) + scores.shape[0]])
    seen, number = np.unique(both, return_inverse=True)
    part = np.zeros(sum(scores.shape), np.int64)
    parts = min(clusters, len(seen))
    if parts > 1:
        user, item = np.split(number, 2)
        graph = load_dgl().graph((np.concatenate([user, item]), np.concatenate([item, user])), num_nodes=len(seen))
        with redirect_stdout(StringIO()):  # it prints its times
            # the other mode, k-way, gives other parts at each call where graphs are small
            part[seen] = load_dgl().metis_partition_assignment(graph, parts, mode="recursive").numpy()
    part[seen] += 1
    return part[: scores.shape[0]], part[scores.shape[0] :]
