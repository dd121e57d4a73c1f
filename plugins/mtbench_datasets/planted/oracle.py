"""What one who knows the law of planted data, but sees labels of earlier chunks alone, can predict at best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from mtbench_datasets.planted.world import GROUPS, NO_CLICK, TASKS, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mtbench_datasets.planted.world import Columns

    Floats = NDArray[np.float64]

_BLOCK = 1 << 14
_SWEEPS = 3


def infer_groups(world: World, columns: Columns, labels: NDArray[np.int8], chunk: NDArray[np.int64]) -> Floats:
    """Predict from the posterior of the groups of user and item, shape (rows, tasks).

    The posterior comes from loopy belief propagation between users and items over the rows of earlier chunks. It takes
    the groups of user and item for independent given those rows, and the messages have a few sweeps to settle.
    """
    user, item = columns["user"], columns["item"]
    base = world.base(columns)
    sees = _unhide(chunk)
    seen = np.argsort(chunk, kind="stable")
    seen = seen[np.searchsorted(chunk[seen], 0) :]
    beliefs = _Beliefs(world, user[seen], item[seen], _likelihood(world, base[seen], labels[seen]))
    predictions = np.empty_like(base)
    for number in np.unique(sees):
        of_user, of_item = beliefs.after(int(np.searchsorted(chunk[seen], number)))
        rows = np.flatnonzero(sees == number)
        for part in _blocks(rows):
            weight = of_user[user[part], :, None] * of_item[item[part], None, :]
            chances = world.probabilities(base[part, None, None], world.affinity)
            predictions[part] = _expected(weight.reshape(len(part), -1), chances.reshape(len(part), -1, len(TASKS)))
    return predictions


def infer_last_click(world: World, columns: Columns, labels: NDArray[np.int8], chunk: NDArray[np.int64]) -> Floats:
    """Predict from the distribution of the category of the user's last click, shape (rows, tasks).

    The last click in earlier chunks is known. Of the unseen rows since, only the user's mean rate is used: they come as
    a Poisson process, and each moves the last click by the transition matrix of an average row. Seen rows without a
    click are taken to tell nothing about unseen ones between them.
    """
    user, category = columns["user"].astype(np.int64), columns["category"]
    base = world.base(columns)
    step = _transitions(world, base, category)
    values, vectors = np.linalg.eig(step)
    inverse = np.linalg.inv(vectors)
    share = world.user_share()
    size = len(user)
    click = np.argsort(user, kind="stable")
    click = click[labels[click, 0] == 1]
    predictions = np.empty_like(base)
    sees = _unhide(chunk)
    for number in np.unique(sees):
        visible = (chunk >= 0) & (chunk < number)
        hidden = np.append(0, np.cumsum(~visible))
        known = click[visible[click]]
        keys = np.append(-1, user[known] * size + known)
        for part in _blocks(np.flatnonzero(sees == number)):
            last = keys[np.searchsorted(keys, user[part] * size + part) - 1]
            clicked = (last >= 0) & (last // size == user[part])
            state = np.where(clicked, category[last % size], NO_CLICK)
            elapsed = share[user[part]] * (hidden[part] - hidden[np.where(clicked, last % size, 0)])
            drift = vectors[state] * np.exp(elapsed[:, None] * (values - 1))
            weight = np.maximum((drift @ inverse).real, 0)
            chances = world.probabilities(base[part, None], world.follow[:, category[part]].T)
            predictions[part] = _expected(weight / weight.sum(axis=1, keepdims=True), chances)
    return predictions


def _unhide(chunk: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the chunk as of which each row sees; a row with ``~c`` sees as one in chunk c, and is seen by none."""
    return np.where(chunk < 0, ~chunk, chunk)


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]


def _expected(weight: NDArray[np.floating[Any]], chances: Floats) -> Floats:
    """Average chances (rows, states, tasks) over states; conversions over the states of those who click."""
    clicking = weight * chances[..., 0]
    expected: Floats = np.einsum("rs,rst->rt", weight, chances)
    expected[:, 1] = (clicking * chances[..., 1]).sum(axis=1) / clicking.sum(axis=1)
    return expected


def _transitions(world: World, base: Floats, category: NDArray[np.int8]) -> Floats:
    """Return how one row moves the category of the last click, averaged over rows, shape (states, states)."""
    states = NO_CLICK + 1
    step = np.zeros((states, states))
    some = slice(None, None, max(len(base) // 100_000, 1))
    for state in range(states):
        clicks = world.probabilities(base[some, :1], world.follow[state, category[some]])[:, 0]
        step[state, :NO_CLICK] = np.bincount(category[some], clicks, minlength=NO_CLICK) / len(clicks)
    return step + np.diag(1 - step.sum(axis=1))


def _likelihood(world: World, base: Floats, labels: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the probability of each row's labels for each pair of groups, shape (rows, groups, groups)."""
    likelihood = np.empty((len(base), GROUPS, GROUPS), np.float32)
    for part in _blocks(np.arange(len(base))):
        chances = world.probabilities(base[part, None, None], world.affinity)
        truth = labels[part, None, None]
        chances = np.where(truth == 1, chances, 1 - chances)
        chances[labels[part, 0] == 0, ..., 1] = 1
        likelihood[part] = chances.prod(axis=-1)
    return likelihood


class _Beliefs:
    """Belief propagation over the graph of users and items, one factor per row (Pearl, 1988)."""

    def __init__(
        self, world: World, user: NDArray[np.int32], item: NDArray[np.int32], likelihood: NDArray[np.float32]
    ) -> None:
        self.user, self.item = user, item
        self.likelihood = likelihood
        self.users, self.items = len(world.user_group), len(world.item_group)
        rng = np.random.default_rng(0)
        self.to_user = rng.normal(0, 0.01, (len(user), GROUPS)).astype(np.float32)  # uniform beliefs would stay uniform
        self.to_item = rng.normal(0, 0.01, (len(user), GROUPS)).astype(np.float32)

    def after(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the groups' probabilities of users and items after the first ``count`` rows."""
        user, item, likelihood = self.user[:count], self.item[:count], self.likelihood[:count]
        to_user, to_item = self.to_user[:count], self.to_item[:count]
        for _ in range(_SWEEPS):
            of_item = softmax(_sum_messages(item, to_item, self.items)[item] - to_item, axis=1)
            to_user[:] = _log_normalize((likelihood @ of_item[:, :, None])[:, :, 0])
            of_user = softmax(_sum_messages(user, to_user, self.users)[user] - to_user, axis=1)
            to_item[:] = _log_normalize((of_user[:, None] @ likelihood)[:, 0])
        return (
            softmax(_sum_messages(user, to_user, self.users), axis=1),
            softmax(_sum_messages(item, to_item, self.items), axis=1),
        )


def _log_normalize(message: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = np.log(message / message.sum(axis=1, keepdims=True))
    return scaled


def _sum_messages(index: NDArray[np.int32], messages: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Sum messages by index, shape (size, groups)."""
    totals = [np.bincount(index, messages[:, group], minlength=size) for group in range(GROUPS)]
    return np.column_stack(totals).astype(np.float32)
