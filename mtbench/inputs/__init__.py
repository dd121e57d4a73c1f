"""What rows are given beyond their features, made from earlier chunks alone."""

from mtbench.inputs.input import Input, InputConfig, Opened, Tensors
from mtbench.inputs.interactions import Interactions, Rows

__all__ = ["Input", "InputConfig", "Interactions", "Opened", "Rows", "Tensors"]
