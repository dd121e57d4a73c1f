"""Results of a measurement: printed as tables, and written as JSON and Markdown."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Sheet(NamedTuple):
    """A table: the heads of its columns, its lines, and what it shows."""

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    title: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown, numbers to the right."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in (self.head, rule, *self.lines))
        return f"{self.title}:\n\n{table}" if self.title else table

    def show(self) -> None:
        """Print the table."""
        table = Table(*self.head, title=self.title, title_justify="left")
        for column in table.columns[1:]:
            column.justify = "right"
        for line in self.lines:
            table.add_row(*line)
        Console().print(table)


def publish(name: str, content: object, sheets: Sequence[Sheet], results: Path, about: str = "") -> None:
    """Print the tables of a measurement; write what was found, and the tables below a line on the circumstances."""
    for sheet in sheets:
        sheet.show()
    machine = f"{os.cpu_count()} CPUs, {torch.get_num_threads()} threads"
    text = [f"{about}, {machine}." if about else f"{machine}.", *(sheet.markdown() for sheet in sheets)]
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    (results / f"{name}.md").write_text("\n\n".join(text) + "\n")
