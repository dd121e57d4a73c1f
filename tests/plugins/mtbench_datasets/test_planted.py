from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, logit
from sklearn.metrics import log_loss, roc_auc_score

from mtbench_datasets.planted import Planted, PlantedConfig
from mtbench_datasets.planted.oracle import infer_groups, infer_last_click
from mtbench_datasets.planted.rows import draw
from mtbench_datasets.planted.world import COMMON, GROUPS, TASKS, TOPICS, World

SIGNALS = ("none", "graph", "sequence", "text")
ROWS = 60_000


@cache
def planted(signal: str, rows: int = ROWS, conflict: float = 0.0, seed: int = 0) -> tuple[Planted, pa.Table]:
    dataset = Planted(PlantedConfig(rows=rows, signal=signal, conflict=conflict, seed=seed))
    return dataset, dataset.load({})


def column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()


def counting(table: pa.Table, task: str) -> np.ndarray:
    return column(table, "click") == 1 if task == "conversion" else np.full(table.num_rows, True)


def z(labels: np.ndarray, chances: np.ndarray) -> float:
    return float((labels - chances).sum() / np.sqrt((chances * (1 - chances)).sum()))


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("conflict", [0.0, 0.7])
def test_truth_is_calibrated_everywhere(signal, conflict):
    _, table = planted(signal, conflict=conflict)
    for task in TASKS:
        rows = counting(table, task)
        labels, truth = column(table, task)[rows], column(table, f"truth_{task}")[rows]
        for decile in np.array_split(np.argsort(truth), 10):
            assert abs(z(labels[decile], truth[decile])) < 4
        for code in range(12):
            of_category = column(table, "category")[rows] == code
            assert abs(z(labels[of_category], truth[of_category])) < 4


@pytest.mark.parametrize("signal", SIGNALS)
def test_rates_and_optimum_are_of_the_promised_size(signal):
    _, table = planted(signal)
    for task in TASKS:
        rows = counting(table, task)
        labels, truth = column(table, task)[rows], column(table, f"truth_{task}")[rows]
        assert 0.24 < labels.mean() < 0.38
        assert 0.73 < roc_auc_score(labels, truth) < 0.83


