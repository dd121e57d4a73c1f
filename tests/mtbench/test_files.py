from __future__ import annotations

import errno
import hashlib
import math
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbench.errors import StorageError
from mtbench.files import dump_canonical_json, hash_file, hash_json, write_atomically

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.dictionaries(st.text(), VALUES))
def test_a_value_has_one_text_in_whatever_order_its_keys_were_set(value):
    turned = dict(reversed(value.items()))
    assert dump_canonical_json(value) == dump_canonical_json(turned)
    assert hash_json(value) == hash_json(turned)


def test_the_text_and_its_hash_are_those_of_the_format():
    text = '{"a":[1,2.5,null,true],"é":"ü"}'
    assert dump_canonical_json({"é": "ü", "a": (1, 2.5, None, True)}) == text
    assert hash_json({"é": "ü", "a": [1, 2.5, None, True]}) == hashlib.sha256(text.encode()).hexdigest()


def test_a_number_that_is_none_has_no_text():
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_canonical_json({"auc": math.nan})


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert hash_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_file_is_written_whole_with_its_folder_and_readable_by_all(tmp_path):
    path = tmp_path / "new" / "folder" / "file.json"
    write_atomically(path, lambda part: part.write_text("all of it"))
    assert path.read_text() == "all of it"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_half_way_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("before")

    def fail(part):
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=r"file\.json cannot be written: No space left on device; .*make room"):
        write_atomically(path, fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def _write_and_die(path, when):
    def fill(part):
        part.write_text("half")
        if when == "filling":
            os.kill(os.getpid(), signal.SIGKILL)

    if when == "naming":
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    write_atomically(path, fill)


@pytest.mark.parametrize("when", ["filling", "naming"])
def test_what_a_killed_process_was_writing_is_removed_by_the_next_that_writes_there(tmp_path, when):
    path = tmp_path / "file.json"
    path.write_text("before")
    killed = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(path, when))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 2
    write_atomically(tmp_path / "other.json", lambda part: part.write_text("whole"))
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "other.json"]


def test_what_another_process_is_writing_is_left_alone(tmp_path):
    def fill(part):
        code = "from mtbench.files import write_atomically; from pathlib import Path; import sys;"
        code += "write_atomically(Path(sys.argv[1]), lambda part: part.write_text('the other'))"
        subprocess.run([sys.executable, "-c", code, tmp_path / "other.json"], check=True)
        part.write_text("ours")

    write_atomically(tmp_path / "file.json", fill)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "file.json": "ours",
        "other.json": "the other",
    }
