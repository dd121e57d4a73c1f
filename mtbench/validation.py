"""Reads what a user wrote: YAML into values, values into settings, mistakes into messages that say where and what."""

from __future__ import annotations

import re
import reprlib
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

S = TypeVar("S", bound=BaseModel)
MOST = 10
"""Problems that one message lists."""
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """YAML of mappings, lists, text, numbers, true, false and null, whose keys are unique; dates are text."""

    yaml_constructors = {
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag not in {f"{_TAG}{kind}" for kind in ("binary", "omap", "pairs", "set")}
    } | {f"{_TAG}timestamp": yaml.SafeLoader.construct_yaml_str}

    def __init__(self, stream: str | bytes) -> None:
        super().__init__(stream)
        self.deep_construct = True  # which refuses an anchor that contains itself

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and not value.isprintable():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                problem = f"{value!r:.80} is half of a character"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != f"{_TAG}merge":
                key = self.construct_object(key_node)
                if key in seen:
                    problem = f"key {show_value(key)} stands twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Return what a YAML text says. Raises MTBenchError with the line of a mistake."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        if isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError):
            what += "; check indentation, brackets and quotes"
        raise MTBenchError(f"{where}{line}: not valid YAML: {what}") from error
    except yaml.reader.ReaderError as error:
        raise MTBenchError(f"{where}: not a text file in UTF-8: {error.reason} at byte {error.position}") from error
    except RecursionError as error:
        raise MTBenchError(f"{where}: nested too deeply to be an experiment") from error
    except (ValueError, OverflowError, LookupError, AttributeError) as error:  # of `!!int ""` and the like
        raise MTBenchError(f"{where}: a value cannot be read: {error}") from error


def validate(model: type[S], content: Any, where: str, path: Sequence[str | int] = ()) -> S:
    """Return ``content``, which stands under the keys ``path``, as a ``model``.

    Raises MTBenchError that lists the problems with their places.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = list_problems(error, path)
        if len(problems) > MOST:
            problems[MOST:] = [f"and {len(problems) - MOST} more problems"]
        raise MTBenchError("\n".join(f"{where}: {problem}" for problem in problems)) from error
    except RecursionError as error:
        raise MTBenchError(f"{where}: {join_path(path)}nested too deeply") from error


def list_problems(error: ValidationError, path: Sequence[str | int] = ()) -> list[str]:
    """Return what is wrong and where, below ``path``; a list is not too short for want of its broken items alone."""
    problems = error.errors(include_url=False)
    inner = {problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))}
    return [
        join_path((*path, *problem["loc"])) + _write_message(problem)
        for problem in problems
        if not (problem["type"] == "too_short" and problem["loc"] in inner)
    ]


def join_path(path: Sequence[str | int]) -> str:
    """Return the beginning of a message: ``models.0.experts: ``."""
    return f"{'.'.join(str(part) for part in path)}: " if path else ""


_EXPECTED = {
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "dict_type": "should be a mapping",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "mapping_type": "should be a mapping",
    "model_type": "should be a mapping",
    "string_too_short": "should not be empty",
    "string_type": "should be text",
    "tuple_type": "should be a list",
}


def _write_message(problem: Any) -> str:
    kind, value, text = problem["type"], problem["input"], str(problem["msg"])
    if kind in {"unknown_key", "value_error"}:
        return text.removeprefix("Value error, ")
    if kind == "missing":
        return "is missing" + (f"; found only {', '.join(show_value(key) for key in value)}" if value else "")
    if value is None:
        return "is empty; give it a value, or remove the key"
    if kind in {"too_short", "too_long"}:
        limit = problem["ctx"].get("min_length", problem["ctx"].get("max_length"))
        return f"needs {'at least' if kind == 'too_short' else 'at most'} {limit} item(s), found {len(value)}"
    expected = _EXPECTED.get(kind) or re.sub(r"^[A-Z][a-z]+ (?=should)", "", text)
    remedy = "; put it in brackets" if expected == "should be a list" and isinstance(value, str) else ""
    return f"{expected}, found {show_value(value)}{remedy}"


class _Shown(reprlib.Repr):
    """Writes a value briefly, whatever it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxstring, self.maxother = 2, 6, 6, 60, 60

    def repr_bool(self, value: bool, level: int) -> str:  # noqa: ARG002, FBT001
        return str(value).lower()

    def repr_int(self, value: int, level: int) -> str:  # noqa: ARG002
        return str(value) if abs(value) < 10**40 else "a number of more than 40 digits"

    def repr_NoneType(self, value: None, level: int) -> str:  # noqa: ARG002, N802
        return "nothing"


show_value = _Shown().repr