@pytest.mark.parametrize("signal", ["graph", "sequence"])
def test_reachable_lies_between_features_alone_and_the_truth(signal):
    dataset, table = planted(signal)
    chunk = np.minimum(np.arange(ROWS) * 10 // ROWS, 8)
    reachable = dataset.reachable(table, chunk)
    unseeing = dataset.reachable(table, np.full(ROWS, -1))
    for task in TASKS:
        rows = counting(table, task) & (chunk == 8)
        labels, truth = column(table, task)[rows], column(table, f"truth_{task}")[rows]
        auc = [roc_auc_score(labels, chances[rows]) for chances in (unseeing[task], reachable[task])]
        loss = [log_loss(labels, chances[rows]) for chances in (unseeing[task], reachable[task])]
        assert auc[0] + 0.01 < auc[1] < roc_auc_score(labels, truth) - 0.01
        assert loss[0] - 0.003 > loss[1] > log_loss(labels, truth) + 0.003
        assert abs(z(labels, reachable[task][rows])) < 4


@pytest.mark.parametrize("signal", ["none", "text"])
def test_reachable_is_the_truth_where_nothing_is_hidden(signal):
    dataset, table = planted(signal)
    for task, chances in dataset.reachable(table, np.zeros(ROWS, int)).items():
        np.testing.assert_array_equal(chances, column(table, f"truth_{task}"))


@pytest.mark.parametrize("signal", ["graph", "sequence"])
def test_reachable_sees_earlier_chunks_only(signal):
    dataset, table = planted(signal, rows=3000)
    rng = np.random.default_rng(0)
    for chunk in (np.arange(3000) // 500, rng.integers(-1, 6, 3000)):
        later = (chunk >= 3) | (chunk == -1)
        changed = table
        for task in TASKS:
            labels = np.where(later, 1 - column(table, task), column(table, task))
            changed = changed.set_column(changed.column_names.index(task), task, pa.array(labels))
        before, after = dataset.reachable(table, chunk), dataset.reachable(changed, chunk)
        for task in TASKS:
            np.testing.assert_array_equal(before[task][chunk <= 3], after[task][chunk <= 3])
            assert not np.allclose(before[task][chunk > 3], after[task][chunk > 3])


@pytest.mark.parametrize("signal", ["graph", "sequence"])
def test_a_row_held_out_from_among_others_sees_what_they_see_and_is_seen_by_none(signal):
    dataset, table = planted(signal, rows=3000)
    chunk = np.arange(3000) // 500
    held_out = np.random.default_rng(1).random(3000) < 0.2
    hidden = np.where(held_out, ~chunk, chunk)

    def flip(rows):
        changed = table
        for task in TASKS:
            labels = np.where(rows, 1 - column(table, task), column(table, task))
            changed = changed.set_column(changed.column_names.index(task), task, pa.array(labels))
        return dataset.reachable(changed, hidden)

    before, unseen, late = dataset.reachable(table, hidden), flip(held_out), flip(~held_out & (chunk >= 3))
    for task in TASKS:
        np.testing.assert_array_equal(before[task], unseen[task])
        np.testing.assert_array_equal(before[task][chunk <= 3], late[task][chunk <= 3])
        assert not np.allclose(before[task][held_out & (chunk > 3)], late[task][held_out & (chunk > 3)])


def test_who_sees_every_earlier_row_reaches_the_sequence_truth():
    dataset, table = planted("sequence", rows=400)
    for task, chances in dataset.reachable(table, np.arange(400)).items():
        np.testing.assert_allclose(chances, column(table, f"truth_{task}"), atol=1e-9)


@pytest.mark.parametrize("signal", ["graph", "sequence"])
@pytest.mark.parametrize("chunks", [2, 10])
def test_reachable_is_calibrated_everywhere(signal, chunks):
    dataset, table = planted(signal)
    reachable = dataset.reachable(table, np.arange(ROWS) * chunks // ROWS)
    for task in TASKS:
        rows = counting(table, task)
        labels, chances = column(table, task)[rows], reachable[task][rows]
        for decile in np.array_split(np.argsort(chances), 10):
            assert abs(z(labels[decile], chances[decile])) < 4


def test_belief_propagation_is_exact_on_a_tree():
    world = World(users=2, items=3, signal="graph", conflict=0.3, seed=1)
    columns, _, labels = draw(world, 4)
    columns["user"], columns["item"] = np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 1, 2], np.int32)
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0]], np.int8)
    predicted = infer_groups(world, columns, labels, np.array([0, 0, 0, 1]))[3]

    base = world.base(columns)
    total = np.zeros(3)
    clicking = joint = 0.0
    for u0, u1, i0, i1, i2 in product(range(GROUPS), repeat=5):
        pairs = [(u0, i0), (u0, i1), (u1, i1), (u1, i2)]
        chances = expit(base + world.pull * np.array([world.affinity[pair] for pair in pairs])[:, None])
        seen = np.where(labels == 1, chances, 1 - chances)[:3]
        weight = seen[:, 0].prod() * seen[:, 2].prod() * seen[[0, 2], 1].prod()
        joint += weight
        total += weight * chances[3]
        clicking += weight * chances[3, 0] * chances[3, 1]
    expected = [total[0] / joint, clicking / total[0], total[2] / joint]
    np.testing.assert_allclose(predicted, expected, rtol=1e-4)


def test_sequence_truth_follows_the_last_click():
    dataset, table = planted("sequence", rows=5000)
    world = dataset._world()
    columns = {name: column(table, name) for name in table.column_names if name != "tags"}
    base = world.base(columns)
    last: dict[int, int] = {}
    for row in range(5000):
        user, category = int(columns["user"][row]), int(columns["category"][row])
        lead = np.sqrt(2) * np.sin(np.pi / 6 * (category - last[user])) if user in last else 0.0
        truth = [columns[f"truth_{task}"][row] for task in TASKS]
        np.testing.assert_allclose(truth, expit(base[row] + world.pull * lead), rtol=1e-9)
        if columns["click"][row]:
            last[user] = category


def test_the_order_of_the_same_history_matters():
    world = World(users=1, items=50, signal="sequence", conflict=0.0, seed=0)
    columns, _, labels = draw(world, 3)
    labels[:] = 1
    chunk = np.array([0, 0, 1])
    columns["category"] = np.array([2, 8, 5], np.int8)
    one = infer_last_click(world, columns, labels, chunk)[2]
    columns["category"] = np.array([8, 2, 5], np.int8)
    other = infer_last_click(world, columns, labels, chunk)[2]
    assert (other - one > 0.1).all()  # 5 lies a quarter turn ahead of 2, and behind 8


