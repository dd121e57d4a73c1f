from __future__ import annotations

import pytest

from mtbench.board import resamples
from mtbench.errors import MTBenchError
from mtbench.evaluation import predictions
from mtbench.evaluation.resampling import COUNT, resample
from mtbench.record import store
from mtbench.registry import Registry

REGISTRY = Registry.load()


def test_what_is_filled_in_is_read_again(make_predicted, tmp_path):
    folder = tmp_path / "records"
    written = make_predicted()
    stem = written.record.file_stem
    assert resamples.fill(folder, REGISTRY) == ([], [stem], {})
    assert resamples.fill(folder, REGISTRY) == ([stem], [], {})
    found, problems = resamples.read_all(folder)
    assert problems == []
    assert found.keys() == {stem}
    assert found[stem].predictions == written.record.predictions.sha256
    table = predictions.read(written.path.with_suffix(".parquet"))
    metrics = {"auc": REGISTRY.metric("auc")}
    made = resample(table, written.record.recipe.tasks, metrics)
    assert made.model_dump().items() <= found[stem].model_dump().items()
    assert len(made.tasks["click"].values) == made.count == COUNT
    good, wrong = store.read_all(folder)
    assert [each.record.file_stem for each in good] == [stem]
    assert wrong == []


def test_the_same_predictions_give_the_same_bytes(make_predicted, tmp_path):
    written = make_predicted()
    paths = [resamples.write(resamples.make(written, REGISTRY), tmp_path / name) for name in "ab"]
    assert paths[0].name == paths[1].name
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].parent.name == "resamples"
    assert paths[0].name.startswith(f"{written.record.file_stem}.")


def test_other_files_are_problems_and_made_again(make_predicted, tmp_path):
    folder = tmp_path / "records"
    written = make_predicted()
    path = resamples.write(resamples.make(written, REGISTRY), folder)
    content = path.read_text()
    path.write_text(content.replace("0.7", "0.6", 1))
    (path.parent / "x.json").write_text("{}")
    found, problems = resamples.read_all(folder)
    assert found == {}
    assert [problem.split(":")[0] for problem in problems] == [str(path), str(path.parent / "x.json")]
    assert "hash of its content" in problems[0]
    assert "not resamples" in problems[1]
    assert resamples.fill(folder, REGISTRY).made == [written.record.file_stem]
    assert path.read_text() == content


def test_a_task_that_lacks_values_is_a_problem(make_predicted, tmp_path):
    made = resamples.make(make_predicted(), REGISTRY)
    short = made.tasks["buy"].model_copy(update={"values": [0.5]})
    path = resamples.write(made.model_copy(update={"tasks": made.tasks | {"buy": short}}), tmp_path / "records")
    found, problems = resamples.read_all(tmp_path / "records")
    assert found == {}
    assert problems == [f"{path}: not resamples: Value error, task 'buy' has 1 values of 1000 resamples; delete it"]


def test_a_second_content_of_a_record_is_a_problem(make_predicted, tmp_path):
    written = make_predicted()
    made = resamples.make(written, REGISTRY)
    resamples.write(made, tmp_path / "records")
    resamples.write(made.model_copy(update={"draws": "other"}), tmp_path / "records")
    found, problems = resamples.read_all(tmp_path / "records")
    assert len(found) == 1
    assert "second resamples" in problems[0]


def test_records_whose_predictions_are_missing_or_others_are_named(make_predicted, tmp_path):
    folder = tmp_path / "records"
    missing, changed, good = (make_predicted(model) for model in ("mmoe", "ple", "cgc"))
    missing.path.with_suffix(".parquet").unlink()
    predictions.write(
        [predictions.read(good.path.with_suffix(".parquet")).slice(10)], changed.path.with_suffix(".parquet")
    )
    filled = resamples.fill(folder, REGISTRY)
    assert filled.made == [good.record.file_stem]
    assert "there is no such file" in filled.lacking[missing.record.file_stem]
    assert "not the predictions of the record" in filled.lacking[changed.record.file_stem]


def test_another_version_of_the_metric_is_refused(make_predicted, make_record):
    metrics = make_record().recipe.model_dump()["metrics"]
    metrics["auc"]["version"] = 2
    with pytest.raises(MTBenchError, match="version 2 of the metric 'auc', but version 1 is installed"):
        resamples.make(make_predicted(metrics=metrics), REGISTRY)


def test_resamples_of_a_record_are_made_once(make_predicted, tmp_path):
    written = make_predicted()
    first = resamples.read_or_make(written, REGISTRY)
    written.path.with_suffix(".parquet").unlink()
    assert resamples.read_or_make(written, REGISTRY) == first
    assert resamples.read_all(tmp_path / "records")[0] == {written.record.file_stem: first}
