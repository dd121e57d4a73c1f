"""How far ranks and intervals can be trusted: boards of models whose true order is known.

    python performance/rank_calibration.py

draws boards of six models with five seeds each, among them two pairs of exactly equal models; the others are 6 to 20
thousandths of AUC apart. Rows belong to users: what a user does to scores, and most of the noise, is shared between
models. A board is judged by the functions that judge records, from 300 resamples. An interval of ranks covers where it
meets the ranks that a model shares with its equals; to hold every one of them is more. Results go to
``results/rank_calibration.{json,md}`` setting by setting; settings that stand there are not drawn again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy import stats
from sheets import Sheet, publish

from mtbench.evaluation.comparison import LEVEL, Sample, differences, holm, rank_intervals
from mtbench.evaluation.resampling import draw

HERE = Path(__file__).resolve().parent
AUCS = np.array([0.738, 0.738, 0.732, 0.720, 0.700, 0.700])
SEEDS = 5
RESAMPLES = 300
PILOTS = 400


@dataclass(frozen=True)
class Setting:
    """Boards of one kind.

    ``rows`` is the mean per user; ``seeds_variance``, of a seed's AUC, is in units of the variance that the sampling of
    users gives the difference of two AUCs; without ``user_effects`` rows are the clusters.
    """

    users: int = 200
    rows: int = 8
    rate: float = 0.3
    seeds_variance: float = 0.0
    user_effects: bool = True


SETTINGS = {
    "200 users, seeds do not vary": Setting(),
    "200 users, seeds' variance 1": Setting(seeds_variance=1),
    "200 users, seeds' variance 3": Setting(seeds_variance=3),
    "200 users, seeds' variance 6": Setting(seeds_variance=6),
    "40 users, seeds' variance 1": Setting(users=40, rows=40, seeds_variance=1),
    "2 % positive, seeds' variance 1": Setting(users=400, rows=6, rate=0.02, seeds_variance=1),
    "1500 rows without users, seeds' variance 1": Setting(users=1500, rows=1, seeds_variance=1, user_effects=False),
}

# Variances of what a score is made of: of all models, and a model's own. A slope is what a user does to its positives.
NOISE, USERS, SLOPE = 0.6, 0.3, 0.08
OWN_NOISE, OWN_USERS, OWN_SLOPE = 0.02, 0.02, 0.005
SEEDS_SHARE = 0.3  # of a model's own noise, where seeds vary


@dataclass(frozen=True)
class Board:
    """Clusters of the positive and of the negative rows, and each model's and seed's wins, (positives, negatives)."""

    positive: np.ndarray
    negative: np.ndarray
    wins: list[list[np.ndarray]]


def draw_board(
    setting: Setting, rng: np.random.Generator, aucs: np.ndarray, seeds: int, deviation: float = 0.0
) -> Board:
    """Draw a board whose models have these AUCs over all users and seeds; ``deviation`` moves a seed's scores."""
    sizes = 1 + rng.poisson(setting.rows - 1, setting.users)
    user = np.repeat(np.arange(setting.users), sizes)
    label = rng.random(len(user)) < setting.rate
    effects = float(setting.user_effects)
    shared = (
        np.sqrt(NOISE) * rng.normal(size=len(user)) + effects * np.sqrt(USERS) * rng.normal(size=setting.users)[user]
    )
    slope = effects * np.sqrt(SLOPE) * rng.normal(size=setting.users)
    by_seed = SEEDS_SHARE if setting.seeds_variance else 0.0
    gaps = stats.norm.ppf(aucs) * np.sqrt(find_score_variance(setting) + deviation**2)
    wins = []
    for gap in gaps:
        own = effects * np.sqrt(OWN_USERS) * rng.normal(size=setting.users)
        own_slope = gap + slope + effects * np.sqrt(OWN_SLOPE) * rng.normal(size=setting.users)
        fixed = shared + own[user] + np.sqrt(OWN_NOISE * (1 - by_seed)) * rng.normal(size=len(user))
        wins.append([])
        for _ in range(seeds):
            noise = np.sqrt(OWN_NOISE * by_seed) * rng.normal(size=len(user))
            scores = fixed + noise + label * (own_slope[user] + deviation * rng.normal())
            wins[-1].append(scores[label][:, None] > scores[~label])
    return Board(user[label], user[~label], wins)


def find_score_variance(setting: Setting) -> float:
    """Return the variance of the difference between the scores of a positive and of a negative of other users."""
    users = 2 * (USERS + OWN_USERS) + SLOPE + OWN_SLOPE if setting.user_effects else 0.0
    return 2 * (NOISE + OWN_NOISE) + users


