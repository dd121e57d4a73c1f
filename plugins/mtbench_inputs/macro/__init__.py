"""The parts of the macro graph: scores of pairs, clusters of nodes, edges to clusters."""
