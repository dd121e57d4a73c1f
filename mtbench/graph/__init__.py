"""DGL behind one module, graphs of users and items, and propagation over them."""

from mtbench.graph.interaction_graph import Adjacency, InteractionGraph, make_adjacency
from mtbench.graph.propagation import propagate

__all__ = ["Adjacency", "InteractionGraph", "make_adjacency", "propagate"]
