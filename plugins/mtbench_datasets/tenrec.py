"""Tenrec: videos shown in two feeds of Tencent, with what the users did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import Field

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Source, Split, Task
from mtbench_datasets.raw_files import read_delimited, refuse_unless_binary
from mtbench_datasets.several import NameOrList, list_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TASKS = ("click", "like", "share", "follow")
_CODES = ("video_category", "gender", "age")
_COLUMNS = {
    **dict.fromkeys(("user_id", "item_id"), pa.int32()),
    **dict.fromkeys(_TASKS, pa.int8()),
    **dict.fromkeys(_CODES, pa.string()),
    "watching_times": pa.int32(),
}


Scenario = Literal["QK-video", "QB-video"]


class TenrecConfig(DatasetConfig):
    """Which feeds of videos."""

    scenario: NameOrList[Scenario] = Field(
        "QK-video",
        description=(
            "'QK-video' has 493 million impressions, 'QB-video' 2.4 million; of a list, the scenario is the domain."
        ),
    )


class Tenrec(Dataset[TenrecConfig]):
    r"""Video impressions of Tenrec (Yuan et al., NeurIPS 2022), split at random.

    The release's ``QK-video.csv`` and ``QB-video.csv`` have the header ``user_id,item_id,click,follow,like,share,
    video_category,watching_times,gender,age``, with ``\N`` for a missing value: so the release's own code and others'
    inspections of the files. Every task is predicted over all impressions.
    """

    Config = TenrecConfig
    split = Split(by="random")
    card = Card(
        title="Tenrec, videos",
        licence="CC BY-NC 4.0, for research only",
        citation=(
            "Yuan et al., Tenrec: A Large-scale Multipurpose Benchmark Dataset for Recommender Systems, NeurIPS 2022"
        ),
        url="https://github.com/yuangh-x/2022-NIPS-Tenrec",
        description=(
            "Impressions with and without feedback, and the users' gender and age group as codes. By the paper's "
            "table, QK-video has 493,458,970 impressions of 3,753,436 videos to 5,022,750 users, QB-video 2,442,299 of "
            "130,637 to 34,240. Put the release's folder Tenrec below the data folder."
        ),
        traps=(
            (
                "There is no time, so neither a split nor histories by time: a user's later rows may be training rows "
                "where earlier ones are test rows."
            ),
            "watching_times counts how often the user watched the video: an outcome, though some use it as a feature.",
            (
                "Of both scenarios, equal ids count as the same user or video, and equal codes as the same value: what "
                "of them the feeds share is not checked."
            ),
            "A user may meet a video several times, with different outcomes; rows are kept as they are.",
            (
                "ctr_data_1M.csv, the paper's own multi-task table, is a part of QK-video with fixed histories: "
                "results on it are not comparable."
            ),
        ),
    )

    def sources(self) -> Sequence[Source]:
        """Return each scenario's file."""
        names = [f"{scenario}.csv" for scenario in list_names(self.config.scenario)]
        return [Source(name=name, mirror=f"Tenrec/{name}") for name in names]

    def schema(self) -> Schema:
        """Return four tasks over one impression's user and video; the domain of a list is the scenario."""
        return Schema(
            tasks=tuple(Task(name=name) for name in _TASKS),
            features=(
                Feature(name="gender", of="user"),
                Feature(name="age", of="user"),
                Feature(name="video_category", of="item"),
            ),
            user="user_id",
            item="item_id",
            domain="scenario" if isinstance(self.config.scenario, tuple) else None,
            outcomes=("watching_times",),
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per impression in the order of the files, one scenario after the other."""
        tables = []
        for scenario in list_names(self.config.scenario):
            path = files[f"{scenario}.csv"]
            table = read_delimited(path, _COLUMNS, null=("", "\\N"), optional=(*_CODES, "watching_times"))
            refuse_unless_binary(table, _TASKS, path, first_row=2)
            tables.append(table.append_column("scenario", pa.repeat(scenario, len(table))))
        return pa.concat_tables(tables)
