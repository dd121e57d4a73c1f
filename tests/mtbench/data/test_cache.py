from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbench.data import cache
from mtbench.errors import MTBenchError, StorageError

RECIPE = {"b": [1, 2.5, None], "a": "ä"}


class Builder:
    def __init__(self):
        self.calls = 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "column.npy").write_bytes(b"12345678")
        (folder / "meta.json").write_text("{}")
        (folder / "parts").mkdir()
        (folder / "parts" / "0.npy").write_bytes(b"abc")


@pytest.fixture
def build(cache_folder):  # noqa: ARG001 - the cache comes first
    return Builder()


def test_what_is_there_whole_is_not_built_again(build, cache_folder):
    folder = cache.make_entry("data", RECIPE, build)
    assert folder == cache.make_entry("data", dict(reversed(RECIPE.items())), build)
    assert build.calls == 1
    assert (folder / "column.npy").read_bytes() == b"12345678"
    assert [path.parent.name for path in cache_folder.rglob("column.npy")] == [cache.hash_json(RECIPE)]


def test_another_recipe_or_kind_is_another_entry(build):
    folders = {cache.make_entry(*key, build) for key in (("data", 1), ("data", 2), ("data", "1"), ("inputs", 1))}
    assert build.calls == len(folders) == 4


def shorten(folder):
    (folder / "column.npy").write_bytes(b"123")


def lengthen(folder):
    with (folder / "column.npy").open("ab") as file:
        file.write(b"9")


def remove(folder):
    (folder / "meta.json").unlink()


def forget(folder):
    (folder / cache.MANIFEST).unlink()


def flip(name):
    """Damage one byte of a file and leave its size."""

    def damage(folder):
        path = folder / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        changed = path.stat().st_ctime_ns
        while path.stat().st_ctime_ns == changed:  # the clock of a file system is coarse
            path.write_bytes(content)

    return damage


def flip_and_keep_the_time(folder):
    path = folder / "column.npy"
    stat = path.stat()
    flip("column.npy")(folder)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replaced_by(text):
    return lambda folder: (folder / cache.MANIFEST).write_bytes(text)


FLIPS = [flip_and_keep_the_time, *(flip(name) for name in ("column.npy", "meta.json", "parts/0.npy"))]
MANIFESTS = [
    b"",
    b"\xff\x00garbage",
    b"{}",
    b"[]",
    b"null",
    b'{"column.npy":8,"meta.json":2}',
    *(b'{"files":%b}' % files for files in (b"[]", b"1", b'{"meta.json":8}', b'{"meta.json":[]}', b'{"meta.json":""}')),
    b'{"files":{"a\\u0000b":["",1,1,1]}}',
    b'{"files":{"../x":["",1,1,1]}}',
]


@pytest.mark.parametrize(
    "damage", [shorten, lengthen, remove, forget, *FLIPS, *(replaced_by(text) for text in MANIFESTS)]
)
def test_a_damaged_entry_is_made_again(build, damage):
    folder = cache.make_entry("data", RECIPE, build)
    damage(folder)
    assert cache.make_entry("data", RECIPE, build) == folder
    assert build.calls == 2
    assert (folder / "column.npy").read_bytes() == b"12345678"
    assert (folder / "parts" / "0.npy").read_bytes() == b"abc"
    cache.make_entry("data", RECIPE, build)
    assert build.calls == 2


@pytest.fixture
def read_files(monkeypatch):
    """Record the names of the files whose digests are taken."""
    names, file_digest = [], hashlib.file_digest

    def recorded(file, algorithm):
        names.append(Path(file.name).name)
        return file_digest(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", recorded)
    return names


def test_an_entry_that_was_copied_away_and_back_is_kept_and_read_once(build, tmp_path, read_files):
    folder = cache.make_entry("data", RECIPE, build)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copy)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder, copy_function=shutil.copy)
    read_files.clear()
    for _ in range(2):
        cache.make_entry("data", RECIPE, build)
        assert sorted(read_files) == ["0.npy", "column.npy", "meta.json"]
    assert build.calls == 1
    flip("parts/0.npy")(folder)
    cache.make_entry("data", RECIPE, build)
    assert build.calls == 2


def test_an_entry_that_cannot_be_stamped_anew_is_kept(build, monkeypatch):
    folder = cache.make_entry("data", RECIPE, build)
    manifest = (folder / cache.MANIFEST).read_bytes()
    os.utime(folder / "column.npy", ns=(0, 0))

    def fail(*_):
        raise OSError("read-only file system")

    monkeypatch.setattr(Path, "write_text", fail)
    assert cache.make_entry("data", RECIPE, build) == folder
    assert build.calls == 1
    assert (folder / cache.MANIFEST).read_bytes() == manifest


