from __future__ import annotations

import csv
import html
import io
import os
import zipfile

import pytest

from mtbench.data.dataset import DatasetConfig
from mtbench.data.sources import locate
from mtbench.errors import MTBenchError
from mtbench_datasets.anime import Anime

HISTORY, RATINGS, INFO = "anime/anime_history.dat", "anime/anime_ratings.dat", "anime/anime_info.dat"
FEEDBACK = "User_ID\tAnime_ID\tFeedback"
COLUMNS = "anime_ids\tname\tgenre\ttype\tepisodes\trating\tmembers"
FILES = {
    HISTORY: [FEEDBACK, "1\t7\t1", "1\t3\t1", "2\t7\t1"],
    RATINGS: [FEEDBACK, "2\t7\t7", "1\t7\t8"],
    INFO: [COLUMNS, '3\tWolf&#039;s "Rain" OVA\tDrama, Sci-Fi\tOVA\t4\t8.01\t24951', "7\tKappo\t\tMovie\t1\t4.71\t665"],
}


def load(folder, **changed):
    path = folder / "anime.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, lines in {**FILES, **changed}.items():
            if lines is not None:
                archive.writestr(name, "\n".join(lines) + "\n")
    return Anime(DatasetConfig()).load({"anime.zip": path})


@pytest.fixture(scope="module")
def real():
    """Return the archive and the table."""
    if not os.environ.get("MTBENCH_DATA"):
        pytest.skip("MTBENCH_DATA is unset: no anime archive")
    dataset = Anime(DatasetConfig())
    (source,) = dataset.sources()
    path = locate(source)
    return path, dataset.load({source.name: path}).to_pandas()


def test_cells_arrive_under_their_names(tmp_path):
    first, second, third = load(tmp_path).to_pylist()
    assert first == {
        "user": 1, "anime": 7, "rating": 8, "rated": 1, "liked": 1, "text": "Kappo, Movie", "genre": None,
        "type": "Movie", "episodes": 1, "members": 665, "mean_rating": 4.71,
    }  # fmt: skip
    assert (second["rated"], second["liked"], second["rating"]) == (0, None, None)
    assert second["text"] == 'Wolf\'s "Rain" OVA, Drama, Sci-Fi, OVA'
    assert (second["genre"], second["episodes"]) == (["Drama", "Sci-Fi"], 4)
    assert (third["rated"], third["liked"]) == (1, 0)


def test_ratings_and_their_mean_are_outcomes_and_no_features():
    schema = Anime(DatasetConfig()).schema()
    assert set(schema.outcomes) == {"rating", "mean_rating"}
    assert {feature.source for feature in schema.features} == {"genre", "type", "episodes", "members"}
    assert [task.given for task in schema.tasks] == [None, "rated"]
    assert schema.texts == ("text",)


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (HISTORY, [FEEDBACK, "1\t7\t2"], "column 'Feedback', row 2: found 2, expected 1"),
        (HISTORY, [*FILES[HISTORY], "1\t3\t1"], "column 'anime', row 5: found 3, expected each anime once per user"),
        (HISTORY, [FEEDBACK.replace("\t", "|"), "1|7|1"], "there is no column User_ID, Anime_ID, Feedback"),
        (HISTORY, [*FILES[HISTORY], "1\t8\t1"], "column 'anime': 8 is among the interactions"),
        (RATINGS, [FEEDBACK, "1\t7\t11"], "column 'Feedback', row 2: found 11, expected 1 to 10 points"),
        (RATINGS, [*FILES[RATINGS], "1\t7\t9"], "column 'anime', row 4: found 7, expected each anime once per user"),
        (RATINGS, [FEEDBACK, "2\t3\t9"], "column 'anime', row 2: found 3, expected an anime in the user's history"),
        (INFO, [COLUMNS, "3\tA\tDrama\tTV\tmany\t8.0\t5"], "column 'episodes', row 2: .*'many'"),
        (INFO, [COLUMNS, "3\t\tDrama\tTV\t1\t8.0\t5"], "column 'name', row 2: found None, expected a value"),
    ],
)
def test_an_unexpected_member_is_refused(tmp_path, name, lines, message):
    with pytest.raises(MTBenchError, match=rf"(?s)anime.zip/({name}|{INFO}): (.*: )?{message}"):
        load(tmp_path, **{name: lines})


def test_an_archive_without_a_member_is_refused(tmp_path):
    with pytest.raises(MTBenchError, match=f"anime.zip: has no '{RATINGS}'; found {HISTORY}, {INFO}"):
        load(tmp_path, **{RATINGS: None})


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "anime.zip").write_text("<html>not found</html>")
    with pytest.raises(MTBenchError, match=r"anime.zip: File is not a zip file; expected the zip archive"):
        Anime(DatasetConfig()).load({"anime.zip": tmp_path / "anime.zip"})


def test_the_card_tells_the_truth(real):
    _, frame = real
    card = Anime.card
    assert len(frame) == card.rows
    for task, rate in card.positive_rates.items():
        assert frame[task].mean() == pytest.approx(rate, abs=5e-7)
    assert (frame["user"].nunique(), frame["anime"].nunique()) == (5_000, 7_390)
    assert frame["rating"].notna().sum() == 419_943
    habits = frame.groupby("user")["rated"].mean()
    assert (habits == 1).mean() == pytest.approx(0.49, abs=5e-3)
    assert (habits == 0).mean() == pytest.approx(0.06, abs=5e-3)
    assert frame.loc[frame["genre"].isna(), "anime"].nunique() == 3


def test_every_cell_is_that_of_a_plain_reading(real):
    path, frame = real
    with zipfile.ZipFile(path) as archive:
        history, ratings, info = (
            list(csv.DictReader(io.StringIO(archive.read(name).decode()), delimiter="\t", quoting=csv.QUOTE_NONE))
            for name in (HISTORY, RATINGS, INFO)
        )
    pairs = [(int(row["User_ID"]), int(row["Anime_ID"])) for row in history]
    assert list(zip(frame["user"], frame["anime"], strict=True)) == pairs
    points = {(int(row["User_ID"]), int(row["Anime_ID"])): int(row["Feedback"]) for row in ratings}
    assert frame["rating"].fillna(0).tolist() == [points.get(pair, 0) for pair in pairs]
    anime = {int(row["anime_ids"]): row for row in info}
    for row in frame.sample(2_000, random_state=0).to_dict("records"):
        told = anime[row["anime"]]
        genre = [] if row["genre"] is None else list(row["genre"])
        assert ", ".join(genre) == told["genre"]
        assert (row["type"], str(row["episodes"]), str(row["members"])) == (
            told["type"],
            told["episodes"],
            told["members"],
        )
        assert row["mean_rating"] == float(told["rating"])
        assert row["text"] == ", ".join(filter(None, (html.unescape(told["name"]), told["genre"], told["type"])))
