from __future__ import annotations

import os

import pandas as pd
import pytest

from mtbench.data import splits
from mtbench.data.dataset import DatasetConfig
from mtbench.data.sources import locate
from mtbench.errors import MTBenchError
from mtbench_datasets.movietweetings import MovieTweetings

RATINGS, MOVIES = "ratings.dat", "movies.dat"
FILES = {
    RATINGS: ["1::0080684::10::1365029107", "2::1853728::7::1364690142", "2::0080684::6::1364690150"],
    MOVIES: ['0080684::Star Wars: Episode V - "Empire" (1980)::Action|Sci-Fi', "1853728::Amélie (again) (2012)::"],
}


def load(folder, **changed):
    for name, lines in {**FILES, **changed}.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf8")
    return MovieTweetings(DatasetConfig()).load({name: folder / name for name in FILES})


@pytest.fixture(scope="module")
def real():
    """Return the raw files and the table."""
    if not os.environ.get("MTBENCH_DATA"):
        pytest.skip("MTBENCH_DATA is unset: no MovieTweetings files")
    dataset = MovieTweetings(DatasetConfig())
    files = {source.name: locate(source) for source in dataset.sources()}
    return files, dataset.load(files).to_pandas()


def test_cells_arrive_under_their_names(tmp_path):
    first, second, third = load(tmp_path).to_pylist()
    assert first == {
        "user": 1, "imdb_id": "0080684", "rating": 10, "time": 1365029107, "good": 1, "great": 1, "perfect": 1,
        "title": 'Star Wars: Episode V - "Empire"', "release_year": 1980, "genre": ["Action", "Sci-Fi"],
    }  # fmt: skip
    assert (second["good"], second["great"], second["perfect"]) == (1, 0, 0)
    assert (second["title"], second["release_year"], second["genre"]) == ("Amélie (again)", 2012, None)
    assert (third["good"], third["imdb_id"]) == (0, "0080684")


def test_the_rating_is_an_outcome_and_no_feature():
    schema = MovieTweetings(DatasetConfig()).schema()
    assert schema.outcomes == ("rating",)
    assert schema.texts == ("title",)
    assert {feature.source for feature in schema.features} == {"release_year", "genre"}


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (RATINGS, ["1::0080684::11::1365029107"], "column 'rating', row 1: found 11, expected 0 to 10 points"),
        (RATINGS, [*FILES[RATINGS], "1::0080684::5"], "Expected 4 columns, got 3.*expected the columns user, imdb_id"),
        (RATINGS, ["1::0080684::five::1365029107"], "column 'rating', row 1: .*'five'"),
        (MOVIES, FILES[MOVIES][:1], "column 'imdb_id': '1853728' is among the interactions"),
        (
            MOVIES,
            ["0080684::Star Wars::Action"],
            r"column 'title', row 1: found 'Star Wars', expected .*'... \(1994\)'",
        ),
        (MOVIES, [*FILES[MOVIES], FILES[MOVIES][0]], "column 'imdb_id': '0080684' occurs twice"),
        (MOVIES, ["0080684|Star Wars (1980)|Action"], "Expected 3 columns, got 1"),
    ],
)
def test_an_unexpected_file_is_refused(tmp_path, name, lines, message):
    with pytest.raises(MTBenchError, match=rf"(?s){name}: (.*: )?{message}"):
        load(tmp_path, **{name: lines})


def test_the_card_tells_the_truth(real):
    _, frame = real
    card = MovieTweetings.card
    assert len(frame) == card.rows
    for task, rate in card.positive_rates.items():
        assert frame[task].mean() == pytest.approx(rate, abs=1e-9)
    assert (frame["user"].nunique(), frame["imdb_id"].nunique()) == (16_554, 10_506)
    assert frame["user"].value_counts().median() == 2
    days = pd.to_datetime(frame["time"], unit="s").dt.strftime("%Y-%m-%d")
    assert (days.min(), days.max()) == ("2013-02-28", "2013-09-01")
    assert (frame["imdb_id"].str.len() == 7).all()
    assert frame.loc[frame["genre"].isna(), "imdb_id"].nunique() == 66

    part = splits.assign(MovieTweetings.split, len(frame), frame["time"].to_numpy(), None)
    train, test = frame[part == splits.TRAIN], frame[part == splits.TEST]
    assert (~test["user"].isin(train["user"])).mean() == pytest.approx(0.33, abs=5e-3)
    assert (~test["imdb_id"].isin(train["imdb_id"])).mean() == pytest.approx(0.19, abs=5e-3)
    early = train.sort_values("time").head(len(train) // 8)
    known = early.loc[early["good"] == 1, "user"].unique()
    assert len(known) / frame["user"].nunique() == pytest.approx(0.20, abs=5e-3)
    assert test["user"].isin(known).mean() == pytest.approx(0.30, abs=5e-3)


def test_every_cell_is_that_of_a_plain_reading(real):
    files, frame = real
    ratings = [line.split("::") for line in files[RATINGS].read_text(encoding="utf8").splitlines()]
    assert frame[["user", "imdb_id", "rating", "time"]].astype(str).to_numpy().tolist() == ratings
    movies = {}
    for line in files[MOVIES].read_text(encoding="utf8").splitlines():
        number, title, genres = line.split("::")
        movies[number] = (title, genres)
    titles = frame["title"] + " (" + frame["release_year"].astype(str) + ")"
    assert titles.tolist() == [movies[number][0] for number in frame["imdb_id"]]
    assert frame["genre"].str.join("|").fillna("").tolist() == [movies[number][1] for number in frame["imdb_id"]]
