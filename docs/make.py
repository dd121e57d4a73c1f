"""Writes the pages that are made: ``python docs/make.py`` renews docs/models.md and docs/performance.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtbench.cli.show import SIGNS, asked, describe, plain, range_text
from mtbench.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = """\
# Models

This page is made from the code by `python docs/make.py`; `mtbench show model NAME` prints the same.

A card says what a model computes and how far that can be trusted. *Verified* is what was checked in an artefact that
can be read, and in which. *Inferred* is what was not: taken from a review or from general knowledge of the literature,
or decided here where the sources are silent. *Differences* are known departures from the source.

Two things stand in no card because all networks have them, whatever their paper: `wide` adds a linear model of the
features to the logits, and `embedding_dropout` acts on embedded features. `wide: false` and `embedding_dropout: 0`
leave them out.

What a model asks for is found by asking it, at its default settings, for a dataset that has everything: users, items,
time, features and a text. These [inputs](inputs.md) come beside the features, which every model gets."""

PERFORMANCE = """\
# Performance

This page is made by `python docs/make.py` from what the scripts wrote into `performance/results`. Where things are
compared they took turns on one machine, so ratios are the result; absolute times are of that machine.

Run a script from a checkout, with the packages of `pip install -c constraints.txt -e .`; for the real
datasets `MTBENCH_DATA` says where their files are."""

SCRIPTS = Path(__file__).resolve().parents[1] / "performance"
TITLES = {
    "peers": "Beside other frameworks",
    "profile_step": "A training step",
    "step_cost": "Many rows, large vocabularies",
    "task_scaling": "One more task",
    "sweeps": "What a sweep is worth",
    "evaluation": "Metrics",
    "startup": "Until something happens",
    "board": "A large board",
    "scale": "Preparation and macro graphs",
    "kmeans": "Clusters of macro graphs",
}


def performance_page() -> str:
    """Return the page of the measurements that have results."""
    return "\n\n".join([PERFORMANCE, *filter(None, map(_sheet, TITLES))]) + "\n"


def _sheet(name: str) -> str:
    results = SCRIPTS / "results" / f"{name}.md"
    if not results.is_file():
        return ""
    explained = ast.get_docstring(ast.parse((SCRIPTS / f"{name}.py").read_text())) or ""
    picture = f"![{TITLES[name]}](../performance/results/{name}.svg)" if results.with_suffix(".svg").is_file() else ""
    text = re.sub(r"\n{3,}", "\n\n", results.read_text().strip())
    return "\n\n".join(filter(None, [f"## {TITLES[name]}", explained.replace("``", "`"), picture, text]))


def models_page() -> str:
    """Return the page of the models that come with mtbench, by name."""
    registry = Registry.load()
    named = [entry.name for entry in registry.registrations("model") if entry.plugin.name == "mtbench_models"]
    facts = [describe(registry, "model", name) for name in named]
    rows = (
        [f"[{each['name']}](#{each['name']})", _line(each), (each["card"] or {}).get("paper", ""), _asked(each)[0]]
        for each in facts
    )
    table = _table(["model", "what it is", "paper", "asks for"], rows)
    return "\n\n".join([INTRODUCTION, table, *map(_section, facts)]) + "\n"


def settings_table(settings: list[dict[str, Any]], *, search: bool = False) -> str:
    """Return the Markdown table of settings as ``describe`` gives them; ``search`` adds what a search tries."""
    head = ["key", "type", "default", *(["search"] if search else []), "meaning"]
    return _table(head, (_setting(each, search=search) for each in settings))


def _setting(setting: dict[str, Any], *, search: bool) -> Iterator[str]:
    assert setting["description"], f"{setting['name']} has no description"
    kind = ", ".join([setting["type"], *(f"{SIGNS[key]} {limit}" for key, limit in setting["constraints"].items())])
    yield f"`{setting['name']}`"
    yield re.sub(r"tuple\[(\w+), \.\.\.\]", r"list of \1", kind).replace("Component", "plugin")
    yield "required" if setting["required"] else _default(setting["default"])
    if search:
        yield _spaced(range_text(setting["search"]))
    yield setting["description"]


def _default(value: Any) -> str:
    if value and isinstance(value, dict):
        return f"`{value['name']}`" if value.keys() == {"name"} else "see below"
    return f"`{_spaced(value)}`"


def _section(facts: dict[str, Any]) -> str:
    card = facts["card"] or {}
    parts = [f"## {facts['name']}", facts["description"].replace("``", "`"), card.get("paper", "")]
    if equations := card.get("equations"):
        parts.append("```text\n{}\n```".format("\n".join(equations)))
    parts += [_list(name.capitalize(), card.get(name, [])) for name in ("verified", "inferred", "differences")]
    parts.append("Asks for: {}.".format("; ".join(_asked(facts))))
    if facts["packages"]:
        parts.append("Needs: {}.".format(", ".join(f"`pip install {name}`" for name in facts["packages"])))
    if facts["settings"]:
        parts.append(settings_table(facts["settings"], search=True))
    return "\n\n".join(filter(None, parts))


def _list(title: str, sentences: list[str]) -> str:
    return "\n".join([f"{title}:\n", *(f"- {each}" for each in sentences)]) if sentences else ""


def _table(head: list[str], rows: Any) -> str:
    cells = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows)
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {row} |" for row in cells)])


def _spaced(value: Any) -> str:
    return plain(value).replace(",", ", ").replace(",  ", ", ")


def _line(facts: dict[str, Any]) -> str:
    line: str = facts["description"].splitlines()[0]
    return line.replace("``", "`")


def _asked(facts: dict[str, Any]) -> list[str]:
    return asked(facts["inputs"]) or ["depends on its settings"]


if __name__ == "__main__":
    Path(__file__).with_name("models.md").write_text(models_page())
    Path(__file__).with_name("performance.md").write_text(performance_page())
