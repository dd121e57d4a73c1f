"""Whatever becomes of an experiment file, reading it gives a plan or an MTBenchError."""

from __future__ import annotations

import os
import random
import string
from pathlib import Path

import pytest
import yaml

from mtbench.errors import MTBenchError
from mtbench.experiment import load_experiment
from mtbench.plan import make_plan
from mtbench.registry import Registry

ROUNDS, MUTATIONS = 8, int(os.environ.get("MTBENCH_TEST_MUTATIONS", "50"))

FILES = {path.name: path.read_text() for path in sorted(Path(__file__).parents[2].glob("configs/*.yaml"))} | {
    "table": """
dataset:
  name: table
  path: ratings.csv
  user: member
  item: product
  time: posted_at
  row: id
  outcomes: [watched]
  truth: {liked: p_liked}
  separator: ;
  list_separator: ' '
  time_format: '%Y-%m-%d'
  ids: false
  tasks: [{name: liked}, {name: found_helpful, given: liked}, {name: stars, kind: regression, metric: mae}]
  features: [shelf, {name: length_ms, kind: numeric, log: true, of: item}, {name: tags, kind: multi, column: t}]
split: {by: time, valid: 0.1, test: 0.1, seed: 3}
models: [single-task, mmoe]
seeds: 3
""",
    "planted": """
dataset: {name: planted, rows: 2000, users: 100, items: 20, signal: graph, conflict: 0.5, seed: 1, ids: true}
models:
  - &base {name: mmoe, experts: 4, expert_layers: [64, 32], dropout: 0.1, embedding_dim: 8}
  - {<<: *base, experts: 2}
  - shared-bottom
seeds: [3, 1, 4]
split: {by: random}
training: {max_epochs: 2, patience: 1, learning_rate: 1e-2, weight_decay: 0.0, select: per-task, precision: 32-true}
balancer: {name: weighted, weights: {click: 2.0, like: 1.0}}
metrics: [auc, 'ndcg@10', 'hr@5', logloss]
inputs: {warmup: 0.2}
""",
    "kuairand": """
dataset: {name: kuairand-pure, release: late, statistics: true}
models: [ple]
split: {by: official}
""",
}  # fmt: skip

VALUES = [
    "", "~", "true", "yes", "0", "-1", "1.5", "''", "[]", "{}", "[~]", "{~: ~}", "{1: 2}", "{name: ~}", "x", "[x]",
    "{x: y}", ".nan", ".inf", "-.inf", "1e400", "1.0e+308", "9" * 400, "9" * 5000, "0x" + "F" * 5000, "1:30:00",
    "0b1", "0o9", "1_000", "2020-01-01", "2020-13-45", "2020-01-01T00:00:00Z", "2020-01-01 00:00:00.5 +99:99",
    "!!int ''", "!!int -", "!!float ''", "!!float x", "!!bool maybe", "!!null x", "!!timestamp x", "!!timestamp [x]",
    "!!binary x", "!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!map [a]", "!!map x", "!!seq {a: 1}", "!!str [a]",
    "!!str {=: a}", "!!python/object:os.system {}", "!!python/object/apply:os.system [ls]", "!!python/name:os.system",
    "!x y", "! y", "!<> y", "&a [*a]", "&a {x: *a}", "&a {*a : 1}", "*nowhere", "&a 1, &a 2", "{<<: {a: 1}}",
    "{<<: [1]}", "{<<: 3}", "&a {<<: *a}", "{<<: [{a: 1}, {b: 2}], <<: {a: 3}}", "{<<: {name: mmoe}, name: ple}",
    "<<", "=", "{=: 1}", "{= : 1, = : 2}", "{? [1] : 2}", "{? {a: 1} : 2}", "{name: mmoe, name: ple}",
    "{1: a, 0x1: b}", "{true: 1, 1: 2}", "{.nan: 1, .nan: 2}", '"\\ud800"', '{"\\ud800": 1}', '"\\0"', '"\\x1b[31m"',
    '"\\n"', "'" + "x" * 100_000 + "'", "{" + "x" * 1000 + ": 1}", "[" * 100 + "]" * 100, "[" * 3000 + "]" * 3000,
    "{a: " * 100 + "1" + "}" * 100, "[" * 200, "- - -", "a: b: c", "%YAML 9.9", "---", "ndcg@0", "ndcg@x", "ndcg@",
    "@", "ndcg@k", "ndcg@-1", "ndcg@" + "9" * 5000, "'@@10'", "mmoe", "planted", "table", "auc", "rmse",
    "{name: table}", "{name: table, path: x, tasks: [a]}", "{name: mmoe, experts: 0}", "[mmoe, mmoe]", "[0, 0]",
    "[auc, auc]", "{name: weighted, weights: {click: .nan}}", "{by: time, valid: 0.5, test: 0.5}",
    "{by: random, seed: -1}", "{give: [x]}", "[{name: a}, {name: a}]", "[{name: a, given: a}]",
    "[{name: a, given: b}]", "[{name: a, kind: regression, metric: auc}]",
]  # fmt: skip
MARK = "MARK0"
PATHS = [
    "dataset",
    "dataset.rows",
    "models.0.experts",
    "models.9",
    "models.-1.x",
    "seeds.0",
    "training.max_epochs",
    "x.y.z",
]


