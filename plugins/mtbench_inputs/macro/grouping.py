"""Macro nodes of users and of items, snapshot after snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field
from scipy.sparse.linalg import aslinearoperator

from mtbench import InputConfig, MTBenchError, suggest
from mtbench_inputs.macro import clusters
from mtbench_inputs.macro.clusters import Macro

if TYPE_CHECKING:
    from scipy import sparse

    from mtbench import Columns, Interactions, Rows

MOST_CLUSTERS = 1000
SIDES = ("user", "item")


class GroupingConfig(InputConfig):
    """How users and items become macro nodes."""

    user_clusters: int = Field(20, gt=0, le=MOST_CLUSTERS, description="Macro nodes of users.")
    item_clusters: int = Field(20, gt=0, le=MOST_CLUSTERS, description="Macro nodes of items.")
    clustering: Literal["kmeans", "metis"] = Field("kmeans", description="How nodes are grouped.")
    user_column: str | None = Field(None, description="A feature whose values are the macro nodes of users instead.")
    item_column: str | None = Field(None, description="A feature whose values are the macro nodes of items instead.")
    rank: int = Field(8, gt=0, le=256, description="Width of the vectors that k-means sees.")
    degree_normalized: bool = Field(True, description="Divide scores by popularity before they are factorised.")
    threshold: float = Field(0.0, ge=0, description="Sum of scores from which a node is active in k-means.")
    inactive_weight: float = Field(0.0, ge=0, le=1, description="Weight of inactive nodes; active ones have 1.")
    seed: int = Field(0, ge=0)


class Grouping:
    """The macro nodes as of one snapshot after another.

    Raises MTBenchError if a column that is to give them cannot.
    """

    def __init__(self, config: GroupingConfig, events: Interactions, rows: Rows, columns: Columns) -> None:
        self.config = config
        self.macro = {
            "user": Macro(np.zeros(events.users, np.int64), config.user_clusters),
            "item": Macro(np.zeros(events.items, np.int64), config.item_clusters),
        }
        self.fixed = [side for side in SIDES if getattr(config, f"{side}_column") is not None]
        for side in self.fixed:
            codes, count = _read_codes(columns, getattr(config, f"{side}_column"), side)
            # so that each node's first row has the last word, and training rows have it before others
            latest_first = np.lexsort((rows.time, rows.chunk, columns.part()))[::-1]
            self.macro[side].numbers[getattr(rows, side)[latest_first]] = codes[latest_first]
            self.macro[side] = Macro(self.macro[side].numbers, count)
        self._factors = clusters.Factors(events.items, config.rank, config.seed)

    def next(self, scores: sparse.csr_array, chunk: int) -> dict[str, Macro]:
        """Return the macro nodes in the snapshot of ``chunk``, made from its scores (users, items)."""
        free = [side for side in SIDES if side not in self.fixed]
        if scores.nnz and free:
            vectors = self._make_vectors(scores) if self.config.clustering == "kmeans" else {}
            for side in free:
                before = self.macro[side]
                grouped = self._cluster(scores, vectors, side, chunk) if vectors else self._cut(scores, side)
                self.macro[side] = Macro(grouped, before.count)
        return dict(self.macro)

    def _cut(self, scores: sparse.csr_array, side: str) -> np.ndarray:
        before = self.macro[side]
        part = clusters.metis(scores, before.count)[SIDES.index(side)]
        return clusters.renumber(part, before.numbers, before.count)

    def _cluster(self, scores: sparse.csr_array, vectors: dict[str, np.ndarray], side: str, chunk: int) -> np.ndarray:
        before = self.macro[side]
        strength = np.asarray(scores.sum(1 - SIDES.index(side))).ravel()
        seen = np.flatnonzero(strength > 0)
        weights = np.where(strength[seen] >= self.config.threshold, 1, self.config.inactive_weight)
        rng = np.random.default_rng((self.config.seed, chunk, SIDES.index(side)))
        numbers = np.zeros_like(before.numbers)
        unit = clusters.scale_to_one(vectors[side][seen])
        numbers[seen] = clusters.kmeans(unit, weights, before.numbers[seen], before.count, rng)
        return numbers

    def _make_vectors(self, scores: sparse.csr_array) -> dict[str, np.ndarray]:
        """Return what users and items are clustered by; where a column gives one side, its values' shares."""
        if "item" in self.fixed:
            return {"user": (scores @ self.macro["item"].one_hot()).toarray()}
        if "user" in self.fixed:
            return {"item": (scores.T @ self.macro["user"].one_hot()).toarray()}
        matrix = clusters.balance(scores) if self.config.degree_normalized else aslinearoperator(scores)
        return dict(zip(SIDES, self._factors.of(matrix), strict=True))


def _read_codes(columns: Columns, name: str, side: str) -> tuple[np.ndarray, int]:
    """Return the code of each row, 0 for unknown, and the highest; of a list the first value counts.

    Raises MTBenchError if there is no such feature of users or items, or it has no values or too many.
    """
    other = SIDES[1 - SIDES.index(side)]
    known = {one.name for one in columns.schema.features if one.kind != "numeric" and one.of != other}
    if name not in known:
        raise MTBenchError(
            f"macro-graph: {side}_column: '{name}' is no categorical or multi-valued feature of the "
            f"{side}{suggest(name, known)}; known: {', '.join(sorted(known)) or 'none'}"
        )
    rows = columns.everything()
    if name in columns.spec.categorical:
        size = columns.spec.categorical[name]
        codes = rows.categorical[:, list(columns.spec.categorical).index(name)].numpy()
    else:
        size, lists = columns.spec.multi[name], rows.multi[name]
        starts, ends = lists.offsets[:-1].numpy(), lists.offsets[1:].numpy()
        codes = np.where(ends > starts, np.append(lists.values.numpy(), 0)[starts], 0)
    if not 0 < size - 1 <= MOST_CLUSTERS:
        raise MTBenchError(
            f"macro-graph: {side}_column: '{name}' has {size - 1} values; it takes 1 to {MOST_CLUSTERS} of them to be "
            "macro nodes"
        )
    return codes, size - 1
