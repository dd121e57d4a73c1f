"""AliExpress: product search in four countries, with what was clicked and bought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Source, Split, Task
from mtbench_datasets.raw_files import read_delimited, refuse_unless_binary, refuse_where
from mtbench_datasets.several import NameOrList, list_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PARTS = ("train", "test")
_TASKS = ("click", "conversion")
_CATEGORICAL = tuple(f"categorical_{i}" for i in range(1, 17))
_NUMERIC = tuple(f"numerical_{i}" for i in range(1, 64))


Country = Literal["NL", "ES", "FR", "US"]


class AliExpressConfig(DatasetConfig):
    """Which countries' searches."""

    country: NameOrList[Country] = Field(
        "NL", description="Netherlands, Spain, France or America; of a list, the country is the domain."
    )


class AliExpress(Dataset[AliExpressConfig]):
    """Search results of AliExpress (Li et al., CIKM 2020) in the layout that multi-task work shares.

    Tianchi publishes, per country, user and item tables without header, split along time into train and test. The
    layout read here is what MTReclib (github.com/easezyc/Multitask-Recommendation-Library, ``data/preprocess.py``)
    makes of them and also offers ready-made: ``train.csv`` and ``test.csv`` with a header, ``search_id``,
    ``categorical_1`` to ``_16``, ``numerical_1`` to ``_63``, ``click`` and ``conversion``. Both tasks are predicted
    over all impressions: what MTReclib reports as CTR and CTCVR.
    """

    Config = AliExpressConfig
    split = Split(by="official", valid=0.1)
    card = Card(
        title="AliExpress search",
        licence="Not known: Tianchi states its terms at the download, which needs an account",
        citation=(
            "Li et al., Improving Multi-Scenario Learning to Rank in E-commerce by Exploiting Task Relationships in "
            "the Label Space, CIKM 2020"
        ),
        url="https://tianchi.aliyun.com/dataset/74690",
        description=(
            "One row per product on a search result page, with anonymous features of the user, the query and the "
            "product. Put MTReclib's train.csv and test.csv of a country into aliexpress/AliExpress_NL (ES, FR, US)."
        ),
        traps=(
            (
                "The official test rows are later than the training rows, but rows have no time: validation rows are a "
                "random share of the training rows, and so easier than the test rows."
            ),
            (
                "search_id numbers the result pages of one file: the same number in train and test is not the same "
                "page. It is no feature; rows of one page fall on both sides of the random validation split."
            ),
            (
                "Of several countries, equal codes of a feature count as the same value; whether Tianchi numbers the "
                "countries together is not known."
            ),
            "There are neither user nor item ids, so there are no histories, no graphs and no grouped metrics.",
            "conversion is over all impressions (CTCVR): it is 1 only where click is 1.",
        ),
    )

    def sources(self) -> Sequence[Source]:
        """Return each country's training and test file."""
        return [
            Source(name=self._name_file(country, part), mirror=f"aliexpress/AliExpress_{country}/{part}.csv")
            for country in list_names(self.config.country)
            for part in _PARTS
        ]

    def schema(self) -> Schema:
        """Return two tasks over 79 anonymous features of one impression; the domain of a list is the country."""
        return Schema(
            tasks=tuple(Task(name=name) for name in _TASKS),
            features=(
                *(Feature(name=name) for name in _CATEGORICAL),
                *(Feature(name=name, kind="numeric") for name in _NUMERIC),
            ),
            split="split",
            domain="country" if isinstance(self.config.country, tuple) else None,
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return the training rows, then the test rows, in the order of the files, one country after the other."""
        tables = []
        for country in list_names(self.config.country):
            for part in _PARTS:
                table = _read(files[self._name_file(country, part)], part)
                tables.append(table.append_column("country", pa.repeat(country, len(table))))
        return pa.concat_tables(tables)

    def _name_file(self, country: str, part: str) -> str:
        return f"{country}-{part}.csv" if isinstance(self.config.country, tuple) else f"{part}.csv"


def _read(path: Path, part: str) -> pa.Table:
    types = {
        **dict.fromkeys(_CATEGORICAL, pa.int32()),
        **dict.fromkeys(_NUMERIC, pa.float32()),
        **dict.fromkeys(_TASKS, pa.int8()),
    }
    table = read_delimited(path, types)
    refuse_unless_binary(table, _TASKS, path, first_row=2)
    unclicked = pc.greater(table["conversion"], table["click"])
    refuse_where(unclicked, table, "conversion", path, "0 where click is 0", first_row=2)
    return table.append_column("split", pa.repeat(part, len(table)))
