"""A database of a sweep that somebody has edited, or a disk has spoilt."""

# ruff: noqa: S608 - all statements are our own

from __future__ import annotations

import shutil
import sqlite3

import pytest

from mtbench.errors import MTBenchError
from mtbench.record.store import read_all
from mtbench.tuning.report import report
from mtbench.tuning.sweep import sweep
from tests.mtbench.tuning.conftest import DIAL, SWEEP
from tests.mtbench.tuning.test_sweep import HERE

LAST = "trial_id = (select max(trial_id) from trials)"
EDITS = {
    "value": f"delete from trial_values where {LAST}",
    "number": f"update trial_values set value = null where {LAST}",
    "infinite": f"update trial_values set value_type = 'INF_POS' where {LAST}",
    "text": f"update trial_values set value = 'much' where {LAST}",
    "far setting": f"update trial_params set param_value = 1e9 where {LAST}",
    "text for a setting": f"update trial_params set param_value = 'x' where {LAST}",
    "no settings": f"delete from trial_params where {LAST}",
    "range of a setting": f"update trial_params set distribution_json = '{{}}' where {LAST}",
    "broken note": f"update trial_user_attributes set value_json = '{{' where {LAST}",
    "other note": f"update trial_user_attributes set value_json = '\"x\"' where {LAST}",
    "some notes": f"delete from trial_user_attributes where key not in ('slot', 'worker') and {LAST}",
    "slot": f"update trial_user_attributes set value_json = '\"two\"' where key = 'slot' and {LAST}",
    "broken note of the study": "update study_user_attributes set value_json = 'nope'",
    "other note of the study": "update study_user_attributes set value_json = '[1]'",
    "state": f"update trials set state = 'WHAT' where {LAST}",
}


@pytest.fixture(scope="module")
def experiment():
    return SWEEP | {"models": ["dial"], "sweep": {"trials": 3, "heartbeat": 1, "launcher": "here"}}


@pytest.fixture(scope="module")
def template(experiment, tmp_path_factory):
    """Return a folder with a sweep that is done, and the plugins that it needs."""
    folder = tmp_path_factory.mktemp("edited")
    (folder / "launchers.py").write_text(HERE)
    (folder / "dial.py").write_text(DIAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTBENCH_PLUGINS", f"{folder / 'launchers.py'}:{folder / 'dial.py'}")
        sweep(experiment, name="e", folder=folder / "sweeps", records=folder / "records")
    return folder


@pytest.fixture
def again(template, experiment, tmp_path, monkeypatch):
    """Return a function that does the sweep again in a copy, and the file of its database."""
    monkeypatch.setenv("MTBENCH_PLUGINS", f"{template / 'launchers.py'}:{template / 'dial.py'}")
    shutil.copytree(template / "sweeps", tmp_path / "sweeps")

    def again():
        return sweep(experiment, name="e", folder=tmp_path / "sweeps", records=tmp_path / "records")

    return again, tmp_path / "sweeps" / "e" / "sweep.db"


def is_a_line(error: MTBenchError) -> bool:
    return len(str(error).splitlines()) == 1 and "pydantic" not in str(error)


@pytest.mark.parametrize("edit", EDITS)
def test_what_no_worker_writes_is_told_in_a_line(again, tmp_path, edit):
    do, file = again
    with sqlite3.connect(file) as connection:
        connection.execute(EDITS[edit])
    for act in (do, lambda: report("e", f"sqlite:///{file}", tmp_path / "page.html")):
        with pytest.raises(MTBenchError, match=r"sweep\.db") as caught:
            act()
        assert is_a_line(caught.value)
    assert not list(tmp_path.glob("records/*"))
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    "spoil", [lambda content: content[: len(content) // 2], lambda content: b"\x55" * len(content)]
)
def test_a_spoilt_file_is_told_in_a_line(again, tmp_path, spoil):
    do, file = again
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(MTBenchError, match=r"sweep\.db") as caught:
        do()
    assert is_a_line(caught.value)
    assert not list(tmp_path.glob("records/*"))


NOTES = ("trial_user_attributes", "trial_params", "trial_values", "trial_intermediate_values", "trial_heartbeats")

STUDY = ("study_user_attributes", "study_directions", "studies")


@pytest.mark.parametrize(
    "deletions",
    [
        [f"delete from {table} where {LAST}" for table in (*NOTES, "trials")],
        [
            f"delete from {table}"
            for table in (*NOTES, "trials", "study_user_attributes", "study_directions", "studies")
        ],
        ["drop table trials"],
    ],
)
def test_what_somebody_has_deleted_is_made_again_with_the_same_values(again, template, deletions):
    do, file = again
    with sqlite3.connect(file) as connection:
        for statement in deletions:
            connection.execute(statement)
    (done,) = do()
    ((whole, _),), _ = read_all(template / "records")
    assert done.record.results == whole.results
    assert [trial.settings for trial in done.record.measured.tuning.trials] == [
        trial.settings for trial in whole.measured.tuning.trials
    ]
