from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from pydantic import ValidationError

from mtbench.errors import MTBenchError
from mtbench.files import hash_json
from mtbench.record import store
from mtbench.record.form import Recipe, Record, name_file


def test_a_record_is_read_as_it_was_written(tmp_path, make_record):
    record = make_record(
        undefined={"like.auc.test.0": "one class"}, settings={"name": "é ∞ \n", "layers": [64, 32.5, None]}
    )
    path = store.write(record, tmp_path / "new" / "folder")
    assert path.name == f"{record.file_stem}.json"
    assert store.read(path) == record
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_name_is_made_of_key_and_content(make_record):
    record = make_record()
    recipe, whole = record.recipe.model_dump(mode="json"), record.model_dump(mode="json")
    assert record.key == hash_json(recipe)
    assert record.file_stem == f"{hash_json(recipe)[:16]}-{hash_json(whole)[:16]}"


def test_the_key_does_not_depend_on_what_came_out(make_record):
    one = make_record(results={"click": {"auc": [0.7, 0.7, 0.7]}})
    other = make_record(results={"click": {"auc": [0.8, 0.8, 0.8]}}, measured={"seconds": 1.0, "device": "cuda"})
    assert one.key == other.key
    assert one.file_stem != other.file_stem


def test_the_key_does_not_depend_on_the_order_of_keys(make_record):
    one = make_record(settings={"experts": 8, "layers": [64, 32]})
    other = make_record(settings={"layers": [64, 32], "experts": 8})
    assert one.key == other.key


def test_the_key_depends_on_everything_that_went_in(make_record):
    recipe = make_record().recipe
    keys = {recipe.key}
    tree = recipe.model_dump(mode="json")
    leaves = list(_leaves(tree))
    for path in leaves:
        changed = json.loads(json.dumps(tree))
        place = changed
        for key in path[:-1]:
            place = place[key]
        old = place[path[-1]]
        place[path[-1]] = _other(old, path[-1])
        keys.add(Recipe.model_validate(changed).key)
    assert len(leaves) > 30
    assert len(keys) == len(leaves) + 1


def _other(old, name):
    if isinstance(old, bool):
        return not old
    if isinstance(old, int | float):
        return old + 1
    if old is None:
        return {"seed": 1, "benchmark": {"name": "b", "sha256": "x"}}.get(name, "x")
    return {"binary": "regression", "default": "tuned"}.get(old, f"{old}x")


def _leaves(tree, path=()):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if items is None:
        yield path
    else:
        for key, value in items:
            yield from _leaves(value, (*path, key))


def test_every_changed_byte_is_noticed(tmp_path, make_record):
    path = store.write(make_record(), tmp_path)
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(MTBenchError, match=path.name):
            store.read(path)
    path.write_bytes(content)
    store.read(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"0.74\n", b"0.75\n"),  # a result
        (b'"version": 1,', b'"version": 1.0,'),  # the same number, written otherwise
        (b'"version": 1,', b'"version": "1",'),
        (b'{\n "schema_version"', b'{\n "key": "x",\n "schema_version"'),  # the second one counts, for some readers
        (b"{\n", b"{\n\n"),
    ],
)
def test_a_record_has_one_way_to_be_written(tmp_path, make_record, old, new):
    path = store.write(make_record(), tmp_path)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(MTBenchError, match="changed"):
        store.read(path)


def test_a_changed_recipe_with_its_old_key_is_noticed(tmp_path, make_record):
    record = make_record().model_dump(mode="json")
    record["recipe"]["seeds"] = [0, 1, 5]
    path = store.write(Record.model_validate(record), tmp_path)
    with pytest.raises(MTBenchError, match="its key is not the hash of its recipe"):
        store.read(path)


