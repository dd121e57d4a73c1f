"""Generated data whose true probabilities are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Split, Task
from mtbench_datasets.planted.extra import EXTRA
from mtbench_datasets.planted.oracle import infer_groups, infer_last_click
from mtbench_datasets.planted.rows import draw
from mtbench_datasets.planted.world import NUMERIC, TASKS, Signal, World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_OF = {
    "user": ("age", "region", "activity"),
    "item": ("category", "brand", "price", "tags"),
    "context": ("device", "hour"),
}
_KINDS = {"tags": "multi"} | dict.fromkeys(NUMERIC, "numeric")


class PlantedConfig(DatasetConfig):
    """Size of the data, and where their signal lies."""

    ids: bool = Field(False, description="Embed user and item ids; they say nothing unless the signal is graph.")
    rows: int = Field(20_000, gt=0)
    users: int | None = Field(None, gt=0, description="Users; a tenth of the rows unless given.")
    items: int | None = Field(None, gt=0, description="Items; a hundredth of the rows unless given.")
    signal: Signal = Field(
        "none", description="Where signal lies that no feature shows: none, graph, sequence or text."
    )
    conflict: float = Field(
        0.0, ge=0, le=1, description="0: likes want what clicks want; 0.5: unrelated things; 1: the opposite."
    )
    extra: tuple[Literal["ordinal", "count"], ...] = Field(
        (), description="Further tasks, easy to learn: ordinal ratings from 1 to 5, counts of plays."
    )
    seed: int = Field(0, ge=0)


class Planted(Dataset[PlantedConfig]):
    """Users and items with features, clicks, conversions of clicks, and likes, each with its true probability.

    With ``extra``, also ratings and numbers of plays with their true means, which categorical features alone decide.

    The law is in :class:`~mtbench_datasets.planted.world.World`. What no feature shows is, by ``signal``:

    ``none``: nothing. ``graph``: an affinity between hidden groups of users and of items. ``sequence``: whether the
    item's category lies ahead of or behind that of the user's last click, on a circle. ``text``: a taste of the user's
    age for the topic of the item's title, with many items that are new in the last rows.
    """

    Config: ClassVar[type[DatasetConfig]] = PlantedConfig
    card: ClassVar[Card] = Card(
        title="Planted data",
        licence="Apache-2.0",
        citation="",
        url="",
        description="Generated, a function of the settings alone: any size, with the true probability of every label.",
        positive_rates={"click": 0.3, "conversion": 0.3, "like": 0.3},
        traps=("The columns truth_* are the true probabilities and means.",),
    )
    split = Split(by="time")

    def schema(self) -> Schema:
        """Return what the columns mean."""
        return Schema(
            tasks=(
                Task(name="click"),
                Task(name="conversion", given="click"),
                Task(name="like"),
                *(Task(name=EXTRA[kind], kind=kind) for kind in self.config.extra),
            ),
            features=tuple(
                Feature(name=name, of=of, kind=_KINDS.get(name, "categorical"), log=name == "price")
                for of, names in _OF.items()
                for name in names
            ),
            user="user",
            item="item",
            time="time",
            texts=("title",) if self.config.signal == "text" else (),
            truth={task: f"truth_{task}" for task in self._tasks},
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:  # noqa: ARG002 - nothing is read
        """Generate the table; a conversion is 0 where there is no click, its truth is that of a clicked row."""
        world = self._world()
        columns, truth, labels = draw(world, self.config.rows, self.config.extra)
        arrays = {name: pa.array(values) for name, values in columns.items()}
        arrays["tags"] = world.tags_of(columns["item"])
        if self.config.signal == "text":
            arrays["title"] = pa.DictionaryArray.from_arrays(columns["item"], world.titles).cast(pa.string())
        for index, task in enumerate(self._tasks):
            arrays |= {task: pa.array(labels[:, index]), f"truth_{task}": pa.array(truth[:, index])}
        return pa.table(arrays)

    def reachable(self, table: pa.Table, chunk: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return, per task, the prediction of one who knows the law but only the labels of earlier chunks.

        With signal none and text that is the truth. With the others it is an approximation from below, see
        :mod:`mtbench_datasets.planted.oracle`. A row that has ``~c`` sees what one in chunk c does; none sees it.
        """
        truth = {task: table[f"truth_{task}"].to_numpy() for task in self._tasks}
        if self.config.signal in {"none", "text"}:
            return truth
        names = ("user", "item", *_OF["user"], *_OF["item"], *_OF["context"])
        columns = {name: table[name].to_numpy() for name in names if name != "tags"}
        labels = np.column_stack([table[task].to_numpy() for task in TASKS])
        infer = infer_groups if self.config.signal == "graph" else infer_last_click
        return truth | dict(zip(TASKS, infer(self._world(), columns, labels, np.asarray(chunk)).T, strict=True))

    @property
    def _tasks(self) -> tuple[str, ...]:
        return (*TASKS, *(EXTRA[kind] for kind in self.config.extra))

    def _world(self) -> World:
        config = self.config
        return World(
            users=config.users or max(config.rows // 10, 1),
            items=config.items or max(config.rows // 100, 1),
            signal=config.signal,
            conflict=config.conflict,
            seed=config.seed,
        )
