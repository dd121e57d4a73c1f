"""Taobao user behaviour: what a million users looked at, put aside and bought in nine days."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Source, Split, Task
from mtbench_datasets.kuairand_pure import find_beijing_hour
from mtbench_datasets.raw_files import read_delimited, refuse_where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FILE = "UserBehavior.csv"
_COLUMNS = {
    "user_id": pa.int32(),
    "item_id": pa.int32(),
    "category_id": pa.int32(),
    "behavior": pa.string(),
    "timestamp": pa.int64(),
}
_TASKS = {"favorite": "fav", "cart": "cart", "buy": "buy"}
_BEHAVIORS = pa.array(["pv", *_TASKS.values()])
_FROM, _BEFORE = 1511539200, 1512316800  # 2017-11-25 and 2017-12-04, 00:00 in Beijing


class Taobao(Dataset[DatasetConfig]):
    """Taobao's UserBehavior (Zhu et al., KDD 2018), one row per event, split by time.

    Tianchi's file has no header: user, item, category, behaviour and time in seconds, separated by commas; behaviours
    are ``pv`` (a look at the item's page, which stands for a click), ``fav``, ``cart`` and ``buy``. A row is positive
    for the task of its own behaviour and negative for the others; page views are negative for all three.
    """

    split = Split(by="time")
    card = Card(
        title="Taobao UserBehavior",
        licence="Not known: Tianchi states its terms at the download, which needs an account",
        citation="Zhu et al., Learning Tree-based Deep Model for Recommender Systems, KDD 2018",
        url="https://tianchi.aliyun.com/dataset/649",
        description=(
            "100,150,807 events of 987,994 users and 4,162,024 items in 9,439 categories, 2017-11-25 to 2017-12-03 "
            "(Tianchi's numbers, of the whole file; this dataset has the rows within those days). Put the unpacked "
            "UserBehavior.csv into taobao."
        ),
        traps=(
            (
                "There are no impressions: every row is something the user did. A task tells what kind of act an event "
                "was, given that there was one, not whether a shown item would be bought."
            ),
            (
                "Behaviours are separate rows: at most one label of a row is 1, and a purchase is another row than the "
                "page view before it."
            ),
            "Events outside the nine days are dropped: the split by time would make them the test rows.",
        ),
    )

    def sources(self) -> Sequence[Source]:
        """Return the one file."""
        return [Source(name=_FILE, mirror=f"taobao/{_FILE}")]

    def schema(self) -> Schema:
        """Return three tasks over one event's user, item, category and hour."""
        return Schema(
            tasks=tuple(Task(name=name) for name in _TASKS),
            features=(Feature(name="category_id", of="item"), Feature(name="hour", of="context")),
            user="user_id",
            item="item_id",
            time="timestamp",
            outcomes=("behavior",),
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per event in the order of the file; ``timestamp`` is in seconds since 1970."""
        path = files[_FILE]
        events = read_delimited(path, _COLUMNS, header=False)
        unknown = pc.invert(pc.is_in(events["behavior"], _BEHAVIORS))
        refuse_where(unknown, events, "behavior", path, "pv, fav, cart or buy", first_row=1)
        time = events["timestamp"]
        events = events.filter(pc.and_(pc.greater_equal(time, _FROM), pc.less(time, _BEFORE)))
        for name, behavior in _TASKS.items():
            events = events.append_column(name, pc.equal(events["behavior"], behavior).cast(pa.int8()))
        return events.append_column("hour", find_beijing_hour(events["timestamp"]).cast(pa.int8()))
