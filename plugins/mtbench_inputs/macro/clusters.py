"""Macro nodes: clusters of users and of items that keep their numbers from snapshot to snapshot."""

from __future__ import annotations

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import aslinearoperator

if TYPE_CHECKING:
    from numpy.random import Generator
    from scipy.sparse.linalg import LinearOperator

FIRST_ITERATIONS, ITERATIONS, EXTRA = 10, 4, 16
SAMPLE = 65_536
FIRST_STARTS, FRESH_STARTS, CANDIDATES, LLOYD_STEPS = 10, 2, 4, 50
BETTER, ENOUGH = 0.95, 0.9999
NOTHING, FAR = 1e-5, np.float32(1e30)


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


def balanced(scores: sparse.csr_array) -> LinearOperator:
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


def of_length_one(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors divided by their lengths; one that is all rounding error becomes zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    some = lengths > NOTHING * lengths.max(initial=0)
    scaled: np.ndarray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=some)
    return scaled


def kmeans(vectors: np.ndarray, weights: np.ndarray, before: np.ndarray, clusters: int, rng: Generator) -> np.ndarray:
    """Return the cluster of each vector, from 1; 0 where no vector has weight. ``before`` are the last ones, 0 if none.

    Vectors without weight are assigned but move no centroid. Lloyd's steps start from the centroids of the vectors that
    were together before, and from fresh ones (k-means++), which must fit clearly better to be taken; numbers then
    follow the overlap with those before. At most 65,536 weighted vectors, drawn by ``rng``, move the centroids.
    """
    chosen = np.flatnonzero(weights > 0)
    if not len(chosen):
        return np.zeros(len(vectors), np.int64)
    if len(chosen) > SAMPLE:
        chosen = np.sort(rng.choice(chosen, SAMPLE, replace=False))
    problem = _Problem(vectors[chosen], weights[chosen].astype(np.float32), clusters)
    numbers, index = np.unique(before[chosen], return_inverse=True)
    known = bool(numbers.any())
    starts = FRESH_STARTS if known else FIRST_STARTS
    inertia, centroids = min((problem.solved(vectors[:0], rng) for _ in range(starts)), key=itemgetter(0))
    if known:
        carried = problem.solved(problem.means_of_known(numbers, index), rng)
        if inertia >= BETTER * carried[0]:
            centroids = carried[1]
    return renumbered(_nearest(vectors, centroids)[0] + 1, before, clusters)


def renumbered(numbers: np.ndarray, before: np.ndarray, clusters: int) -> np.ndarray:
    """Return the clusters under the numbers that they share most nodes with; 0 stays 0."""
    pairs = (numbers > 0) & (before > 0)
    shared = np.zeros((clusters, clusters))
    np.add.at(shared, (numbers[pairs] - 1, before[pairs] - 1), 1)
    _, name = linear_sum_assignment(shared, maximize=True)
    renamed: np.ndarray = np.append(0, name + 1)[numbers]
    return renamed


@dataclass(frozen=True)
class _Problem:
    """Weighted k-means over some vectors."""

    vectors: np.ndarray
    weights: np.ndarray
    clusters: int

    def solved(self, centroids: np.ndarray, rng: Generator) -> tuple[float, np.ndarray]:
        """Return the inertia and the centroids that Lloyd's steps reach from these, seeded where there are too few."""
        centroids = self._seeded(centroids, rng)
        inertia = np.inf
        for _ in range(LLOYD_STEPS):
            nearest, distances = _nearest(self.vectors, centroids)
            before, inertia = inertia, float(self.weights @ distances)
            if inertia >= ENOUGH * before:
                break
            sums, totals = self._sums(nearest, len(centroids))
            # an empty cluster keeps its centroid
            centroids = np.divide(sums, totals, out=centroids.copy(), where=totals > 0)
        return inertia, centroids

    def means_of_known(self, numbers: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Return the centroids of the vectors that have a number, which is not 0."""
        sums, totals = self._sums(index, len(numbers))
        means: np.ndarray = (sums / totals)[numbers > 0]
        return means

    def _sums(self, index: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        at = np.arange(len(index))
        member = sparse.csr_array((self.weights, (index, at)), shape=(count, len(index)))
        return member @ self.vectors, np.bincount(index, self.weights, count)[:, None].astype(np.float32)

    def _seeded(self, centroids: np.ndarray, rng: Generator) -> np.ndarray:
        """Add centroids by greedy k-means++ (Arthur and Vassilvitskii, SODA 2007) as long as vectors are apart."""
        chosen = list(centroids)
        far = _nearest(self.vectors, centroids)[1] if chosen else np.full(len(self.vectors), FAR)
        while len(chosen) < self.clusters:
            reach = np.cumsum(np.where(far > NOTHING, self.weights * far, 0), dtype=np.float64)
            if reach[-1] == 0:
                break
            candidates = np.searchsorted(reach, rng.random(CANDIDATES) * reach[-1], "right")
            left = np.minimum(far[:, None], _distances(self.vectors, self.vectors[candidates]))
            best = int((self.weights @ left).argmin())
            chosen.append(self.vectors[candidates[best]])
            far = left[:, best]
        return np.array(chosen)


def _nearest(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest centroid of each vector and its squared distance."""
    distances = _distances(vectors, centroids)
    nearest = distances.argmin(1)
    return nearest, distances[np.arange(len(vectors)), nearest]


def _distances(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared distances of all pairs, shape (vectors, others)."""
    distances: np.ndarray = vectors @ (-2 * others.T)
    distances += np.einsum("ij,ij->i", vectors, vectors)[:, None]
    distances += np.einsum("ij,ij->i", others, others)
    return distances.clip(0, out=distances)


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
