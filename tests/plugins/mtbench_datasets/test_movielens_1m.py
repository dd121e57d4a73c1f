from __future__ import annotations

import pytest

from mtbench.data.dataset import DatasetConfig
from mtbench.errors import MTBenchError
from mtbench_datasets.movielens_1m import MovieLens1M

RATINGS, USERS, MOVIES = "ratings.dat", "users.dat", "movies.dat"
FILES = {
    RATINGS: ["1::1193::5::978300760", "1::661::3::978302109", "2::73::4::978298413"],
    USERS: ["1::F::1::10::48067", "2::M::56::16::V0072"],
    MOVIES: [
        "73::Misérables, Les (1995)::Drama|Musical",
        '661::Star Wars: Episode IV - A "New" Hope (1977)::Action',
        "1193::City of Lost Children, The (La Cité des enfants perdus) (1995)::Children's|Comedy",
    ],
}


def dataset():
    return MovieLens1M(DatasetConfig())


def placed_in_latin1(placed, **changed):
    return placed(dataset(), FILES | changed, encoding="latin1")


def test_cells_arrive_under_their_names(placed, check_features):
    table = dataset().load(placed_in_latin1(placed))
    first, second, third = table.to_pylist()
    assert [(r["liked"], r["loved"]) for r in (first, second, third)] == [(1, 1), (0, 0), (1, 0)]
    assert (first["user_id"], first["item_id"], first["timestamp"]) == (1, 1193, 978300760)
    assert (first["gender"], first["age"], first["occupation"], first["zip_region"]) == ("F", "1", "10", "4")
    assert (third["gender"], third["age"], third["occupation"], third["zip_region"]) == ("M", "56", "16", "V")
    assert (first["release_year"], first["genre"]) == (1995, ["Children's", "Comedy"])
    assert second["title"] == 'Star Wars: Episode IV - A "New" Hope (1977)'
    assert third["title"] == "Misérables, Les (1995)"
    check_features(dataset(), table)


def test_titles_are_texts_and_ratings_are_outcomes():
    schema = dataset().schema()
    assert schema.texts == ("title",)
    assert schema.outcomes == ("rating",)


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (RATINGS, [*FILES[RATINGS], "1::661::6::978302109"], "column 'rating', row 4: found 6, expected 1 to 5 stars"),
        (RATINGS, [*FILES[RATINGS], "1::661::3"], "Row #4: Expected 4 columns, got 3"),
        (RATINGS, [*FILES[RATINGS], "1::661::3::noon"], "column 'timestamp', row 4: .*'noon'"),
        (RATINGS, ["1,661,3,978302109"], "Row #1: Expected 4 columns, got 1"),
        (USERS, FILES[USERS][:1], "column 'user_id': 2 is among the interactions"),
        (MOVIES, [*FILES[MOVIES], "5::Untold::Drama"], "column 'title', row 4: found 'Untold', expected a title"),
        (MOVIES, [*FILES[MOVIES], FILES[MOVIES][0]], "column 'item_id': 73 occurs twice"),
    ],
)
def test_an_unexpected_file_is_refused(placed, name, lines, message):
    with pytest.raises(MTBenchError, match=rf"{name}: (.*: )?{message}"):
        dataset().load(placed_in_latin1(placed, **{name: lines}))


def test_the_last_ratings_are_test(placed, prepared):
    movies = (73, 661, 1193)
    ratings = [f"{1 + i % 2}::{movies[i % 3]}::{1 + i % 5}::{978300760 + i}" for i in range(400)]
    placed_in_latin1(placed, **{RATINGS: ratings})
    columns = prepared(dataset())
    assert columns.counts == {"train": 320, "valid": 40, "test": 40, "warmup": 0}
    assert set(columns.row_ids(columns.open_test())) == set(range(360, 400))
    assert columns.positive_rates() == pytest.approx({"liked": 0.4, "loved": 0.2})
    assert columns.spec.multi == {"genre": 1 + 5}
