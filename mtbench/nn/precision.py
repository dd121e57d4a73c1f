"""In which precision predictions are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def widen(outputs: Tensor) -> Tensor:
    """Return logits in double precision, in single on Apple's GPUs, which have no other.

    A probability near 1 has few digits in single precision: all from a logit of 17 on are 1.

    Since 0.1, provisional.
    """
    return outputs.to(torch.float32 if outputs.device.type == "mps" else torch.float64)
