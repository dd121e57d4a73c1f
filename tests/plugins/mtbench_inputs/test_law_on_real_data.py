from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from mtbench.data.dataset import DatasetConfig
from mtbench.data.sources import locate
from mtbench.errors import MTBenchError
from mtbench.inputs.interactions import EARLIER, collect_interactions, collect_rows
from mtbench.testing.inputs import InMemory, find_leaks
from mtbench_datasets.anime import Anime
from mtbench_datasets.epinions import Epinions
from mtbench_datasets.kuairand_pure import KuaiRandConfig, KuaiRandPure
from mtbench_datasets.movielens_100k import MovieLens100K
from mtbench_datasets.movietweetings import MovieTweetings
from mtbench_inputs.full_graph import FullGraph, FullGraphConfig, FullGraphInput
from mtbench_inputs.macro_graph import MacroGraph, MacroGraphConfig
from mtbench_inputs.rates import Rates, RatesConfig
from mtbench_inputs.recent import Recent, RecentConfig
from mtbench_inputs.text import Text, TextConfig

pytestmark = pytest.mark.skipif("MTBENCH_DATA" not in os.environ, reason="MTBENCH_DATA is unset: no real data")

DATASETS = {
    "anime": Anime(DatasetConfig()),
    "epinions": Epinions(DatasetConfig()),
    "kuairand-pure": KuaiRandPure(KuaiRandConfig()),
    "movielens-100k": MovieLens100K(DatasetConfig()),
    "movietweetings": MovieTweetings(DatasetConfig()),
}
ROWS, CASES, DRAWS = 3000, 3, 5
RECENT = RecentConfig(length=5, item_length=3, features=True)
MACRO = MacroGraphConfig(user_clusters=5, item_clusters=6, rank=4, neighbors=5)
every_dataset = pytest.mark.parametrize("name", DATASETS)


class LeakingRecent(Recent):
    """Sees the rows of its own chunk."""

    def build(self, events, rows, columns, folder):
        super().build(events, replace(rows, chunk=rows.chunk + 1), columns, folder)


class LeakingMacroGraph(MacroGraph):
    """Is made of the rows of its own chunk."""

    def build(self, events, rows, columns, folder):
        super().build(replace(events, chunks=events.chunks + 1), replace(rows, chunk=rows.chunk + 1), columns, folder)


class LeakingRates(Rates):
    """Takes all events for ones from before the first row."""

    def build(self, events, rows, columns, folder):
        super().build(replace(events, chunk=np.full_like(events.chunk, EARLIER)), rows, columns, folder)


@cache
def real(name):
    """Return a dataset's whole table and its earlier events."""
    try:
        files = {source.name: locate(source) for source in DATASETS[name].sources()}
    except MTBenchError as error:
        pytest.skip(str(error))
    return DATASETS[name].load(files), DATASETS[name].earlier_events(files)


@cache
def users_of(name):
    """Return the number of each row's user, and how many rows each user has."""
    _, user, count = np.unique(
        real(name)[0][DATASETS[name].schema().user].to_numpy(), return_inverse=True, return_counts=True
    )
    return user, count


def some_users(name, rng):
    """Return all rows of some users, at most 3000, and the earlier events of these users with these items."""
    (table, earlier), (user, count), schema = real(name), users_of(name), DATASETS[name].schema()
    order = rng.permutation(len(count))
    drawn = order[np.cumsum(count[order]) <= ROWS]
    part = table.filter(pa.array(np.isin(user, drawn)))
    if earlier is not None:
        known = [pc.is_in(earlier[column], part[column].combine_chunks()) for column in (schema.user, schema.item)]
        earlier = earlier.filter(pc.and_(*known))
    return InMemory(part, schema, earlier)


def cases(name):
    """Return datasets of some users with a generator for each; a draw that cannot be prepared is drawn again."""
    chosen = []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        dataset = some_users(name, rng)
        with suppress(MTBenchError):
            dataset.prepare(DATASETS[name].split)
            chosen.append((dataset, rng))
    assert len(chosen) >= CASES
    return chosen[:CASES]


