"""The law that planted data follow: users, items, effects and the probability of every label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]

Signal = Literal["none", "graph", "sequence", "text"]

TASKS = ("click", "conversion", "like")
CARDINALITIES = {"age": 6, "region": 8, "category": 12, "brand": 12, "device": 4}
PAIRS = (("age", "category"), ("category", "device"))
NUMERIC = ("activity", "price", "hour")
TAGS = 12
GROUPS = 5
NO_CLICK = CARDINALITIES["category"]
"""The state of a user who has clicked nothing yet, beside the categories of the last click."""
TOPICS = (
    "goal match striker league referee stadium keeper penalty",
    "election senate ballot minister treaty vote parliament campaign",
    "recipe oven butter garlic dough simmer spice dessert",
    "guitar album chorus concert drummer melody vinyl tour",
    "galaxy orbit telescope comet rocket lunar astronaut nebula",
    "stocks dividend inflation bank bond earnings merger tariff",
    "beach passport hotel island flight luggage itinerary resort",
    "vaccine clinic surgeon therapy diagnosis nurse symptom dosage",
)
COMMON = "new best guide story today why first inside"

# Shares of a utility's variance, one in all.
_MAIN, _CURVE, _TAG, _PAIR, _SLOPE, _PRODUCT = 0.14, 0.04, 0.08, 0.03, 0.02, 0.02
_SCALE = 1.3  # standard deviation of a logit
_SHARED = 0.9  # correlation of a task's utility with the one that the tasks share
_EXTRA = 0.6  # share of the shared utility's variance that the signal carries
_BIAS = np.array([-1.1, -1.55, -1.1])  # about 30 % positives, for conversions among the clicks
_USER_SKEW = 1.25
_BLOCK = 1 << 17


class World:
    """All that the generator knows before it draws a row.

    There are four utilities: one that the tasks share and one of each task's own. Each is a sum of effects of the
    observed features: a table per categorical feature and for two pairs of them, a curve per numeric feature, the mean
    weight of the tags, a slope of activity for each category, and the product of activity and price. The logit of task
    t is ``bias_t + 1.3 * (r_t * shared + sqrt(1 - r_t ** 2) * own_t)``, all utilities of variance one, where r is 0.9
    for click and conversion and ``0.9 * cos(pi * conflict)`` for like. A signal takes 60 % of the shared variance.
    """

    def __init__(self, *, users: int, items: int, signal: Signal, conflict: float, seed: int) -> None:
        effects, people, goods, self.rows = np.random.SeedSequence(seed).spawn(4)
        self.signal = signal
        share = _EXTRA if signal != "none" else 0.0
        shared = np.array([_SHARED, _SHARED, _SHARED * np.cos(np.pi * conflict)])
        self._mix = np.vstack([shared * np.sqrt(1 - share), np.diag(np.sqrt(1 - shared**2))]) * _SCALE
        self.pull: NDArray[np.float64] = _SCALE * shared * np.sqrt(share)
        self._draw_effects(np.random.Generator(np.random.PCG64(effects)))
        self._draw_users(users, np.random.Generator(np.random.PCG64(people)))
        self._draw_items(items, np.random.Generator(np.random.PCG64(goods)))

    def _draw_effects(self, rng: Generator) -> None:
        self._main = {name: _standardize(rng.normal(size=(size, 4))) for name, size in CARDINALITIES.items()}
        self._pairs = {(a, b): _standardize(rng.normal(size=(CARDINALITIES[a], CARDINALITIES[b], 4))) for a, b in PAIRS}
        angle = rng.uniform(0, 2 * np.pi, (len(NUMERIC), 4))
        self._curves = dict(zip(NUMERIC, np.stack([np.cos(angle), np.sin(angle)], axis=1), strict=True))
        self._tag_weights = _standardize(rng.normal(size=(TAGS, 4)))
        self._slopes = _standardize(rng.normal(size=(CARDINALITIES["category"], 4)))
        self._product = rng.choice([-1.0, 1.0], 4)
        self.affinity = _standardize(rng.normal(size=(GROUPS, GROUPS, 1)))[..., 0]
        self.topic_taste = _standardize(rng.normal(size=(CARDINALITIES["age"], len(TOPICS), 1)))[..., 0]
        turn = np.arange(NO_CLICK) - np.arange(NO_CLICK)[:, None]
        self.follow = np.vstack([np.sqrt(2) * np.sin(2 * np.pi * turn / NO_CLICK), np.zeros(NO_CLICK)])

    def _draw_users(self, size: int, rng: Generator) -> None:
        self.users = {name: rng.integers(CARDINALITIES[name], size=size, dtype=np.int8) for name in ("age", "region")}
        self.users["activity"] = rng.normal(size=size).astype(np.float32)
        self.user_group = rng.integers(GROUPS, size=size, dtype=np.int8)

    def _draw_items(self, size: int, rng: Generator) -> None:
        self.items = {
            name: rng.integers(CARDINALITIES[name], size=size, dtype=np.int8) for name in ("category", "brand")
        }
        self.items["price"] = np.exp(2 + rng.normal(size=size) / 2).astype(np.float32)
        self.item_group = rng.integers(GROUPS, size=size, dtype=np.int8)
        first = rng.integers(TAGS, size=(size, 1))
        others = (first + rng.integers(1, TAGS // 2, size=(size, 2)).cumsum(axis=1)) % TAGS
        self.tags = np.hstack([first, others]).astype(np.int8)  # distinct
        self.tag_counts = rng.integers(1, 4, size=size)
        carried = np.arange(3) < self.tag_counts[:, None]
        total = (self._tag_weights[self.tags] * carried[..., None]).sum(axis=1)
        self._tag_effect = total / self.tag_counts[:, None] / np.sqrt(np.mean([1, 1 / 2, 1 / 3]))
        self.topic = rng.integers(len(TOPICS), size=size, dtype=np.int8)
        words = [[*topic.split(), *COMMON.split()] for topic in TOPICS]
        chosen = np.hstack([rng.integers(8, size=(size, 4)), rng.integers(8, 16, size=(size, 2))])
        chosen = rng.permuted(chosen, axis=1).tolist()
        if self.signal == "text":
            topics = self.topic.tolist()
            self.titles = [" ".join(words[t][w] for w in row) for t, row in zip(topics, chosen, strict=True)]

    def draw_users(self, rng: Generator, size: int) -> NDArray[np.int32]:
        """Return the user of each row; some have several times as many as others."""
        return (len(self.user_group) * rng.random(size) ** _USER_SKEW).astype(np.int32)

    def user_share(self) -> NDArray[np.float64]:
        """Return each user's expected share of the rows."""
        share: NDArray[np.float64] = np.diff(np.linspace(0, 1, len(self.user_group) + 1) ** (1 / _USER_SKEW))
        return share

    def draw_items(self, rng: Generator, size: int) -> NDArray[np.int32]:
        """Return the item of each row: mostly popular ones.

        Where titles matter, mostly new ones of a catalogue that grows tenfold, so that many are cold.
        """
        count = len(self.item_group)
        where = rng.random(size) ** 2
        if self.signal != "text":
            return (count * where).astype(np.int32)
        known = np.linspace(0.1, 1, size) * count
        return np.ceil(known * (1 - where) - 1).clip(0).astype(np.int32)

    def tags_of(self, item: NDArray[np.int32]) -> pa.ListArray:
        """Return each row's list of tags."""
        carried = np.arange(self.tags.shape[1]) < self.tag_counts[:, None]
        lists = pa.ListArray.from_arrays(np.append(0, self.tag_counts.cumsum()).astype(np.int32), self.tags[carried])
        return lists.take(pa.array(item))

    def pair_signal(self, columns: Columns) -> NDArray[np.float64]:
        """Return each row's signal where it follows from user and item alone."""
        if self.signal == "graph":
            table, user, item = self.affinity, self.user_group[columns["user"]], self.item_group[columns["item"]]
        elif self.signal == "text":
            table, user, item = self.topic_taste, columns["age"], self.topic[columns["item"]]
        else:
            return np.zeros(len(columns["item"]))
        signal: NDArray[np.float64] = table[user, item]
        return signal

    def taste(self, columns: Columns) -> NDArray[np.float64]:
        """Return what the categorical features add to the shared utility, shape (rows,), of variance one."""
        effects = [table[columns[name], 0] for name, table in self._main.items()]
        taste: NDArray[np.float64] = np.sum(effects, axis=0) / np.sqrt(len(effects))
        return taste

    def base(self, columns: Columns) -> NDArray[np.float64]:
        """Return the logits that the features alone give, shape (rows, tasks)."""
        size = len(columns["item"])
        logits = np.empty((size, len(TASKS)))
        for start in range(0, size, _BLOCK):
            part = slice(start, start + _BLOCK)
            logits[part] = _BIAS + self._utilities({name: values[part] for name, values in columns.items()}) @ self._mix
        return logits

    def _utilities(self, columns: Columns) -> NDArray[np.float64]:
        activity = columns["activity"].astype(np.float64)
        price = 2 * (np.log(columns["price"].astype(np.float64)) - 2)
        day = 2 * np.pi * columns["hour"].astype(np.float64) / 24
        curves = {
            "activity": (activity, (activity**2 - 1) / np.sqrt(2)),
            "price": (price, (price**2 - 1) / np.sqrt(2)),
            "hour": (np.sqrt(2) * np.sin(day), np.sqrt(2) * np.cos(day)),
        }
        total: NDArray[np.float64] = np.sqrt(_TAG) * self._tag_effect[columns["item"]]
        for name, table in self._main.items():
            total += np.sqrt(_MAIN) * table[columns[name]]
        for (a, b), table in self._pairs.items():
            total += np.sqrt(_PAIR) * table[columns[a], columns[b]]
        for name, curve in curves.items():
            total += np.sqrt(_CURVE) * np.column_stack(curve) @ self._curves[name]
        total += np.sqrt(_SLOPE) * activity[:, None] * self._slopes[columns["category"]]
        total += np.sqrt(_PRODUCT) * (activity * price)[:, None] * self._product
        return total

    def probabilities(self, base: NDArray[np.float64], extra: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities for signals ``extra``, shape (..., tasks); ``base`` broadcasts against them."""
        probabilities: NDArray[np.float64] = expit(base + self.pull * extra[..., None])
        return probabilities


def _standardize(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre a table along all but its last axis, and give it variance one."""
    axes = tuple(range(table.ndim - 1))
    for axis in axes:
        table = table - table.mean(axis=axis, keepdims=True)
    standard: NDArray[np.float64] = table / table.std(axis=axes, keepdims=True)
    return standard
