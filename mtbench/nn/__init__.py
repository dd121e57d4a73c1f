"""The blocks that models are made of."""

from mtbench.nn.dropout import Dropout
from mtbench.nn.embedding import FeatureEmbedding
from mtbench.nn.entire_space import EntireSpace
from mtbench.nn.gates import mix, mix_own
from mtbench.nn.hard_concrete import HardConcrete
from mtbench.nn.loss import masked_mean
from mtbench.nn.macro import Aggregation, NodeTable, macro_weights, masked_softmax
from mtbench.nn.mlp import Norm, StackedLinear, StackedMLP, Towers
from mtbench.nn.precision import widen
from mtbench.nn.routing import (
    Balance,
    Level,
    Routing,
    SparseMixture,
    balance_loss,
    entropy,
    expert_use,
    z_loss,
)
from mtbench.nn.transformer import ParallelBlock, Projected, masked_pool, unpack
from mtbench.nn.wide import Wide

__all__ = [
    "Aggregation",
    "Balance",
    "Dropout",
    "EntireSpace",
    "FeatureEmbedding",
    "HardConcrete",
    "Level",
    "NodeTable",
    "Norm",
    "ParallelBlock",
    "Projected",
    "Routing",
    "SparseMixture",
    "StackedLinear",
    "StackedMLP",
    "Towers",
    "Wide",
    "balance_loss",
    "entropy",
    "expert_use",
    "macro_weights",
    "masked_mean",
    "masked_pool",
    "masked_softmax",
    "mix",
    "mix_own",
    "unpack",
    "widen",
    "z_loss",
]
