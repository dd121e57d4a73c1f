from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from mtbench.registry import Registry
from mtbench.schema import ModelCard

REGISTRY = Registry.load()
NAMES = [entry.name for entry in REGISTRY.registrations("model") if entry.plugin.name == "mtbench_models"]
NO_PAPER = {"single-task", "constant", "means", "logistic-regression"}
SOURCES = re.compile(
    r"(The authors' code|Third-party code|The abstract|Figure \d|From (a review|third-party code|secondary notes|the "
    r"parent papers)|General knowledge|Decided here)\b"
)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_each_sentence_rests_on(name):
    cls = REGISTRY.resolve("model", name)
    card = cls.card
    assert card.equations
    assert bool(re.search(r"\. .*\b(19|20)\d\d\.$", card.paper)) == (name not in NO_PAPER), card.paper
    for sentence in (*card.verified, *card.inferred):
        assert SOURCES.match(sentence), sentence
    for sentence in (*card.verified, *card.inferred, *card.differences):
        assert sentence.endswith("."), sentence
        for named in re.findall(r"`(\w+)`", sentence):
            assert named == "given" or named in cls.Config.model_fields, sentence


@pytest.mark.parametrize("name", NAMES)
def test_a_card_and_a_docstring_do_not_say_the_same(name):
    cls = REGISTRY.resolve("model", name)
    assert not re.search(r"[Vv]erified|[Ii]nferred|[Dd]ecided here|[Kk]nown difference|et al\.", cls.__doc__)


def test_a_card_is_fixed_and_has_no_other_fields():
    card = ModelCard(paper="Someone: Nets. 2020.")
    with pytest.raises(ValidationError, match="frozen"):
        card.paper = ""
    with pytest.raises(ValidationError, match="Extra inputs"):
        ModelCard(inputs=())
