"""The losses and predictions of all tasks, whatever their kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mtbench.kinds import find_kind
from mtbench.nn.precision import widen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench import DataSpec
    from mtbench.kinds.kind import Kind


class Targets(nn.Module):
    """Turns logits into losses and predictions, tasks of one kind at once.

    It holds what kinds learned from the training labels (``data.targets``) or go on learning. ``probability`` says of
    which tasks a prediction is one, bool of shape (tasks,).
    """

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        kinds = [find_kind(task.kind) for task in data.tasks]
        fits = data.targets or tuple(kind.fit(np.zeros(0)) for kind in kinds)
        alike: dict[Any, list[int]] = {}
        for column, (kind, fit) in enumerate(zip(kinds, fits, strict=True)):
            alike.setdefault((kind.name, *(np.shape(value) for value in fit.values())), []).append(column)
        self.groups = nn.ModuleList(
            _Group(kinds[columns[0]], [fits[column] for column in columns]) for columns in alike.values()
        )
        order = [column for columns in alike.values() for column in columns]
        buffers = {
            "probability": torch.tensor([kind.probability for kind in kinds]),
            "rising": torch.tensor([kind.rising for kind in kinds]),
            "back": torch.tensor(order).argsort(),
        }
        buffers |= {f"columns_{at}": torch.tensor(columns) for at, columns in enumerate(alike.values())}
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)
        self.probability: Tensor
        self.rising: Tensor
        self.back: Tensor

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each label, shape (rows, tasks); where labels do not count, it is finite."""
        return self._join([group.loss(*parts).float() for group, *parts in self._divide(_lay_out(outputs), labels)])

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the expected labels, shape (rows, tasks): probabilities, or values in the unit of the label."""
        return self._join([group.predict(*parts) for group, *parts in self._divide(widen(outputs).contiguous())])

    def score(self, outputs: Tensor) -> Tensor:
        """Return what rows are ranked by, shape (rows, tasks): logits, NaN where predictions do not rise with them."""
        return torch.where(self.rising, widen(outputs), torch.nan)

    def _divide(self, *parts: Tensor) -> Sequence[tuple[Any, ...]]:
        if len(self.groups) == 1:
            return [(self.groups[0], *parts)]
        columns = [self.get_buffer(f"columns_{at}") for at in range(len(self.groups))]
        return [
            (group, *(part.index_select(1, own) for part in parts))
            for group, own in zip(self.groups, columns, strict=True)
        ]

    def _join(self, parts: Sequence[Tensor]) -> Tensor:
        return parts[0] if len(parts) == 1 else torch.cat(list(parts), 1).index_select(1, self.back)


def _lay_out(outputs: Tensor) -> Tensor:
    """Return logits row by row, in single precision: half of it loses what small losses are made of."""
    return outputs.float().contiguous()


class _Group(nn.Module):
    """Tasks of one kind whose fits have the same shapes."""

    def __init__(self, kind: Kind, fits: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.kind = kind
        self.names = tuple(fits[0])
        for name in self.names:
            values = torch.tensor([fit[name] for fit in fits], dtype=torch.float64)
            if name in kind.learned:
                self.register_parameter(name, nn.Parameter(values.float()))
            else:
                self.register_buffer(name, values, persistent=False)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.kind.loss(logits, labels, self._fits())

    def predict(self, logits: Tensor) -> Tensor:
        return self.kind.predict(logits, self._fits())

    def _fits(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self.names}
