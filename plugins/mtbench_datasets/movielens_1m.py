"""MovieLens-1M: movie ratings of 6,040 volunteers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Source, Split, Task
from mtbench_datasets.movielens_100k import with_region, with_tasks
from mtbench_datasets.raw_files import attach, read_delimited, refuse_where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_RATINGS = dict.fromkeys(("user_id", "item_id", "rating", "timestamp"), pa.int64())
_USERS = {"user_id": pa.int64(), **dict.fromkeys(("gender", "age", "occupation", "zip_code"), pa.string())}
_MOVIES = {"item_id": pa.int64(), "title": pa.string(), "genre": pa.string()}
_YEAR = r"\((?P<year>\d{4})\)$"


class MovieLens1M(Dataset[DatasetConfig]):
    """MovieLens-1M (Harper and Konstan, TiiS 2015), split by time.

    Its README describes the files: fields separated by ``::``, no header, ages as the codes of brackets, genres
    separated by ``|`` and titles that end in the year. The text is ISO-8859-1. Tasks and region as in MovieLens-100K:
    ``liked``, 4 stars or more, and ``loved``, 5 stars, over all ratings; the first character of the zip code.
    """

    split = Split(by="time")
    card = Card(
        title="MovieLens-1M",
        licence="GroupLens research licence: no redistribution and no commercial use without permission",
        citation=(
            "Harper and Konstan, The MovieLens Datasets: History and Context, ACM Transactions on Interactive "
            "Intelligent Systems 5(4), 2015"
        ),
        url="https://grouplens.org/datasets/movielens/1m/",
        description=(
            "1,000,209 ratings of about 3,900 movies by 6,040 users who joined in 2000, with their demographics and "
            "the movies' titles. Put the release's folder ml-1m below the data folder."
        ),
        rows=1_000_209,
        traps=(
            "Users rate mostly in one sitting: under a split by time, test rows have many users without training rows.",
            "loved implies liked: the tasks are two thresholds of one rating.",
            "There are no impressions: users chose what to rate, so the absence of a rating is no negative.",
        ),
    )

    def sources(self) -> Sequence[Source]:
        """Return the ratings, the users and the movies."""
        return [Source(name=name, mirror=f"ml-1m/{name}") for name in ("ratings.dat", "users.dat", "movies.dat")]

    def schema(self) -> Schema:
        """Return two tasks over the user's demographics and the movie's year and genres."""
        return Schema(
            tasks=(Task(name="liked"), Task(name="loved")),
            features=(
                *(Feature(name=name, of="user") for name in ("gender", "age", "occupation", "zip_region")),
                Feature(name="release_year", kind="numeric", of="item"),
                Feature(name="genre", kind="multi", of="item"),
            ),
            user="user_id",
            item="item_id",
            time="timestamp",
            texts=("title",),
            outcomes=("rating",),
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per rating in the order of the file; ``timestamp`` is in seconds since 1970."""
        path = files["ratings.dat"]
        ratings = with_tasks(_read(path, _RATINGS), path, first_row=1)
        rows = attach(ratings, "user_id", with_region(_read(files["users.dat"], _USERS)), files["users.dat"])
        return attach(rows, "item_id", _read_movies(files["movies.dat"]), files["movies.dat"])


def _read_movies(path: Path) -> pa.Table:
    movies = _read(path, _MOVIES)
    year = pc.extract_regex(movies["title"], _YEAR)
    refuse_where(pc.is_null(year), movies, "title", path, "a title that ends in its year, (1995)", first_row=1)
    movies = movies.append_column("release_year", pc.struct_field(year, "year").cast(pa.int64()))
    return movies.drop_columns("genre").append_column("genre", pc.split_pattern(movies["genre"], "|"))


def _read(path: Path, types: Mapping[str, pa.DataType]) -> pa.Table:
    return read_delimited(path, types, delimiter="::", header=False, quoted=False, encoding="latin1")
