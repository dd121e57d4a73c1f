from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtbench.errors import MTBenchError
from mtbench.graph import InteractionGraph, make_adjacency

TASKS = ("click", "buy")


@st.composite
def graphs(draw):
    users, items = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    events = draw(
        st.lists(st.tuples(st.integers(0, users - 1), st.integers(0, items - 1), st.integers(1, 3)), max_size=25)
    )
    user, item, combination = np.array(events, np.int64).reshape(-1, 3).T
    positive = (combination[:, None] >> np.arange(2)) % 2 == 1
    return InteractionGraph(user, item, np.arange(len(user)) / 4, positive, users, items, TASKS)


def counted(graph, tasks):
    dense = torch.zeros(graph.users, graph.items)
    for user, item, positive in zip(graph.user, graph.item, graph.positive, strict=True):
        dense[user, item] += sum(positive[TASKS.index(task)] for task in tasks)
    return dense


@given(graphs())
def test_dgl_has_an_edge_both_ways_for_every_event_and_positive_task(graph):
    made = graph.heterograph
    assert (made.num_nodes("user"), made.num_nodes("item")) == (graph.users, graph.items)
    for column, task in enumerate(TASKS):
        at = graph.positive[:, column]
        expected = Counter(zip(graph.user[at], graph.item[at], graph.time[at], strict=True))
        for name, turned in ((task, False), (f"rev_{task}", True)):
            ends = [end.tolist() for end in made.edges(etype=name)]
            ends = reversed(ends) if turned else ends
            assert Counter(zip(*ends, made.edges[name].data["time"].tolist(), strict=True)) == expected


@given(graphs(), st.sampled_from([None, *TASKS]))
def test_csr_counts_the_positives_of_each_pair_both_ways(graph, task):
    adjacency = graph.csr(task)
    expected = counted(graph, TASKS if task is None else (task,))
    assert torch.equal(adjacency.by_user.to_dense(), expected)
    assert torch.equal(adjacency.by_item.to_dense(), expected.T)
    assert torch.equal(adjacency.by_item.values()[adjacency.mirror], adjacency.by_user.values())
    assert torch.equal(adjacency.degrees[0], expected.sum(1))
    assert torch.equal(adjacency.degrees[1], expected.sum(0))
    assert graph.csr(task) is adjacency


@given(graphs(), st.data())
def test_taking_events_away_equals_never_having_had_them(graph, data):
    weight = graph.positive.sum(1).astype(np.float32)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(weight), max_size=len(weight))), bool)
    whole, pair = make_adjacency(graph.user, graph.item, weight, graph.users, graph.items)
    part, _ = make_adjacency(graph.user[keep], graph.item[keep], weight[keep], graph.users, graph.items)
    left = whole.without(torch.from_numpy(pair[~keep]), torch.from_numpy(weight[~keep]))
    assert torch.equal(left.by_user.to_dense(), part.by_user.to_dense())
    assert torch.equal(left.by_item.to_dense(), part.by_item.to_dense())
    for mine, expected in zip(left.degrees, part.degrees, strict=True):
        assert torch.equal(mine, expected)
    assert torch.equal(whole.by_user.to_dense(), counted(graph, TASKS))


def one_event():
    return InteractionGraph(np.array([1]), np.array([0]), np.array([2.5]), np.array([[True, False]]), 3, 2, TASKS)


def test_a_pickled_graph_makes_what_is_derived_anew():
    graph = one_event()
    adjacency = graph.csr()
    assert graph.heterograph.num_edges() == 2
    again = pickle.loads(pickle.dumps(graph))  # noqa: S301
    assert set(vars(again)) == {"user", "item", "time", "positive", "users", "items", "tasks"}
    assert torch.equal(again.csr().by_user.to_dense(), adjacency.by_user.to_dense())
    assert again.heterograph.edges["click"].data["time"].tolist() == [2.5]


def test_an_unknown_task_is_an_error_with_a_suggestion():
    with pytest.raises(MTBenchError, match=r"no task 'clik' \(did you mean 'click'\?\)"):
        one_event().csr("clik")