def tree_mutation(text: str, rng: random.Random) -> bytes:
    """Change one place of the tree: remove it, rename it, move it, wrap it, or put anything there."""
    tree = yaml.safe_load(text)
    place, key = rng.choice(list(_places(tree)))
    kind = rng.randrange(8)
    if kind == 0:
        del place[key]
    elif kind == 1 and isinstance(place, dict):
        place[rng.choice([_typo(str(key), rng), 3, None, True, 1.5])] = place.pop(key)
    elif kind == 2:
        other, slot = rng.choice(list(_places(tree)))
        place[key], other[slot] = other[slot], place[key]
    elif kind == 3:
        place[key] = rng.choice([str(place[key]), [place[key]], {"name": place[key]}, [place[key]] * 2, [[place[key]]]])
    else:
        place[key] = MARK
    try:
        dumped = yaml.safe_dump(tree, default_flow_style=rng.random() < 0.5, width=10**9)
    except RecursionError:
        return b"&a [*a]"
    return dumped.replace(MARK, rng.choice(VALUES)).encode(errors="surrogatepass")


def text_mutation(text: str, rng: random.Random) -> bytes:
    """Change some bytes: lost, doubled, moved, foreign."""
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.choice([1, 1, 5, 50]))
        kind = rng.randrange(6)
        if kind == 0:
            del data[at:to]
        elif kind == 1:
            data[at:at] = data[at:to]
        elif kind == 2:
            data[at:to] = bytes([rng.randrange(256)])
        elif kind == 3:
            data[at:at] = rng.choice(list(":-[]{}&*!|>'\"%@`#,?\n\t =~\r\0\x85\ufeff")).encode()
        elif kind == 4:
            lines = data.split(b"\n")
            rng.shuffle(lines)
            data = bytearray(b"\n".join(lines))
        else:
            data[:] = rng.choice(
                [b"", data[:at], b"\xef\xbb\xbf" + data, data.decode(errors="replace").encode("utf-16")]
            )
    return bytes(data)


def override(rng: random.Random) -> str:
    path = rng.choice([*PATHS, "", ".", "a" + ".a" * 3000, "models." + "9" * 5000, _typo(rng.choice(PATHS), rng)])
    return path + rng.choice(["=", "=", "=", ""]) + rng.choice(VALUES)


def _places(tree):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def _typo(name: str, rng: random.Random) -> str:
    at = rng.randrange(len(name))
    return name[:at] + rng.choice(string.ascii_letters + "_-. ") + name[at + rng.randrange(2) :]


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


@pytest.mark.parametrize("file", FILES)
def test_the_file_itself_is_valid(file, registry, tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(FILES[file])
    make_plan(load_experiment(path), registry)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_mutated_file_is_valid_or_a_mistake_of_the_user(seed, registry, tmp_path):
    rng = random.Random(seed)  # noqa: S311
    path = tmp_path / "experiment.yaml"
    outcomes = {"valid": 0, "mistake": 0}
    for number in range(MUTATIONS):
        content = rng.choice([tree_mutation, text_mutation])(rng.choice(list(FILES.values())), rng)
        overrides = [override(rng) for _ in range(rng.choice([0, 0, 1, 2]))]
        path.write_bytes(content)
        try:
            make_plan(load_experiment(path, overrides), registry)
        except MTBenchError as error:
            outcomes["mistake"] += 1
            message = str(error)
            assert message.startswith((str(path), "--set", "experiment")), message[:300]
        except BaseException as error:  # noqa: BLE001 - whatever it is
            pytest.fail(f"mutation {number} gives {error!r:.200} for {content[:2000]!r} with {overrides!r:.300}")
        else:
            outcomes["valid"] += 1
    assert min(outcomes.values()) > 0, outcomes