def test_a_renamed_file_is_noticed(tmp_path, make_record):
    path = store.write(make_record(), tmp_path)
    with pytest.raises(MTBenchError, match="renamed"):
        store.read(path.rename(tmp_path / "other.json"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 0}, "schema_version: 0 is not a number from 1 on"),
        ({"schema_version": "2"}, "schema_version: '2' is not a number from 1 on"),
        ({"schema_version": True}, "schema_version: True is not a number from 1 on"),
        ({"note": "mine"}, "note: Extra inputs are not permitted"),
        ({"results": {"click": {"auc": {"valid": [], "test": [], "train": []}}}}, "train: Extra inputs"),
        ({"predictions": None}, "predictions"),
    ],
)
def test_what_is_no_record_is_refused_with_its_place(tmp_path, make_record, change, message):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(make_record().model_dump(mode="json") | change))
    with pytest.raises(MTBenchError, match=message) as error:
        store.read(path)
    assert str(error.value).startswith(f"{path}: not a record: ")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{", b"[" * 100_000, b'{"key": 1e999}'])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(MTBenchError, match="not a record"):
        store.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MTBenchError, match=r"none\.json: cannot be read"):
        store.read(tmp_path / "none.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(tmp_path, make_record, value):
    with pytest.raises(ValidationError, match="finite"):
        make_record(results={"click": {"auc": [value]}})
    with pytest.raises(ValidationError, match="finite"):
        make_record(settings={"rate": value})
    path = store.write(make_record(), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"0.74", json.dumps(value).encode()))
    with pytest.raises(MTBenchError, match="not a record"):
        store.read(path)


def test_a_killed_write_leaves_no_record(tmp_path, make_record):
    earlier = store.write(make_record("ple"), tmp_path)
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom mtbench.files import write_atomically\n"
        "def half(part):\n    part.write_text('{')\n    os.kill(os.getpid(), 9)\n"
        "write_atomically(Path(sys.argv[1]) / 'later.json', half)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    good, problems = store.read_all(tmp_path)
    assert [written.path for written in good] == [earlier]
    assert not problems


def test_the_same_record_written_twice_is_one_file(tmp_path, make_record):
    assert store.write(make_record(), tmp_path) == store.write(make_record(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_two_contents_of_one_key_are_two_files(tmp_path, make_record):
    one, other = make_record(), make_record(measured={"seconds": 1.0})
    assert one.key == other.key
    assert {store.write(one, tmp_path), store.write(other, tmp_path)} == {
        written.path for written in store.read_all(tmp_path)[0]
    }


def test_all_records_are_read_in_order_and_damaged_ones_reported(tmp_path, make_record):
    paths = [store.write(make_record(model), tmp_path) for model in ("mmoe", "ple", "single-task")]
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "table.parquet").write_text("")
    good, problems = store.read_all(tmp_path)
    assert [written.path for written in good] == sorted(paths)
    assert len(problems) == 1
    assert "broken.json: not a record" in problems[0]
    with pytest.raises(MTBenchError, match="no such folder"):
        store.read_all(tmp_path / "none")


def test_a_record_is_found_by_its_recipe_whatever_lies_beside_it(tmp_path, make_record):
    record = make_record()
    path = store.write(record, tmp_path)
    store.write(make_record("ple"), tmp_path)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / f"{record.key[:16]}-0000000000000000.json").write_text("{")
    assert store.find(tmp_path, record.recipe) == (record, path)
    assert store.find(tmp_path, make_record("mgoe").recipe) is None
    assert store.find(tmp_path / "none", record.recipe) is None


def test_a_damaged_record_is_not_found(tmp_path, make_record):
    record = make_record()
    path = store.write(record, tmp_path)
    path.write_text(path.read_text().replace("0.74", "0.99"))
    assert store.find(tmp_path, record.recipe) is None


def write_raw(content, folder):
    """Write the JSON of a record as code that knew no more would have."""
    content["key"] = hash_json(content["recipe"])
    path = folder / f"{name_file(content)}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def test_a_record_that_lacks_what_came_later_keeps_its_name_and_is_found(tmp_path, make_record):
    record = make_record()
    content = record.model_dump(mode="json")
    del (
        content["recipe"]["benchmark"],
        content["recipe"]["budget"],
        content["baseline"],
        content["measured"]["versions"],
    )
    path = write_raw(content, tmp_path)
    read = store.read(path)
    assert read.key == content["key"] != record.key
    assert read.file_stem == path.stem
    assert read.recipe == record.recipe
    assert store.find(tmp_path, record.recipe) == (read, path)


def test_a_record_of_a_later_version_asks_for_an_update(tmp_path, make_record):
    path = write_raw(make_record().model_dump(mode="json") | {"schema_version": 3, "new": 1}, tmp_path)
    with pytest.raises(MTBenchError, match="a record of version 3, and this mtbench reads versions up to 2; update"):
        store.read(path)


def test_a_copy_of_a_record_is_the_same_bytes_and_a_changed_one_has_a_name_of_its_own(tmp_path, make_record):
    content = make_record().model_dump(mode="json")
    del content["baseline"]
    path = write_raw(content, tmp_path)
    record = store.read(path)
    copied = store.copy(store.Written(record, path), tmp_path / "other")
    assert copied.name == path.name
    assert copied.read_bytes() == path.read_bytes()
    changed = record.model_copy(update={"baseline": "mmoe"})
    assert changed.file_stem != record.file_stem
    assert store.write(changed, tmp_path).stem == changed.file_stem


def test_the_mean_of_an_undefined_value_is_undefined(make_record):
    record = make_record(results={"click": {"auc": [0.5, 0.75]}, "like": {"auc": [0.5, None]}})
    assert record.mean("click", "auc") == 0.625
    assert record.mean("click", "auc", "valid") == pytest.approx(0.635)
    assert record.mean("like", "auc") is None
    assert record.mean("click", "rmse") is None
    assert record.mean("share", "auc") is None
