from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mtbench.data.dataset import Dataset, DatasetConfig
from mtbench.data.prepare import prepare
from mtbench.schema import Card, Feature, Schema, Split, Task

ROWS = 400
TIMES = (np.arange(ROWS) * 7) % ROWS
RNG = np.random.default_rng(0)
CLICK = np.arange(ROWS) % 3 % 2


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MTBENCH_CACHE", str(folder))
    monkeypatch.delenv("MTBENCH_DATA", raising=False)
    return folder


class Given(Dataset):
    """A dataset of a table in memory, which counts how often it is loaded."""

    card = Card(title="", licence="", citation="", url="", description="")

    def __init__(self, table, schema, *, ids=True, acknowledged=(), sources=(), reachable=None):
        super().__init__(DatasetConfig(ids=ids))
        self.table = table
        self._schema = schema
        self.loads = 0
        self.card = self.card.model_copy(update={"acknowledged": dict.fromkeys(acknowledged, "known")})
        self._sources = sources
        self._reachable = reachable

    def sources(self):
        return self._sources

    def schema(self):
        return self._schema

    def load(self, files):  # noqa: ARG002
        self.loads += 1
        return self.table

    def reachable(self, table, chunk):
        return self._reachable(table, chunk) if self._reachable else {}


def _prepared(dataset, split=None, **changes):
    split = split or Split(by="time" if dataset.schema().time else "random")
    return prepare("given", dataset, split, **{"source": "code"} | changes)


def _funnel(rows=600):
    rng = np.random.default_rng(3)
    click = rng.random(rows) < 0.5
    return pa.table({
        "user": pa.array([f"u{user}" for user in rng.integers(60, size=rows)]),
        "item": pa.array(rng.integers(40, size=rows)),
        "when": pa.array(rng.permutation(rows) // 2),
        "shelf": pa.array(np.array(["a", "b", None, "c"], object)[rng.integers(4, size=rows)]),
        "tags": pa.array([rng.integers(6, size=size).tolist() for size in rng.integers(4, size=rows)]),
        "price": pa.array(rng.lognormal(size=rows), mask=rng.random(rows) < 0.1),
        "age": pa.array(rng.integers(18, 80, size=rows)),
        "is_click": pa.array(click.astype(np.int8), mask=rng.random(rows) < 0.05),
        "buy": pa.array((click & (rng.random(rows) < 0.4)).astype(np.int8)),
        "seconds": pa.array(rng.exponential(20, size=rows)),
        "p_click": pa.array(rng.random(rows)),
    })  # fmt: skip


FUNNEL = Given(
    _funnel(),
    Schema(
        tasks=(
            Task(name="click", column="is_click"),
            Task(name="buy", given="click"),
            Task(name="seconds", kind="regression"),
        ),
        features=(
            Feature(name="shelf", of="item"),
            Feature(name="price", kind="numeric", log=True),
            Feature(name="tags", kind="multi"),
            Feature(name="age", kind="numeric"),
        ),
        user="user", item="item", time="when", truth={"click": "p_click"},
    ),
)  # fmt: skip


@pytest.fixture
def dataset_of():
    """Make a dataset of a table in memory: ``dataset_of(table, schema, ...)``."""
    return Given


@pytest.fixture
def prepared(cache_folder):  # noqa: ARG001 - the cache comes first
    """Prepare a dataset: ``prepared(dataset, split, ...)``."""
    return _prepared


@pytest.fixture
def funnel():
    """A dataset with three tasks and features of every kind."""
    return FUNNEL


@pytest.fixture
def simple(dataset_of):
    """400 rows in shuffled time with one task and one harmless feature; ``changes`` add or replace columns."""

    def make(changes=None, schema=None, **settings):
        columns = {"x": RNG.integers(9, size=ROWS), "click": CLICK, "when": TIMES} | (changes or {})
        schema = {"tasks": ("click",), "features": ("x",), "time": "when"} | (schema or {})
        return dataset_of(pa.table(columns), Schema(**schema), **settings)

    return make
