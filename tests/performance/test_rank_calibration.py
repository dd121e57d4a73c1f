from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mtbench.evaluation.comparison import Sample


@pytest.fixture(scope="module")
def bench(load):
    return load("rank_calibration")


def test_models_have_the_areas_that_were_planted(bench):
    aucs = np.array([0.6, 0.8])
    setting = bench["Setting"](users=4000, rows=2, seeds_variance=1)
    drawn = bench["draw_board"](setting, np.random.default_rng(0), aucs, 2, 0.0)
    assert [np.mean(wins) for wins in drawn.wins] == pytest.approx(aucs, abs=0.015)


def test_seeds_vary_as_much_as_the_setting_says(bench):
    setting = bench["Setting"](users=100, rows=8)
    equal = np.array([0.72, 0.72])
    by_users, by_seeds = [], []
    varied = replace(setting, seeds_variance=3)
    deviation = bench["find_seeds_deviation"](varied)
    for number in range(300):
        rng = np.random.default_rng(number)
        first, second = bench["draw_board"](setting, rng, equal, 1).wins
        by_users.append(first[0].mean() - second[0].mean())
        ((*seeds,),) = bench["draw_board"](varied, rng, equal[:1], 4, deviation).wins
        by_seeds.append(np.var([wins.mean() for wins in seeds], ddof=1))
    # a seed has row noise of its own besides, so that it varies a little more
    assert 0.8 < np.mean(by_seeds) / np.var(by_users, ddof=1) / 3 < 1.4
    assert bench["find_seeds_deviation"](setting) == 0


def test_replicates_are_areas_of_repeated_rows(bench):
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(2, 30))
    label, user = rng.random(30) < 0.4, rng.integers(0, 6, 30)
    wins = [[each[label][:, None] > each[~label]] for each in scores]
    draws = rng.multinomial(6, np.full(6, 1 / 6), size=5)
    drawn = bench["Board"](user[label], user[~label], [[wins[0][0], wins[1][0]]])
    (found,) = bench["make_samples"](drawn, draws)
    areas = [[roc_auc_score(label, each, sample_weight=times[user]) for each in scores] for times in draws]
    assert found.replicates == pytest.approx(np.mean(areas, axis=1), abs=1e-5)
    assert found.seeds == pytest.approx([roc_auc_score(label, each) for each in scores])


def test_a_board_is_judged_by_the_truth(bench):
    aucs = np.array([0.8, 0.8, 0.7])

    def judged(means, width=1e-4):
        rng = np.random.default_rng(2)
        own = [Sample(np.full(5, mean), mean + width * rng.normal(size=300)) for mean in means]
        return bench["judge"](own, aucs, 100)

    everything = {"ranks": 1, "all_ranks": 1, "all_ties": 1, "ties": 1, "neighbours": 1, "effects": 1}
    assert judged([0.8, 0.8, 0.7]) == everything
    assert judged([0.8, 0.8, 0.7], 1) == everything | {"neighbours": 0}
    parted = judged([0.82, 0.8, 0.7])
    assert (parted["ranks"], parted["all_ranks"], parted["all_ties"], parted["ties"]) == (1, 1, 0, 0)
    assert parted["effects"] == pytest.approx(1 / 3)
    turned = judged([0.8, 0.7, 0.8])
    assert turned["ranks"] == pytest.approx(1 / 3)
    assert (turned["all_ranks"], turned["neighbours"]) == (0, 0)


def test_settings_that_stand_in_the_results_are_not_drawn_again(bench, tmp_path, capsys):
    settings = {"small": bench["Setting"](users=20, rows=4), "rows": bench["Setting"](60, 1, 0.4, 1, False)}
    spaces = bench["main"].__globals__
    spaces["SETTINGS"] = settings
    bench["main"](3, tmp_path)
    found = json.loads((tmp_path / "rank_calibration.json").read_text())
    assert list(found) == ["small", "rows"]
    assert all(0 <= share <= 1 for line in found.values() for share in line["shares"].values())
    found["small"]["shares"]["ranks"] = 0.123
    (tmp_path / "rank_calibration.json").write_text(json.dumps(found))
    bench["main"](3, tmp_path)
    assert "| small | 12.3% |" in (tmp_path / "rank_calibration.md").read_text()
    bench["main"](2, tmp_path)
    assert "12.3%" not in (tmp_path / "rank_calibration.md").read_text()
    assert "setting" in capsys.readouterr().out
