"""The blocks that models are made of."""

from mtbench.nn.dropout import Dropout
from mtbench.nn.embedding import FeatureEmbedding
from mtbench.nn.entire_space import EntireSpace
from mtbench.nn.gates import mix, mix_own
from mtbench.nn.hard_concrete import HardConcrete
from mtbench.nn.loss import masked_mean
from mtbench.nn.mlp import Norm, StackedLinear, StackedMLP, Towers

__all__ = [
    "Dropout",
    "EntireSpace",
    "FeatureEmbedding",
    "HardConcrete",
    "Norm",
    "StackedLinear",
    "StackedMLP",
    "Towers",
    "masked_mean",
    "mix",
    "mix_own",
]
