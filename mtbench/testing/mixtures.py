"""The weights by which a model mixes: what its softmaxes and sigmoids return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mtbench.data.batches import Batch
    from mtbench.model import MultiTaskModel

OPERATORS = {"_softmax", "_safe_softmax", "sigmoid", "sigmoid_"}


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights: list[Tensor] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in OPERATORS:
            self.weights.append(out.detach().clone())
        return out


def record_weights(model: MultiTaskModel, batch: Batch) -> list[Tensor]:
    """Return the weights of one forward pass, those inside of attention too."""
    recorder = _Recorder()
    with sdpa_kernel(SDPBackend.MATH), recorder:  # the gradients are left on: without them attention may be fused
        model(batch)
    return recorder.weights


def measure_spread(weights: Tensor, rows: int) -> float:
    """Return by how much weights vary over the rows at most.

    The dimension of the rows is the one that their number divides, be it joined with tokens or tasks before or after;
    infinite where there is none.
    """
    spreads = [float("inf")]
    for dim, size in enumerate(weights.shape):
        if size % rows == 0 and weights.numel():
            before, after = weights.shape[:dim], weights.shape[dim + 1 :]
            rows_first = weights.reshape(*before, rows, -1, *after).std(dim)
            rows_last = weights.reshape(*before, -1, rows, *after).std(dim + 1)
            spreads += [float(rows_first.max()), float(rows_last.max())]
    return min(spreads)
