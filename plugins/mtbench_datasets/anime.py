"""Anime: what users of MyAnimeList watched, rated and liked."""

from __future__ import annotations

import html
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtbench import Card, Dataset, DatasetConfig, Feature, MTBenchError, Schema, Source, Split, Task
from mtbench_datasets.raw_files import attach, read_delimited, refuse_where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mtbench_datasets.raw_files import RawFile

_HISTORY, _RATINGS, _ANIME = ("anime/anime_history.dat", "anime/anime_ratings.dat", "anime/anime_info.dat")
_FEEDBACK = {"User_ID": pa.int64(), "Anime_ID": pa.int64(), "Feedback": pa.int64()}
_INFO = {
    "anime_ids": pa.int64(),
    "name": pa.string(),
    "genre": pa.string(),
    "type": pa.string(),
    "episodes": pa.int64(),
    "rating": pa.float64(),
    "members": pa.int64(),
}


class Anime(Dataset[DatasetConfig]):
    """Pairs of a user and an anime that the user watched, split at random.

    Tasks: ``rated``, whether the user rated it, over all pairs; ``liked``, 8 points or more of 10, over rated pairs.
    The text ``text`` is name, genres and type.
    """

    split = Split(by="random")
    card = Card(
        title="Anime, 5,000 users",
        licence=(
            "CC0 according to Kaggle, where the data come from (CooperUnion/anime-recommendations-database); the "
            "repository that sampled them states none"
        ),
        citation="CooperUnion, Anime Recommendations Database, Kaggle; sampled by A. F. da Costa (Case Recommender)",
        url="https://github.com/caserec/Datasets-for-Recommender-Systems",
        description=(
            "520,609 pairs of 5,000 users, drawn at random from 73,516, and the 7,390 anime they watched; 419,943 "
            "pairs are rated. The file is 'Processed Datasets/Anime/anime.zip', read as it is."
        ),
        rows=520_609,
        positive_rates={"rated": 0.806638, "liked": 0.606228},
        traps=(
            "There is no time: splits are random, and point-in-time chunks follow a seeded order.",
            "Everything in it was watched: that is the population, not a task.",
            "Rating is a habit: 49 % of users rated all that they watched, 6 % nothing.",
            "mean_rating is MyAnimeList's mean over all users, these among them: an outcome, never a feature.",
            "members, the size of the anime's group, is a snapshot: popularity at the end.",
            "3 anime have no genre; their list is empty.",
        ),
        acknowledged={"user": "AUC .969 for rated: whether to rate is a user's habit."},
    )

    def sources(self) -> Sequence[Source]:
        """Return the archive."""
        return [
            Source(
                name="anime.zip",
                sha256="99882032ba25342e7e15e9669f93d596ae1ce1d95ed40dd6199b27e943f9a925",
                mirror="anime_5k/anime.zip",
            )
        ]

    def schema(self) -> Schema:
        """Return two tasks, one given the other, over what describes the anime."""
        return Schema(
            tasks=(Task(name="rated"), Task(name="liked", given="rated")),
            features=(
                Feature(name="genre", kind="multi", of="item"),
                Feature(name="type", of="item"),
                Feature(name="episodes", kind="numeric", of="item", log=True),
                Feature(name="members", kind="numeric", of="item", log=True),
            ),
            user="user",
            item="anime",
            outcomes=("rating", "mean_rating"),
            texts=("text",),
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per watched pair in the order of the history; ``liked`` is null where not rated."""
        path = files["anime.zip"]
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise MTBenchError(f"{path}: {error}; expected the zip archive of the release") from error
        with archive:
            for member in (_HISTORY, _RATINGS, _ANIME):
                if member not in archive.namelist():
                    raise MTBenchError(f"{path}: has no '{member}'; found {', '.join(archive.namelist())}")
            history, ratings, info = (zipfile.Path(archive, member) for member in (_HISTORY, _RATINGS, _ANIME))
            rows = _with_ratings(_read_feedback(history, 1), history, _read_feedback(ratings, 10), ratings)
            return attach(rows, "anime", _read_anime(info), info)


def _read_feedback(path: RawFile, most: int) -> pa.Table:
    table = read_delimited(path, _FEEDBACK, delimiter="\t", quoted=False)
    outside = pc.or_(pc.less(table["Feedback"], 1), pc.greater(table["Feedback"], most))
    expected = "1" if most == 1 else f"1 to {most} points"
    refuse_where(outside, table, "Feedback", path, expected, first_row=2)
    return table.rename_columns(["user", "anime", "rating"])


def _with_ratings(history: pa.Table, history_path: RawFile, ratings: pa.Table, ratings_path: RawFile) -> pa.Table:
    """Return the watched pairs with their rating and labels; every rated pair is one of them, none occurs twice."""
    watched, rated = _number_pairs(history, history_path), _number_pairs(ratings, ratings_path)
    unwatched = pa.chunked_array([~np.isin(rated, watched)])
    refuse_where(unwatched, ratings, "anime", ratings_path, "an anime in the user's history", first_row=2)
    rating = ratings["rating"].take(pc.index_in(pa.array(watched), pa.array(rated)))
    return (
        history.drop_columns("rating")
        .append_column("rating", rating)
        .append_column("rated", pc.is_valid(rating).cast(pa.int8()))
        .append_column("liked", pc.greater_equal(rating, 8).cast(pa.int8()))
    )


def _number_pairs(table: pa.Table, path: RawFile) -> np.ndarray:
    """Return one number per pair of user and anime."""
    pairs: np.ndarray = table["user"].to_numpy() << 32 | table["anime"].to_numpy()
    first = np.unique(pairs, return_index=True)[1]
    repeated = np.ones(len(pairs), bool)
    repeated[first] = False
    refuse_where(pa.chunked_array([repeated]), table, "anime", path, "each anime once per user", first_row=2)
    return pairs


def _read_anime(path: RawFile) -> pa.Table:
    table = read_delimited(path, _INFO, delimiter="\t", quoted=False, optional=("genre",))
    names = pa.array([html.unescape(name) for name in table["name"].to_pylist()])
    text = pc.binary_join_element_wise(names, table["genre"], table["type"], ", ", null_handling="skip")
    return pa.table({
        "anime": table["anime_ids"],
        "text": text,
        "genre": pc.split_pattern(table["genre"], ", "),
        "type": table["type"],
        "episodes": table["episodes"],
        "members": table["members"],
        "mean_rating": table["rating"],
    })  # fmt: skip
