"""Draws the rows of planted data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mtbench_datasets.planted.extra import draw_labels, expect
from mtbench_datasets.planted.world import CARDINALITIES, NO_CLICK, TASKS, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def draw(
    world: World, size: int, extra: Sequence[str] = ()
) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64], NDArray[np.int8]]:
    """Return the columns of ``size`` rows in the order of time, their true expected labels and labels (rows, tasks)."""
    rng = np.random.Generator(np.random.PCG64(world.rows))
    user = world.draw_users(rng, size)
    item = world.draw_items(rng, size)
    columns: dict[str, NDArray[Any]] = {
        "user": user,
        "item": item,
        "time": 1_700_000_000 + 30 * np.arange(size) + rng.integers(30, size=size),
        "device": rng.integers(CARDINALITIES["device"], size=size, dtype=np.int8),
        "hour": rng.uniform(0, 24, size).astype(np.float32),
    }
    columns |= {name: values[user] for name, values in world.users.items()}
    columns |= {name: values[item] for name, values in world.items.items()}
    base = world.base(columns)
    noise = rng.random((size, len(TASKS)))
    signal = (
        _follow(world, columns, base[:, 0], noise[:, 0]) if world.signal == "sequence" else world.pair_signal(columns)
    )
    truth = world.probabilities(base, signal)
    labels = (noise < truth).astype(np.int8)
    labels[:, 1] &= labels[:, 0]
    taste = world.taste(columns)
    means = [expect(kind, taste) for kind in extra]
    further = [draw_labels(kind, taste, rng) for kind in extra]
    return columns, np.column_stack([truth, *means]), np.column_stack([labels, *further])


def _follow(
    world: World, columns: dict[str, NDArray[Any]], base: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sequence signal; the k-th rows of all users are drawn together, as each needs the click before it."""
    user, category = columns["user"], columns["category"]
    order = np.argsort(user, kind="stable")
    counts = np.bincount(user, minlength=len(world.user_group))
    starts = counts.cumsum() - counts
    by_count = np.argsort(-counts, kind="stable")
    alive = np.searchsorted(-counts[by_count], -np.arange(counts.max()))
    last = np.full(len(counts), NO_CLICK)
    extra = np.empty(len(user))
    for k, number in enumerate(alive):
        people = by_count[:number]
        rows = order[starts[people] + k]
        extra[rows] = world.follow[last[people], category[rows]]
        clicked = noise[rows] < world.probabilities(base[rows, None], extra[rows])[:, 0]
        last[people[clicked]] = category[rows[clicked]]
    return extra