@every_dataset
@pytest.mark.parametrize(
    ("input_", "leaking"),
    [
        pytest.param(Recent(RECENT), LeakingRecent(RECENT), id="recent"),
        pytest.param(MacroGraph(MACRO), LeakingMacroGraph(MACRO), id="macro-graph"),
        pytest.param(Rates(RatesConfig()), LeakingRates(RatesConfig()), id="rates"),
    ],
)
def test_no_row_is_given_anything_of_its_chunk_or_a_later_one(name, input_, leaking, tmp_path):
    split = DATASETS[name].split
    for case, (dataset, rng) in enumerate(cases(name)):
        chunks = dataset.prepare(split).chunk()
        chunk = int(rng.integers(chunks.max()))  # a chunk of training rows: others' labels are in no input
        assert not find_leaks(input_, dataset, split, chunk, tmp_path / f"{case}-law")
        assert find_leaks(leaking, dataset, split, chunk, tmp_path / f"{case}-leak")
        assert not find_leaks(input_, dataset, split, int(chunks.max()), tmp_path / f"{case}-held-out")


@pytest.mark.parametrize("name", [name for name, dataset in DATASETS.items() if dataset.schema().texts])
def test_no_text_depends_on_a_label(name, tmp_path):
    (column,) = DATASETS[name].schema().texts
    input_ = Text(TextConfig(column=column, encoder="hashed"))
    for case, (dataset, _) in enumerate(cases(name)):
        assert not find_leaks(input_, dataset, DATASETS[name].split, 0, tmp_path / str(case))


def built(columns, folder):
    folder.mkdir()
    input_ = FullGraph(FullGraphConfig())
    input_.build(collect_interactions(columns), collect_rows(columns), columns, folder)
    return input_.open(folder)


def before_and_after(dataset, name, rows_to_flip, folder):
    """Return the full graph before and after the labels of some training rows and of all held-out rows were flipped."""
    columns = dataset.prepare(DATASETS[name].split)
    before = built(columns, folder / "before")
    trained = columns.counts["train"]
    flipped = np.concatenate([rows_to_flip(before, trained), np.arange(trained, len(before.rows.users))])
    raw = columns.row_ids(columns.everything())[flipped]
    after = built(dataset.flip(raw).prepare(DATASETS[name].split), folder / "after")
    return before, after, torch.from_numpy(flipped)


def propagated(opened, without):
    generator = torch.Generator().manual_seed(0)
    layer = (torch.randn(count, 4, generator=generator, dtype=torch.float64) for count in opened.spec[:2])
    return torch.cat(opened.spec.graph.propagate(*layer, without, 2))


@every_dataset
def test_a_batch_sees_in_the_full_graph_neither_its_own_labels_nor_held_out_ones(name, tmp_path):
    for case, (dataset, rng) in enumerate(cases(name)):
        (tmp_path / str(case)).mkdir()
        before, after, batch = before_and_after(
            dataset, name, lambda _, trained, rng=rng: rng.permutation(trained)[:200], tmp_path / str(case)
        )
        first, second = (propagated(opened, opened.take(batch)) for opened in (before, after))
        torch.testing.assert_close(first, second, atol=1e-12, rtol=1e-12)
        nobody = FullGraphInput(*(part[:0] for part in before.rows))
        assert not torch.allclose(propagated(before, nobody), propagated(after, nobody))


@every_dataset
def test_no_row_is_given_vectors_of_its_own_part_of_the_full_graph(name, tmp_path):
    for case, (dataset, _) in enumerate(cases(name)):
        (tmp_path / str(case)).mkdir()
        before, after, _ = before_and_after(
            dataset,
            name,
            lambda opened, trained: np.flatnonzero(opened.rows.folds[:trained] == 1),
            tmp_path / str(case),
        )
        own = before.rows.folds == 1
        for rows, equal in ((own, True), (~own, False)):
            first, second = (opened.pool(opened.take(torch.nonzero(rows).squeeze(1)))[1] for opened in (before, after))
            assert torch.allclose(first, second, atol=1e-5) == equal
