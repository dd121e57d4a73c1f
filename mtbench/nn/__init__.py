"""The blocks that models are made of."""

from mtbench.nn.dropout import Dropout
from mtbench.nn.embedding import FeatureEmbedding
from mtbench.nn.gates import mix
from mtbench.nn.loss import masked_mean
from mtbench.nn.mlp import Norm, StackedLinear, StackedMLP, Towers

__all__ = ["Dropout", "FeatureEmbedding", "Norm", "StackedLinear", "StackedMLP", "Towers", "masked_mean", "mix"]
