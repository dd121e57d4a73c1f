"""What a model may ask for beyond plain features."""

from __future__ import annotations

from abc import ABC


class Input(ABC):  # noqa: B024
    """Base class of inputs: history, macro graphs, text vectors. Declared, computed once, cached, shared."""
