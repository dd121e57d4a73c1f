from __future__ import annotations

import pytest

from mtbench.data.prepare import prepare
from mtbench.data.sources import locate


@pytest.fixture(params=["as published", "saved again"])
def placed(request, tmp_path, monkeypatch):
    """Return a function that writes a dataset's files where it looks for them, and returns their paths.

    An editor that saves a file again begins it with a byte order mark, ends lines as Windows does, and leaves an empty
    one at the end: that changes nothing.
    """

    def place(dataset, lines, encoding="utf8"):
        monkeypatch.setenv("MTBENCH_DATA", str(tmp_path))
        monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path / "cache"))
        for source in dataset.sources():
            path = tmp_path / source.mirror
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "\n".join(lines[source.name]) + "\n"
            if request.param == "saved again":
                path.write_text(text + "\n", encoding="utf-8-sig", newline="\r\n")
            else:
                path.write_text(text, encoding=encoding)
        return {source.name: locate(source) for source in dataset.sources()}

    return place


@pytest.fixture
def prepared():
    """Return a function that prepares a dataset whose files are placed, under its default split."""
    return lambda dataset: prepare("dataset", dataset, dataset.split, source="code")


@pytest.fixture
def check_features():
    """Return a check that a table has every column of the schema, and that no feature is a label or an outcome."""

    def check(dataset, table):
        schema = dataset.schema()
        sources = {feature.source for feature in schema.features}
        labels = {task.label for task in schema.tasks}
        assert not sources & {*schema.outcomes, *labels, schema.split, schema.time}
        ids = {name for name in (schema.user, schema.item, schema.time, schema.split) if name}
        assert {*sources, *schema.outcomes, *labels, *ids, *schema.texts} <= set(table.column_names)

    return check