def test_a_builder_that_fails_leaves_nothing(build, cache_folder):
    def fail(folder):
        build(folder)
        raise MTBenchError("a leak")

    with pytest.raises(MTBenchError, match="a leak"):
        cache.make_entry("data", RECIPE, fail)
    assert list((cache_folder / "data").iterdir()) == []
    cache.make_entry("data", RECIPE, build)


CHILD = """
import os, sys, time
from pathlib import Path
from mtbench.data import cache
def build(folder):
    with (cache.cache_root() / "builders").open("a") as file:
        file.write("one\\n")
    (folder / "column.npy").write_bytes(b"12345678")
    if sys.argv[1] == "die":
        os.kill(os.getpid(), 9)
    time.sleep(float(sys.argv[1]))
    (folder / "meta.json").write_text("{}")
folder = cache.make_entry("data", {"b": [1, 2.5, None], "a": "ä"}, build)
assert sorted(path.name for path in folder.iterdir()) == ["column.npy", "manifest.json", "meta.json"]
"""


@pytest.mark.parametrize("recipe", [RECIPE, "another"])
def test_what_a_killed_builder_left_is_removed_by_the_next_one_of_whatever_entry(build, cache_folder, recipe):
    done = subprocess.run([sys.executable, "-c", CHILD, "die"], check=False)
    assert done.returncode == -9
    (left,) = (cache_folder / "data").iterdir()
    assert left.name.startswith(".part-")
    folder = cache.make_entry("data", recipe, build)
    assert build.calls == 1
    assert list((cache_folder / "data").iterdir()) == [folder]


def test_what_a_living_builder_has_made_so_far_stays(build, cache_folder):
    with subprocess.Popen([sys.executable, "-c", CHILD, "1"]) as child:
        while not list(cache_folder.glob("data/.part-*/column.npy")):
            assert child.poll() is None
        cache.make_entry("data", "another", build)
        assert child.wait() == 0


def test_an_entry_that_is_removed_while_it_is_read_is_named_with_a_remedy(build):
    folder = cache.make_entry("data", RECIPE, build)
    shutil.rmtree(folder)
    with pytest.raises(StorageError, match=r"column\.npy is no longer in the cache.*same command"), cache.reading():
        (folder / "column.npy").read_bytes()


def test_of_processes_that_want_the_same_entry_at_once_one_makes_it(build, cache_folder):
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, seconds], stderr=subprocess.PIPE)
        for seconds in ("0.3", "0.3", "0.6")
    ]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors.decode()
    assert [path.name for path in (cache_folder / "data").iterdir()] == [cache.hash_json(RECIPE)]
    assert (cache_folder / "builders").read_text() == "one\n"
    cache.make_entry("data", RECIPE, build)
    assert build.calls == 0


def test_a_cache_that_cannot_be_written_is_said_with_a_remedy(tmp_path, monkeypatch, build):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(MTBenchError, match=r"file/cache cannot be written: .*set MTBENCH_CACHE"):
        cache.make_entry("data", RECIPE, build)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a full disk needs root")
def test_a_full_disk_leaves_no_half_entry(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("tmpfs cannot be mounted here")
    monkeypatch.setenv("MTBENCH_CACHE", str(disk))

    def build(folder):
        with cache.writing():
            (folder / "column.npy").write_bytes(bytes(1 << 20))

    try:
        with pytest.raises(MTBenchError, match="No space left"):
            cache.make_entry("data", RECIPE, build)
        assert list((disk / "data").iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_users_cache_folder_is_used_unless_another_is_named(monkeypatch):
    monkeypatch.setenv("MTBENCH_CACHE", "")
    assert cache.cache_root().name == "mtbench"
    monkeypatch.setenv("MTBENCH_CACHE", "/elsewhere")
    assert cache.cache_root() == Path("/elsewhere")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_canonical_json_is_the_value_and_one_text(value):
    text = cache.dump_canonical_json(value)
    assert json.loads(text) == value
    assert cache.dump_canonical_json(json.loads(text)) == text


def test_the_content_hash_is_a_known_one():
    # sha256 of {"a":"ä","b":[1,2.5,null]}
    assert cache.dump_canonical_json(RECIPE) == '{"a":"ä","b":[1,2.5,null]}'
    assert cache.hash_json({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
