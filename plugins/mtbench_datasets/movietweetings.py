"""MovieTweetings: movie ratings that people posted on Twitter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mtbench import Card, Dataset, DatasetConfig, Feature, Schema, Source, Split, Task
from mtbench_datasets.raw_files import attach, read_delimited, refuse_where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SHA256 = {
    "ratings.dat": "c0dd868c2632d10002ebc928ddc5345f33adeaa59eca52c2941c26a2c5e36fd6",
    "movies.dat": "e63fb84bc734e3c574f135634a40d3cbafab22b8f94f5fc0b80f80d1d2076efc",
}
_RATINGS = {"user": pa.int64(), "imdb_id": pa.string(), "rating": pa.int64(), "time": pa.int64()}
_MOVIES = {"imdb_id": pa.string(), "title": pa.string(), "genre": pa.string()}
_TITLE = r"^(?P<title>.+) \((?P<year>\d{4})\)$"


class MovieTweetings(Dataset[DatasetConfig]):
    """The 100K snapshot of MovieTweetings (Dooms et al., CrowdRec 2013), split by time.

    Tasks over all ratings: ``good``, 7 points or more of 10, ``great``, 8 or more, and ``perfect``, 10. Movies are IMDb
    ids with their leading zeros. The year at the end of a title is a feature; the rest of it is the text ``title``.
    """

    split = Split(by="time")
    card = Card(
        title="MovieTweetings 100K",
        licence="MIT",
        citation=(
            "Dooms, De Pessemier and Martens, MovieTweetings: a Movie Rating Dataset Collected From Twitter, "
            "CrowdRec at RecSys 2013"
        ),
        url="https://github.com/sidooms/MovieTweetings",
        description=(
            "100,000 ratings by 16,554 users of 10,506 movies, 2013-02-28 to 2013-09-01, with titles, years and "
            "genres. The files are ratings.dat and movies.dat of the folder snapshots/100K."
        ),
        rows=100_000,
        positive_rates={"good": 0.72771, "great": 0.50542, "perfect": 0.12392},
        traps=(
            (
                "Cold users: half have at most two ratings; 33 % of the test rows of the split by time have a user, "
                "and 19 % a movie, without training rows."
            ),
            (
                "20 % of users have a good rating in the first eighth of training time, and hold 30 % of the test "
                "rows: histories and graphs start from little."
            ),
            "perfect implies great, and great implies good: the tasks are three thresholds of one rating.",
            "There are no impressions: users chose what to rate, so the absence of a rating is no negative.",
            "66 movies have no genre; their list is empty.",
        ),
    )

    def sources(self) -> Sequence[Source]:
        """Return the ratings and the movies."""
        return [
            Source(name=name, sha256=sha256, mirror=f"movietweetings_100k/{name}") for name, sha256 in _SHA256.items()
        ]

    def schema(self) -> Schema:
        """Return three tasks over the movie's year, genres and title."""
        return Schema(
            tasks=(Task(name="good"), Task(name="great"), Task(name="perfect")),
            features=(
                Feature(name="release_year", kind="numeric", of="item"),
                Feature(name="genre", kind="multi", of="item"),
            ),
            user="user",
            item="imdb_id",
            time="time",
            outcomes=("rating",),
            texts=("title",),
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per rating in the order of the file; ``time`` is in seconds since 1970."""
        path = files["ratings.dat"]
        rows = read_delimited(path, _RATINGS, delimiter="::", header=False, quoted=False)
        rating = rows["rating"]
        outside = pc.or_(pc.less(rating, 0), pc.greater(rating, 10))
        refuse_where(outside, rows, "rating", path, "0 to 10 points", first_row=1)
        for task, points in (("good", 7), ("great", 8), ("perfect", 10)):
            rows = rows.append_column(task, pc.greater_equal(rating, points).cast(pa.int8()))
        return attach(rows, "imdb_id", _read_movies(files["movies.dat"]), files["movies.dat"])


def _read_movies(path: Path) -> pa.Table:
    """Return id, title, release year and genres of each movie."""
    movies = read_delimited(path, _MOVIES, delimiter="::", header=False, quoted=False, optional=("genre",))
    parts = pc.extract_regex(movies["title"], _TITLE)
    refuse_where(pc.is_null(parts), movies, "title", path, "a title that ends with its year, '... (1994)'", first_row=1)
    columns = {"imdb_id": movies["imdb_id"], "title": pc.struct_field(parts, "title")}
    columns["release_year"] = pc.struct_field(parts, "year").cast(pa.int64())
    columns["genre"] = pc.split_pattern(movies["genre"], "|")
    return pa.table(columns)
