"""What rows are given beyond their features, made from earlier chunks alone."""

from mtbench.inputs.input import Input, InputConfig, InputReader, SourcedInput, Tensors
from mtbench.inputs.interactions import Interactions, Rows

__all__ = ["Input", "InputConfig", "InputReader", "Interactions", "Rows", "SourcedInput", "Tensors"]
