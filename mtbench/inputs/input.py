"""What an input plugin is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from mtbench.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor

    from mtbench.data.batches import Ragged
    from mtbench.data.columns import Columns
    from mtbench.inputs.interactions import Interactions, Rows


class InputConfig(Settings):
    """Settings of an input; plugins add fields of their own.

    Since 0.1, provisional.
    """


class Tensors(Protocol):
    """What a batch carries of an input: a NamedTuple of tensors, one entry per row.

    Since 0.1, provisional.
    """

    def _asdict(self) -> dict[str, Any]: ...


C_co = TypeVar("C_co", bound=InputConfig, covariant=True)


class Input(ABC, Generic[C_co]):
    """Something that rows are given beyond their features: history, a macro graph, text vectors.

    It is made once, kept in the cache and shared by all models, seeds and trials that ask for the same. The law: what
    a row in chunk c is given is made from events of chunks before c alone. ``version`` is raised whenever
    :meth:`build` writes other values than before. ``packages`` are the distributions that it needs, with its settings,
    beyond mtbench's own: an experiment is refused where one is missing.

    Since 0.1, provisional.
    """

    plugin_kind: ClassVar[str] = "input"
    Config: ClassVar[type[InputConfig]] = InputConfig
    version: ClassVar[int] = 1
    transductive: ClassVar[bool] = False

    def __init__(self, config: C_co) -> None:
        self.config = config

    @property
    def packages(self) -> Sequence[str]:
        """Return the distributions that these settings need."""
        return ()

    @abstractmethod
    def build(self, events: Interactions, rows: Rows, columns: Columns, folder: Path) -> None:
        """Write into ``folder`` what :meth:`open` needs; ``columns`` is for features and texts, never for labels."""

    @abstractmethod
    def open(self, folder: Path) -> InputReader:
        """Return what :meth:`build` wrote, memory-mapped."""


class SourcedInput(NamedTuple):
    """An input with the digest of its plugin's code."""

    input: Input[Any]
    source: str


class InputReader(ABC):
    """An input that is ready to be given to rows.

    ``spec`` tells a model what to build for it: counts of nodes, widths.

    Since 0.1, provisional.
    """

    spec: Any

    @abstractmethod
    def take(self, rows: Tensor) -> Tensors:
        """Return the input of the rows at these positions of the prepared table, on their device."""

    @abstractmethod
    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> InputReader:
        """Return a copy on ``device``."""

    def features(self) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """Return what any feature model can be given: multi-valued features with their sizes, and numeric features."""
        return {}, ()

    def pool(self, taken: Any) -> tuple[Mapping[str, Ragged], Tensor | None]:
        """Return the values of :meth:`features` for rows taken: ragged codes by name, and numbers (rows, features)."""
        del taken
        return {}, None
