from __future__ import annotations

import json


def test_what_was_found_is_printed_and_written_as_json_and_markdown(load, tmp_path, capsys):
    sheets = load("sheets")
    tables = [sheets["Sheet"](("what", "ms"), [("a step", "1.25")]), sheets["Sheet"](("x",), [("y",)], "More")]
    sheets["publish"]("speed", {"a step": 1.25}, tables, tmp_path / "new", "batches of 8")
    assert json.loads((tmp_path / "new" / "speed.json").read_text()) == {"a step": 1.25}
    first, *rest = (tmp_path / "new" / "speed.md").read_text().splitlines()
    assert first.startswith("batches of 8, ")
    assert first.endswith(" threads.")
    assert rest == [
        "", "| what | ms |", "| --- | ---: |", "| a step | 1.25 |", "", "More:", "", "| x |", "| --- |", "| y |",
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert "a step" in out
    assert "More" in out
