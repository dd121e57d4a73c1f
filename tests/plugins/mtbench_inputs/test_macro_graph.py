from __future__ import annotations

import os
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace
from itertools import count, islice, pairwise
from math import log

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import adjusted_rand_score

from mtbench.data.prepare import prepare
from mtbench.errors import MTBenchError
from mtbench.inputs import Rows
from mtbench.inputs.interactions import collect_interactions, collect_rows
from mtbench.schema import Split
from mtbench.testing.inputs import TASKS, Generated, find_leaks, generate_table, give_input
from mtbench_datasets.kuairand_pure import KuaiRandPure
from mtbench_datasets.planted import Planted, PlantedConfig
from mtbench_inputs.macro import clusters
from mtbench_inputs.macro.grouping import Grouping
from mtbench_inputs.macro_graph import MacroGraph, MacroGraphConfig

TABLE = {"click": 1, "buy": 0, "click+buy": 4.5}
SCHEMES = {
    "additive": {"scores": "additive", "beta": 0.5},
    "lexicographic": {"scores": "lexicographic", "beta": 0},
    "table": {"scores": "table", "table": TABLE},
    "binary": {"scores": "binary", "tasks": ["buy"]},
}
KINDS = {
    **SCHEMES,
    "one column": {"item_column": "shelf"},
    "two columns": {"item_column": "shelf", "user_column": "club"},
    "active nodes": {"threshold": 3, "degree_normalized": False},
    "metis": {"clustering": "metis"},
}
SMALL = {"user_clusters": 3, "item_clusters": 4, "rank": 4, "neighbors": 5}


def macro_graph(**config):
    return MacroGraph(MacroGraphConfig(**(SMALL | config)))


def columns_of(table, *, warmup=0.0):
    split = Split(by="time" if "time" in table else "random", valid=0.15, test=0.15)
    return prepare("generated", Generated(table), split, source=str(table.to_csv()), warmup=warmup)


@pytest.fixture
def snapshots(monkeypatch):
    """Record the macro nodes of each snapshot that is made: a list of {side: numbers}."""
    made, next_ = [], Grouping.next

    def recorded(self, scores, chunk):
        macro = next_(self, scores, chunk)
        made.append({side: nodes.numbers.copy() for side, nodes in macro.items()})
        return macro

    monkeypatch.setattr(Grouping, "next", recorded)
    return made


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path / "cache"))


# the law


