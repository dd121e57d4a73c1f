"""Rows that models are tested with: planted preferences, with everything in them that real tables have."""

from __future__ import annotations

import os
from functools import cache
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import pandas as pd

from mtbench.inputs.attach import attach_inputs
from mtbench.inputs.input import SourcedInput
from mtbench.kinds import find_kind
from mtbench.registry import Registry
from mtbench.schema import Component, Feature, Schema, Split, Task
from mtbench.testing.inputs import InMemory
from mtbench.validation import validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.data.columns import Columns

ROWS, USERS, ITEMS = 4000, 40, 30
GROUPS = 4
UNKNOWN = 0.1
LIKES = (-2.0, -1.0, 1.0, 2.0)
SPLIT = Split(by="time", valid=0.15, test=0.15)
TASKS = (
    Task(name="click"),
    Task(name="cart", given="click"),
    Task(name="buy", given="cart"),
    Task(name="watch", kind="regression"),
    Task(name="like"),
    Task(name="rating", kind="regression"),
    Task(name="share", given="click"),
    Task(name="follow"),
    Task(name="stars", kind="ordinal"),
    Task(name="plays", kind="count", given="click"),
)
"""A funnel of three, numbers of all kinds, further tasks given the click: the first so many are a list of tasks."""


def schema(tasks: Sequence[Task]) -> Schema:
    """Return what the columns mean: ids, a domain, time, a text and features of every kind."""
    features = (
        Feature(name="country", of="user"),
        Feature(name="shelf", of="item"),
        Feature(name="tags", kind="multi", of="item"),
        Feature(name="age", kind="numeric", of="user"),
        Feature(name="hour", kind="numeric"),
    )
    return Schema(
        tasks=tuple(tasks), features=features, user="user", item="item", domain="country", time="time",
        texts=("title",),
    )  # fmt: skip


def table(tasks: Sequence[Task]) -> pd.DataFrame:
    """Return users of four groups who meet items of four shelves; each task has likes of its own between the two.

    There are users and items that training never sees, missing labels, numbers and texts, empty lists and equal times.
    """
    rng = np.random.default_rng(0)
    late = np.arange(ROWS) > 0.7 * ROWS  # when training is over, the last of the users and items come
    user = rng.integers(np.where(late, USERS, USERS - 4))
    item = rng.integers(np.where(late, ITEMS, ITEMS - 3))
    words = [[f"shelf{one % GROUPS}", f"word{one % 7}"] for one in range(ITEMS)]
    age, hour = rng.normal(40, 10, USERS)[user], rng.normal(size=ROWS)
    rows = pd.DataFrame({
        "user": user,
        "item": item,
        "time": np.sort(rng.integers(ROWS, size=ROWS)),
        "country": rng.integers(5, size=ROWS),
        "shelf": item % GROUPS,
        "tags": [words[one][: rng.integers(3)] for one in item],
        "title": [" ".join(words[one]) if one else None for one in item],
        "age": np.where(rng.random(ROWS) < UNKNOWN, np.nan, age),
        "hour": hour,
    })  # fmt: skip
    for task in tasks:
        likes = rng.permuted(np.tile(LIKES, (GROUPS, 1)), axis=1)
        score = likes[user % GROUPS, item % GROUPS] + 0.5 * hour
        label = 1.0 * (score > 0) if task.probability else 5 + 2 * score
        if not find_kind(task.kind).allows(label).all():
            label = label.round().clip(0)
        rows[task.label] = label if task.given is None else label * rows[task.given]
    labels = [task.label for task in tasks]
    rows[labels] = rows[labels].mask(rng.random((ROWS, len(labels))) < UNKNOWN)
    return rows


def examples(tasks: Sequence[Task] = TASKS, inputs: Sequence[Component] = ()) -> Columns:
    """Return prepared examples with the inputs that a model asks for; they are made once in a process.

    Inputs are found as in any run: by the names that installed plugins and ``MTBENCH_PLUGINS`` register. Raises
    MTBenchError for an unknown name or setting.
    """
    return _make_examples(tuple(tasks), tuple(component.model_dump_json() for component in inputs))


@cache
def _make_examples(tasks: tuple[Task, ...], inputs: tuple[str, ...]) -> Columns:
    with mock.patch.dict(os.environ, MTBENCH_CACHE=_make_folder().name):
        if not inputs:
            return InMemory(table(tasks), schema(tasks)).prepare(SPLIT)
        registry = Registry.load()
        asked = {}
        for text in inputs:
            component = Component.model_validate_json(text)
            cls = registry.resolve("input", component.name)
            config = validate(cls.Config, component.settings, f"input '{component.name}'")
            source = registry.provenance("input", component.name).sha256
            asked[component.name] = SourcedInput(cls(config), source)
        return attach_inputs(_make_examples(tasks, ()), asked, {})


@cache
def _make_folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="mtbench-examples-")
