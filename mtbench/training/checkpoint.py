"""What a training is resumed from: files that are whole, and known to be as they were written."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import CheckpointIO

from mtbench.files import write_atomically


class DamagedError(Exception):
    """A file of a training is not as it was written."""


def save(content: Any, path: Path) -> None:
    """Write tensors and plain values, after the sha256 of what follows, whole or not at all.

    torch itself notices a file that was cut, but not a bit that was turned. Raises StorageError.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()

    def fill(part: Path) -> None:
        with part.open("wb") as file:
            file.write(hashlib.sha256(payload).digest())
            file.write(payload)

    write_atomically(path, fill)


def load(path: Path) -> Any:
    """Return what was saved, on the CPU. Raises DamagedError if it cannot be read, or is not as it was written."""
    try:
        with path.open("rb") as file:
            digest = file.read(hashlib.sha256().digest_size)
            payload = file.read()
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(payload).digest() != digest:
        raise DamagedError(f"{path.name} is not as it was written")
    return torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")


class Checkpoints(CheckpointIO):
    """How Lightning saves and loads checkpoints; its own way leaves files behind where it is killed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Save a checkpoint."""
        save(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: ARG002, FBT001
        """Return a checkpoint."""
        content: dict[str, Any] = load(Path(path))
        return content

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)