def find_seeds_deviation(setting: Setting) -> float:
    """Return how far seeds move the scores, so that their AUCs vary as much as the setting says."""
    rng = np.random.default_rng(0)
    middle = np.median(AUCS)
    pilots = [draw_board(setting, rng, np.array([middle, middle]), 1) for _ in range(PILOTS)]
    variance = np.var([drawn.wins[0][0].mean() - drawn.wins[1][0].mean() for drawn in pilots], ddof=1)
    slope = stats.norm.pdf(stats.norm.ppf(middle)) / np.sqrt(find_score_variance(setting))
    return float(np.sqrt(setting.seeds_variance * variance) / slope)


def make_samples(drawn: Board, draws: np.ndarray) -> list[Sample]:
    """Return what a record and its resamples say of each model; ``draws`` has shape (resamples, clusters)."""
    positive, negative = (draws[:, side].astype(np.float32) for side in (drawn.positive, drawn.negative))
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    of_models = []
    for wins in drawn.wins:
        mean = np.mean(wins, axis=0, dtype=np.float32)
        with np.errstate(invalid="ignore"):
            replicates = ((positive @ mean) * negative).sum(axis=1) / pairs
        of_models.append(Sample(np.array([won.mean() for won in wins]), replicates.astype(float)))
    return of_models


def judge(drawn: list[Sample], aucs: np.ndarray, clusters: int) -> dict[str, float]:
    """Return what holds of a board: shares of models, of equal pairs, of unequal neighbours and of all pairs."""
    effects = differences(drawn, clusters)
    adjusted = holm(effects.p)
    ranks = rank_intervals(effects.mean, adjusted, len(aucs))
    best = 1 + (aucs[:, None] < aucs).sum(axis=1)
    last = len(aucs) - (aucs[:, None] > aucs).sum(axis=1)
    covered = (ranks[:, 0] <= last) & (best <= ranks[:, 1])
    first, second = np.triu_indices(len(aucs), 1)
    truth = aucs[first] - aucs[second]
    levels = np.unique(aucs, return_inverse=True)[1]
    clear = (adjusted < LEVEL) & (effects.mean * truth >= 0)
    return {
        "ranks": covered.mean(),
        "all_ranks": covered.all(),
        "all_ties": ((ranks[:, 0] <= best) & (last <= ranks[:, 1])).all(),
        "ties": (adjusted >= LEVEL)[truth == 0].mean(),
        "neighbours": clear[np.abs(levels[first] - levels[second]) == 1].mean(),
        "effects": ((effects.low <= truth) & (truth <= effects.high)).mean(),
    }


def calibrate(name: str, setting: Setting, boards: int) -> dict[str, float]:
    """Return the means over boards."""
    deviation = find_seeds_deviation(setting)
    draws = np.stack([draw(setting.users, number) for number in range(RESAMPLES)])
    shares = []
    for number in range(boards):
        rng = np.random.default_rng((number, *name.encode()))
        drawn = draw_board(setting, rng, AUCS, SEEDS, deviation)
        shares.append(judge(make_samples(drawn, draws), AUCS, setting.users))
    return {key: float(np.mean([share[key] for share in shares])) for key in shares[0]}


HEADS = {
    "ranks": "rank intervals that cover",
    "all_ranks": "boards whose intervals all cover",
    "all_ties": "boards whose intervals all hold every tied rank",
    "ties": "equal models not separated",
    "neighbours": "unequal neighbours separated",
    "effects": "95 % intervals of effects that cover",
}


def make_sheet(calibrations: dict[str, Any]) -> Sheet:
    """Return the shares as a table."""
    lines = [[name, *(f"{line['shares'][key]:.1%}" for key in HEADS)] for name, line in calibrations.items()]
    return Sheet(["setting", *HEADS.values()], lines)


def main(
    boards: Annotated[int, typer.Option(min=1, help="Boards of each setting.")] = 400,
    results: Annotated[Path, typer.Option(help="Folder for the tables.")] = HERE / "results",
) -> None:
    """Measure how often ranks and intervals hold."""
    path = results / "rank_calibration.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    calibrations: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        about = asdict(setting) | {"boards": boards}
        same = known.get(name, {}).get("setting") == about
        shares = known[name]["shares"] if same else calibrate(name, setting, boards)
        calibrations[name] = {"setting": about, "shares": shares}
        publish(
            "rank_calibration",
            known | calibrations,
            [make_sheet(calibrations)],
            results,
            f"{boards} boards of each setting",
        )
    publish("rank_calibration", calibrations, [make_sheet(calibrations)], results, f"{boards} boards of each setting")


if __name__ == "__main__":
    typer.run(main)
