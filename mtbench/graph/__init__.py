"""DGL behind one door, graphs of users and items, and propagation over them."""

from mtbench.graph.interaction_graph import Adjacency, InteractionGraph, adjacency_of
from mtbench.graph.propagation import propagate

__all__ = ["Adjacency", "InteractionGraph", "adjacency_of", "propagate"]