def test_conflict_turns_likes_against_clicks():
    correlations = []
    for conflict in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, table = planted("none", conflict=conflict)
        logits = [logit(column(table, f"truth_{task}")) for task in ("click", "like")]
        correlations.append(np.corrcoef(*logits)[0, 1])
    assert correlations == sorted(correlations, reverse=True)
    assert correlations[0] > 0.6
    assert correlations[-1] < -0.6


@pytest.mark.parametrize("ids", ["user", "item"])
def test_ids_say_nothing_without_a_signal(ids):
    _, table = planted("none")
    residual = column(table, "click") - column(table, "truth_click")
    past, future = np.split(np.arange(ROWS), 2)
    sums = np.bincount(column(table, ids)[past], residual[past], minlength=ROWS)
    expected = sums[column(table, ids)[future]]
    truth = column(table, "truth_click")[future]
    deviation = np.sqrt((expected**2 * truth * (1 - truth)).sum())
    assert abs((expected * residual[future]).sum() / deviation) < 4


def test_titles_show_the_topic_that_matters():
    dataset, table = planted("text")
    world = dataset._world()
    of_word = {word: topic for topic, words in enumerate(TOPICS) for word in words.split()}
    common = set(COMMON.split())
    titles = table["title"].to_pylist()
    topics = [{of_word[word] for word in title.split() if word not in common} for title in titles]
    assert {len(topic) for topic in topics} == {1}
    taste = world.topic_taste[column(table, "age"), [min(topic) for topic in topics]]
    columns = {name: column(table, name) for name in table.column_names if name not in {"tags", "title"}}
    base = world.base(columns)[:, 0]
    np.testing.assert_allclose(logit(column(table, "truth_click")), base + world.pull[0] * taste, atol=1e-9)
    late = np.arange(ROWS) >= 0.9 * ROWS
    new = ~np.isin(column(table, "item"), column(table, "item")[: int(0.8 * ROWS)])
    assert new[late].mean() > 0.25


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_table_is_a_function_of_its_settings(signal):
    def written(seed: int) -> bytes:
        sink = pa.BufferOutputStream()
        table = Planted(PlantedConfig(rows=2000, signal=signal, seed=seed)).load({})
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write(table)
        return sink.getvalue().to_pybytes()

    assert written(1) == written(1)
    assert written(1) != written(2)


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_table_has_what_the_schema_names(signal):
    dataset, table = planted(signal)
    schema = dataset.schema()
    named = (
        {feature.source for feature in schema.features} | set(schema.truth.values()) | {*TASKS, "user", "item", "time"}
    )
    assert set(table.column_names) == named | ({"title"} if signal == "text" else set())
    assert not any(table[name].null_count for name in named)
    assert (np.diff(column(table, "time")) > 0).all()
    assert (column(table, "conversion") <= column(table, "click")).all()
    assert all(1 <= len(tags) == len(set(tags)) <= 3 for tags in table["tags"].to_pylist())


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_smallest_tables(signal):
    for rows in (1, 2, 30):
        dataset = Planted(PlantedConfig(rows=rows, signal=signal))
        table = dataset.load({})
        assert table.num_rows == rows
        assert all(np.isfinite(chances).all() for chances in dataset.reachable(table, np.arange(rows)).values())


def test_ratings_and_plays_have_their_true_means_and_change_nothing_else():
    _, plain = planted("graph")
    dataset = Planted(PlantedConfig(rows=ROWS, signal="graph", extra=("ordinal", "count")))
    table = dataset.load({})
    assert table.select(plain.column_names).equals(plain)
    assert [(task.name, task.kind) for task in dataset.schema().tasks[3:]] == [
        ("rating", "ordinal"),
        ("plays", "count"),
    ]
    reachable = dataset.reachable(table, np.zeros(ROWS, int))
    for name, grades in (("rating", {1, 2, 3, 4, 5}), ("plays", {0, 1, 2, 3})):
        labels, truth = column(table, name), column(table, f"truth_{name}")
        assert grades <= set(labels.tolist())
        assert (reachable[name] == truth).all()
        for part in (*np.array_split(np.argsort(truth), 10), *(column(table, "brand") == code for code in range(12))):
            apart = (labels[part] - truth[part]).sum() / np.sqrt(((labels[part] - truth[part]) ** 2).sum())
            assert abs(apart) < 4
    plays, rate = column(table, "plays"), column(table, "truth_plays")
    assert ((plays - rate) ** 2 / rate).mean() == pytest.approx(1, abs=0.03)  # as Poisson's