def repeatable(scores, parts):
    """Stand for METIS, which cuts small graphs differently at each call."""
    return tuple(
        np.where(scores.sum(axis) > 0, 1 + np.round(10 * scores.sum(axis)).astype(int) % parts, 0) for axis in (1, 0)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("timed", [True, False])
def test_no_row_is_given_anything_of_its_chunk_or_a_later_one(kind, timed, tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "metis", repeatable)
    for seed in range(32):
        rng = np.random.default_rng((seed, timed, len(kind)))
        table = generate_table(rng, int(rng.integers(60, 200)), 8, 6, timed=timed)
        split = Split(by="time" if timed else "random", valid=0.15, test=0.15)
        chunk = int(rng.integers(6))
        assert not find_leaks(macro_graph(**KINDS[kind]), Generated(table), split, chunk, tmp_path / str(seed))


def test_a_graph_made_of_the_row_s_own_chunk_is_caught(tmp_path):
    class Leaking(MacroGraph):
        def build(self, events, rows, columns, folder):
            late = Rows(rows.user, rows.item, rows.time, rows.chunk + 1)
            super().build(replace(events, chunks=events.chunks + 1), late, columns, folder)

    for seed in range(10):
        rng = np.random.default_rng(seed)
        table = generate_table(rng, 150, 8, 6)
        split = Split(by="time", valid=0.15, test=0.15)
        leaking = Leaking(MacroGraphConfig(**SMALL))
        changed = find_leaks(leaking, Generated(table), split, int(rng.integers(4)), tmp_path / str(seed))
        assert {"user_hop1", "user_hop2", "item_hop1", "item_hop2", "item_scores", "user_scores"} <= set(changed)


@pytest.mark.skipif("MTBENCH_DATA" not in os.environ, reason="needs the real data under MTBENCH_DATA")
def test_on_kuairand_rows_are_given_the_same_without_the_later_events(tmp_path):
    dataset = KuaiRandPure(KuaiRandPure.Config())
    columns = prepare("kuairand-pure", dataset, dataset.split, source="test")
    events, rows = collect_interactions(columns), collect_rows(columns)
    everything = torch.arange(len(rows.user))

    def taken(name, kept):
        cut = {field: getattr(events, field)[kept] for field in ("user", "item", "time", "chunk", "positive", "row")}
        (tmp_path / name).mkdir()
        graph = MacroGraph(MacroGraphConfig())
        graph.build(replace(events, **cut), rows, columns, tmp_path / name)
        return graph.open(tmp_path / name).take(everything)._asdict()

    whole = taken("whole", np.ones(len(events), bool))
    for chunk in np.random.default_rng(0).permutation(events.chunks)[:3]:
        early = taken(str(chunk), events.chunk < chunk)
        seen = torch.from_numpy(rows.chunk <= chunk)
        for name, values in whole.items():
            assert torch.equal(values[seen], early[name][seen]), (chunk, name)


# what rows are given, against a slow plain count


def plain_score(scheme, done):
    if scheme == "additive":
        rank = sum(1 + TASKS.index(task) for task in done)
        return 2 * ((rank + 1) ** 0.5 - 1)
    if scheme == "lexicographic":
        return log(1 + sum(2 ** TASKS.index(task) for task in done))
    return TABLE["+".join(task for task in TASKS if task in done)] if scheme == "table" else 1


def plain_events(columns, chunk, tasks):
    """Return (user, item, chunk, tasks done) of what a row of this chunk may see, in order."""
    counts, rows, positive = columns.counts, collect_rows(columns), columns.positive()
    held_out = range(counts["train"], counts["train"] + counts["valid"] + counts["test"])
    seen = [row for row in range(len(rows.user)) if rows.chunk[row] < chunk and row not in held_out]
    seen.sort(key=lambda row: (rows.chunk[row], rows.time[row], row))
    for row in seen:
        done = {task for task, is_positive in zip(TASKS, positive[row], strict=True) if is_positive and task in tasks}
        if done:
            yield int(rows.user[row]), int(rows.item[row]), int(rows.chunk[row]), done


def plain_graph(scheme, columns, chunk, macro, tasks):
    """Return scores {(user, item): s}, the four kinds of edge weights {(node, macro): n} and the task counts."""
    done = defaultdict(set)
    for user, item, _, now in plain_events(columns, chunk, tasks):
        done[user, item] |= now
    scores = {pair: plain_score(scheme, what) for pair, what in done.items()}
    weights = {name: Counter() for name in ("user_hop1", "user_hop2", "item_hop1", "item_hop2")}
    counts = Counter()
    for (user, item), score in scores.items():
        if not score:
            continue
        counts.update((user, task, macro["item"][item]) for task in done[user, item])
        weights["user_hop1"][user, macro["item"][item]] += score
        weights["item_hop1"][item, macro["user"][user]] += score
        for (other_user, other_item), other in scores.items():
            if other_item == item:
                weights["user_hop2"][user, macro["user"][other_user]] += score * other
            if other_user == user:
                weights["item_hop2"][item, macro["item"][other_item]] += score * other
    return scores, weights, counts


def plain_neighbors(columns, chunk, tasks, node, scores, length):
    """Return {place: (partner, score)} among a user's or an item's latest entries, one entry per pair and chunk."""
    side, number = node
    entries = []
    for user, item, when, _ in plain_events(columns, chunk, tasks):
        if (user, item)[side] == number:
            pair = user, item
            entries = [entry for entry in entries if entry != (pair, when)] + [(pair, when)]
    latest = entries[::-1][:length]
    neighbors = {}
    for place, (pair, _) in enumerate(latest):
        if pair not in [other for other, _ in latest[:place]] and scores[pair]:
            neighbors[place] = (pair[1 - side] + 1, scores[pair])
    return neighbors


def some_columns():
    """Yield columns of small tables, with their seed; a table may happen to lack a class in a part."""
    for seed in count():
        table = generate_table(np.random.default_rng(seed), 60, 7, 6, timed=seed % 2 == 0)
        with suppress(MTBenchError):
            yield seed, columns_of(table, warmup=0.3 * (seed % 3 == 0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_are_given_what_a_plain_count_finds(scheme, snapshots, tmp_path):
    for seed, columns in islice(some_columns(), 100):
        snapshots.clear()
        parts = give_input(macro_graph(counts="raw", **SCHEMES[scheme]), columns, tmp_path / str(seed))
        rows, tasks = collect_rows(columns), SCHEMES[scheme].get("tasks", TASKS)
        for chunk in np.unique(rows.chunk):
            macro = snapshots[chunk]
            scores, weights, counts = plain_graph(scheme, columns, chunk, macro, tasks)
            for row in np.flatnonzero(rows.chunk == chunk):
                node = {"user": int(rows.user[row]), "item": int(rows.item[row])}
                for name, weight in weights.items():
                    width = {"user_hop1": 4, "user_hop2": 3, "item_hop1": 3, "item_hop2": 4}[name]
                    expected = [weight[node[name[:4]], one] for one in range(1, width + 1)]
                    np.testing.assert_allclose(parts[name][row], expected, rtol=1e-5, err_msg=name)
                for side, name in enumerate(node):
                    seen = node[name] in {pair[side] for pair in scores}
                    assert parts[name][row] == (node[name] + 1 if seen else 0)
                assert parts["user_macro"][row] == macro["user"][node["user"]]
                assert parts["item_macro"][row] == macro["item"][node["item"]]
                for column, task in enumerate(TASKS):
                    of_task = [counts[node["user"], task, one] for one in range(1, 5)]
                    expected = 1 + int(np.argmax(of_task)) if any(of_task) else 0
                    assert parts["task_table"][row, column] == expected
                for side, name in enumerate(("item", "user")):
                    own = (side, tuple(node.values())[side])
                    near = plain_neighbors(columns, chunk, tasks, own, scores, 5)
                    expected = np.array([near.get(place, (0, 0)) for place in range(5)])
                    assert parts[f"{name}s"][row].tolist() == expected[:, 0].tolist()
                    np.testing.assert_allclose(parts[f"{name}_scores"][row], expected[:, 1], rtol=1e-6)
                    assert parts[f"{name}_mask"][row].tolist() == [float(place in near) for place in range(5)]


def test_scaled_weights_are_raw_ones_as_if_all_training_rows_had_been_seen(tmp_path):
    columns = columns_of(generate_table(np.random.default_rng(0), 200, 9, 7))
    raw = give_input(macro_graph(counts="raw"), columns, tmp_path / "raw")
    scaled = give_input(macro_graph(), columns, tmp_path / "scaled")
    chunk = columns.chunk()
    training = columns.counts["train"]
    assert chunk.max() > 3
    for row in range(len(chunk)):
        growth = training / max(np.sum(chunk[:training] < chunk[row]), 1)
        for name in ("user_hop1", "user_hop2", "item_hop1", "item_hop2"):
            power = growth ** int(name[-1])
            np.testing.assert_allclose(scaled[name][row], raw[name][row] * power, rtol=1e-5)


def test_nodes_that_are_not_seen_yet_have_number_0_and_no_edges(tmp_path):
    table = generate_table(np.random.default_rng(0), 200, 9, 7)
    table.loc[table["user"] == 3, list(TASKS)] = 0
    columns = columns_of(table)
    parts = give_input(macro_graph(), columns, tmp_path / "made")
    raw = table["user"].to_numpy()[columns.row_ids(columns.everything())]
    for row in np.flatnonzero((raw == 3) | (columns.chunk() == 0)):
        assert parts["user"][row] == 0
        assert parts["user_macro"][row] == 0
        assert not parts["user_hop1"][row].any()
        assert not parts["user_hop2"][row].any()
        assert not parts["item_mask"][row].any()
        assert not parts["task_table"][row].any()
    late = columns.chunk() == columns.chunk().max()
    assert (parts["user_macro"][late & (raw != 3)] > 0).all()
    assert (parts["item_macro"][late] > 0).all()


# macro nodes


def test_groups_that_last_keep_their_numbers_and_are_found(snapshots, tmp_path):
    dataset = Planted(PlantedConfig(rows=800_000, users=1000, items=300, signal="graph"))
    columns = prepare("planted", dataset, dataset.split, source="test", warmup=0.4)
    give_input(macro_graph(user_clusters=5, item_clusters=5, rank=16), columns, tmp_path / "made")
    world, table = dataset._world(), dataset.load({})
    raw = columns.row_ids(columns.everything())
    assert len(snapshots) >= 6
    for side, groups in (("user", world.user_group), ("item", world.item_group)):
        planted = np.zeros(len(snapshots[0][side]), int)
        planted[columns.identity(side)] = groups[table[side].to_numpy()[raw]]
        for earlier, later in pairwise(snapshots[1:]):
            both = (earlier[side] > 0) & (later[side] > 0)
            assert adjusted_rand_score(earlier[side][both], later[side][both]) >= 0.8
            assert (earlier[side][both] == later[side][both]).mean() >= 0.8
        assert adjusted_rand_score(planted, snapshots[-1][side]) >= 0.6


def test_the_same_settings_make_the_same_bytes(tmp_path):
    columns = columns_of(generate_table(np.random.default_rng(1), 200, 30, 20))
    first, again = (give_input(macro_graph(), columns, tmp_path / name) for name in "ab")
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)


def test_a_column_gives_the_macro_nodes_of_all_items_seen_or_not(tmp_path):
    table = generate_table(np.random.default_rng(2), 200, 9, 7)
    columns = columns_of(table)
    opened = macro_graph(item_column="shelf")
    parts = give_input(opened, columns, tmp_path / "made")
    shelf = columns.everything().categorical[:, list(columns.spec.categorical).index("shelf")].numpy()
    assert (parts["item_macro"] == shelf).all()
    assert (shelf > 0).all()
    assert opened.open(tmp_path / "made").spec.item_clusters == 3
    assert parts["user_hop1"].shape[1] == parts["item_hop2"].shape[1] == 3


def test_metis_puts_every_seen_node_into_a_part(snapshots, tmp_path):
    columns = columns_of(generate_table(np.random.default_rng(3), 200, 20, 15))
    parts = give_input(macro_graph(clustering="metis", counts="raw", scores="binary"), columns, tmp_path / "made")
    events = collect_interactions(columns)
    for chunk, macro in enumerate(snapshots):
        seen = events.chunk < chunk
        assert set(np.flatnonzero(macro["user"])) == set(events.user[seen])
        assert set(np.flatnonzero(macro["item"])) == set(events.item[seen])
    assert macro["user"].max() <= 3
    assert macro["item"].max() <= 4
    assert len(np.unique(macro["user"])) > 1
    late = np.flatnonzero(columns.chunk() == len(snapshots) - 1)
    for row in late:
        partners = {
            item for user, item in zip(events.user, events.item, strict=True) if user == events_user(columns, row)
        }
        expected = np.bincount([macro["item"][item] for item in partners], minlength=5)[1:]
        assert parts["user_hop1"][row].tolist() == expected.tolist()


def events_user(columns, row):
    return int(collect_rows(columns).user[row])


# features for any model


def test_any_model_can_be_given_macro_nodes_and_logarithms_of_weights(tmp_path):
    columns = columns_of(generate_table(np.random.default_rng(4), 200, 9, 7))
    parts = give_input(macro_graph(), columns, tmp_path / "made")
    opened = macro_graph().open(tmp_path / "made")
    pooled = columns.with_inputs({}, {"macro-graph": opened})
    batch = pooled.train.take(torch.tensor([100, 3, 50]))
    sizes, names = opened.features()
    assert len(names) == len(set(names)) == batch.numeric.shape[1] == 4 + 3 + 3 + 4
    assert pooled.spec.multi == sizes == {"user macro": 4, "item macro": 5}
    assert names[4] == "macro user-hop2 1"
    np.testing.assert_allclose(batch.numeric[0, 4:7], np.log1p(parts["user_hop2"][100]), rtol=1e-6)
    assert batch.multi["item macro"].values.tolist() == parts["item_macro"][[100, 3, 50]].tolist()
    assert batch.multi["item macro"].offsets.tolist() == [0, 1, 2, 3]


# mistakes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tasks": ["clik"]}, r"'clik' is no binary task \(did you mean 'click'\?\); known: click, buy"),
        ({"scores": "table", "table": {"click": 1}}, "did 'buy' with an item; give it a rank"),
        ({"scores": "table", "table": {"click+by": 1}}, r"'click\+by' names 'by'.*did you mean 'buy'"),
        ({"item_column": "shelv"}, r"'shelv' is no .* feature of the item \(did you mean 'shelf'\?\)"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused(config, message, tmp_path):
    table = generate_table(np.random.default_rng(5), 100, 9, 7)
    table.loc[0, list(TASKS)] = 0, 1
    with pytest.raises(MTBenchError, match=message):
        give_input(macro_graph(**config), columns_of(table), tmp_path / "made")


@pytest.mark.parametrize(
    "config", [{"scores": "table"}, {"table": {"click": 1}}, {"scores": "table", "table": {"click": -1}}]
)
def test_tables_that_make_no_sense_are_refused(config):
    with pytest.raises(ValidationError, match="table"):
        MacroGraphConfig(**config)
