"""The gates over how values are written: alike ones, lists left in one piece, numbers left as categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mtbench.data.gates import Finding, name_feature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mtbench.data.fitted import Codes, Fitted
    from mtbench.schema import Feature, Schema

FEWEST = 50
"""With fewer values in the training rows nothing is said of how many of them differ."""

_MANY_OF_FRACTIONS, _MANY_OF_INTEGERS, _MANY_OF_WORDS = 0.1, 0.5, 0.95  # distinct values, as a share of all
_BRACKETED = r"""^[\[{]|[\]}]$|^\(.*\)$|^'.*'$|^".*"$"""
_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_TIME = r"^\d{4}-\d{1,2}-\d{1,2}|^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|^\d{1,2}:\d{2}"


def check_values(fitted: Fitted, acknowledged: Mapping[str, str]) -> Iterator[Finding]:
    """Look at the values of every feature but the ids; all findings are warnings, which the card may acknowledge."""
    schema = fitted.raw.schema
    for feature in fitted.raw.features:
        if feature.kind == "numeric" or feature.source in {schema.user, schema.item, schema.row}:
            continue
        listed = feature.kind == "multi"
        values = (fitted.raw.listed if listed else fitted.raw.numbered)[feature.source].values
        findings = [*_find_alike(values, feature, schema)]
        if listed:
            findings += _find_brackets(values, feature, schema)
        elif feature.source != schema.domain:
            findings += _find_unique(fitted.categorical[feature.name], feature, schema)
        yield from (one for one in findings if not {feature.name, one.gate} & {*acknowledged})


def _find_alike(values: pa.Array | None, feature: Feature, schema: Schema) -> Iterator[Finding]:
    """Warn of values that differ by case, blanks, the form of an accent or a trailing ``.0`` alone."""
    if values is None or not _is_text(values.type):
        return
    folded = pc.utf8_trim_whitespace(pc.utf8_lower(pc.utf8_normalize(values, "NFKC")))
    folded = pc.replace_substring_regex(folded, r"\s+", " ")
    folded = pc.replace_substring_regex(folded, r"^([-+]?\d+)\.0+$", r"\1")
    counts = pc.value_counts(folded)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if not len(repeated):
        return
    alike = sorted(values.filter(pc.equal(folded, repeated[0])).to_pylist())
    more = f" ({len(repeated) - 1} more such)" if len(repeated) > 1 else ""
    yield Finding(
        "warn", "alike-values",
        f"{name_feature(feature.name, schema)} has {' and '.join(map(repr, alike))}{more}, which are different values; "
        "write them alike if they mean the same",
    )  # fmt: skip


def _find_brackets(values: pa.Array | None, feature: Feature, schema: Schema) -> Iterator[Finding]:
    """Warn of brackets and quotes around the values of lists, which are those of a whole list in one cell."""
    if values is None or not _is_text(values.type):
        return
    bracketed = values.filter(pc.match_substring_regex(values, _BRACKETED))
    if len(bracketed):
        yield Finding(
            "warn", "bracketed-values",
            f"{name_feature(feature.name, schema)} has brackets or quotes in {len(bracketed)} of {len(values)} values, "
            f"such as {bracketed[0].as_py()!r}, which are taken as part of them; write the values of a list alone, "
            "with nothing but the separator between them",
        )  # fmt: skip


def _find_unique(codes: Codes, feature: Feature, schema: Schema) -> Iterator[Finding]:
    """Warn of a categorical column with a value of its own in nearly every row: a number, a time or an id."""
    values = codes.vocabulary.drop_null()
    if codes.count < FEWEST or not len(values):
        return
    share = len(values) / codes.count
    many, what = _judge(values)
    if share > many:
        yield Finding(
            "warn", "unique-values",
            f"{name_feature(feature.name, schema)} is categorical and has {len(values)} different values in "
            f"{codes.count} training rows, so that hardly any is learned; {what}",
        )  # fmt: skip


def _judge(values: pa.Array) -> tuple[float, str]:
    """Return the share of distinct values above which something is wrong with such a column, and what it is."""
    number = "it is almost certainly a number: declare it `kind: numeric`"
    count = f"{number}, or leave it out if it numbers the rows"
    when = "it is almost certainly a time: name it under 'time', or give a part of it, such as the hour"
    word = "leave it out if it is an id of the row, or give a part of it that comes back"
    kind = values.type
    if pa.types.is_temporal(kind):
        return _MANY_OF_INTEGERS, when
    if pa.types.is_integer(kind):
        return _MANY_OF_INTEGERS, count
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        whole = pc.all(pc.equal(pc.floor(values), values)).as_py()
        return (_MANY_OF_INTEGERS, count) if whole else (_MANY_OF_FRACTIONS, number)
    if _is_text(kind) and pc.all(pc.match_substring_regex(values, _NUMBER)).as_py():
        whole = not pc.any(pc.match_substring_regex(values, r"[.eE]")).as_py()
        return (_MANY_OF_INTEGERS, count) if whole else (_MANY_OF_FRACTIONS, number)
    if _is_text(kind) and pc.all(pc.match_substring_regex(values, _TIME)).as_py():
        return _MANY_OF_INTEGERS, when
    return _MANY_OF_WORDS, word


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
