"""The kind of task and the metric on the page about plugins, one file, go the whole road: run, comparison, page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mtbench.record.store import read

PAGE = Path(__file__).parents[3] / "docs" / "plugins.md"
PLUGIN = re.search(r"```python\n(# positive\.py\n.*?)```", PAGE.read_text(), re.DOTALL).group(1)
EXPERIMENT = {
    "dataset": {
        "name": "table", "path": "visits.csv", "user": "user", "time": "time", "features": ["age", "page"],
        "tasks": ["click", {"name": "minutes", "kind": "positive-real", "given": "click"}],
    },
    "models": ["shared-bottom", "esmm", "constant", "logistic-regression"],
    "seeds": 2,
    "training": {"max_epochs": 4, "batch_size": 128, "learning_rate": 0.01, "accelerator": "cpu"},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run it in a folder of its own; return the folder, a function that calls mtbench there, and the records."""
    folder = tmp_path_factory.mktemp("fifth")
    rng = np.random.default_rng(0)
    age, page = rng.integers(6, size=3000), rng.integers(6, size=3000)
    minutes = rng.gamma(2, np.exp(0.3 * age - 0.4 * (page == 2)) / 2)
    table = pd.DataFrame({"user": rng.integers(50, size=3000), "time": np.arange(3000), "age": age, "page": page})
    table["click"] = 1 * (rng.random(3000) < 0.2 + 0.1 * page)
    table["minutes"] = minutes.round(6)
    table.to_csv(folder / "visits.csv", index=False)
    (folder / "positive.py").write_text(PLUGIN)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))

    def call(*arguments):
        command = [sys.executable, "-c", "from mtbench.cli import main; main()", *arguments]
        return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)

    ran = call("run", "experiment.yaml", "--plugin", "positive.py", "--json")
    assert ran.returncode == 0, ran.stderr
    records = [read(folder / json.loads(line)["path"]) for line in ran.stdout.splitlines()]
    return folder, call, {record.recipe.model.name: record for record in records}


def test_every_model_is_trained_and_judged_by_it(done):
    _, _, records = done
    assert records.keys() == set(EXPERIMENT["models"])
    for name, record in records.items():
        assert set(record.results["minutes"]) == {"order", "rmse", "mae"}
        assert "order" not in record.results["click"]
        assert record.recipe.tasks[1].metric == "order"
        assert (record.recipe.metrics["order"].best, record.recipe.metrics["order"].chance) == (1, 0.5)
        assert record.bounds["constant"]["minutes"]["order"].test == [0.5]
        if name != "constant":
            assert min(record.results["minutes"]["order"].test) > 0.6
    assert records["constant"].results["minutes"]["order"].test[0] == 0.5


def test_two_records_are_compared_by_it(done):
    _, call, records = done
    names = [records[model].file_stem for model in ("shared-bottom", "logistic-regression")]
    compared = call("compare", *names, "--plugin", "positive.py", "--json")
    assert compared.returncode == 0, compared.stderr
    minutes = json.loads(compared.stdout)["tasks"]["minutes"]
    assert minutes["metric"] == "order"
    assert minutes["effect"]["low"] < minutes["effect"]["mean"] < minutes["effect"]["high"]


def test_there_is_a_page_of_it_without_the_plugin(done):
    folder, call, records = done
    built = call("board", "build", "--out", "site")
    assert built.returncode == 0, built.stderr
    shown = f"{np.mean(records['shared-bottom'].results['minutes']['order'].test):.4f}"
    pages = [path.read_text() for path in (folder / "site").rglob("*.html")]
    assert any("minutes" in page and "order" in page and shown in page for page in pages)


def test_without_its_file_the_kind_is_unknown(done):
    _, call, _ = done
    ran = call("run", "experiment.yaml")
    assert ran.returncode == 1
    assert "there is no kind of task 'positive-real'; known kinds: binary, regression, ordinal, count" in ran.stderr


def test_a_label_that_it_does_not_allow_is_named(done):
    folder, call, _ = done
    broken = (folder / "visits.csv").read_text().splitlines()
    broken[7] = broken[7].rpartition(",")[0] + ",-2"
    (folder / "broken.csv").write_text("\n".join(broken))
    ran = call("run", "experiment.yaml", "--plugin", "positive.py", "--set", "dataset.path=broken.csv")
    assert ran.returncode == 1
    assert "column 'minutes', row 7 (line 8): '-2' is no positive-real label; write a number above 0" in ran.stderr


def test_editors_are_told_of_it(done):
    _, call, _ = done
    assert "positive-real" in call("schema", "--plugin", "positive.py").stdout
    assert "positive-real" not in call("schema").stdout
