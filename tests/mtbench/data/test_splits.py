from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mtbench.data.splits import (
    NAMES,
    TEST,
    TRAIN,
    VALID,
    WARMUP,
    assign,
    assign_chunks,
    fingerprint,
    hide_held_out,
    order,
    parse_official,
    warm_up,
)
from mtbench.errors import MTBenchError
from mtbench.schema import Split

TIMES = {
    "int": np.array([5, -3, 8, 0, 2, 9, -7, 4, 1, 6]),
    "extreme": np.array([0, -(2**63), 2**63 - 1, 1, 2, 3, 4, 5, 6, 7]),
    "unsigned": np.array([5, 0, 2**64 - 1, 3, 2, 9, 1, 4, 7, 6], np.uint64),
    "float": np.array([0.5, -0.25, 1e300, 0.0, -np.inf, 3.0, 4.0, 5.0, 6.0, 7.0]),
    "bytes": np.array([5, 3, 8, 0, 2, 9, 7, 4, 1, 6], np.uint8),
}
tied_times = st.lists(st.integers(-4, 12), min_size=12, max_size=60).map(np.array)


def official(text):
    return parse_official(np.array([{"r": "train", "v": "valid", "t": "test"}[letter] for letter in text], object))


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
def test_the_last_rows_are_test_and_those_before_them_valid(time):
    part = assign(Split(by="time", valid=0.2, test=0.3), 10, time, None)
    in_time = sorted(range(10), key=lambda row: time[row].item())
    assert [part[row] for row in in_time] == [TRAIN] * 5 + [VALID] * 2 + [TEST] * 3


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
def test_the_first_training_rows_warm_up(time):
    part = assign(Split(by="time", valid=0.1, test=0.1), 10, time, None)
    warm = warm_up(part, 0.5, time, 0)
    in_time = sorted(range(10), key=lambda row: time[row].item())
    assert [warm[row] for row in in_time] == [WARMUP] * 4 + [TRAIN] * 4 + [VALID, TEST]
    assert not (part == WARMUP).any(), "the argument is left as it was"


@given(tied_times, st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_equal_times_are_never_divided_and_the_shares_are_as_near_as_that_allows(time, valid, test):
    try:
        part = assign(Split(by="time", valid=valid, test=test), len(time), time, None)
    except MTBenchError:
        return
    assert time[part == TRAIN].max() < time[part == VALID].min()
    assert time[part == VALID].max() < time[part == TEST].min()
    possible = {int((time >= at).sum()) for at in time} | {0}
    wanted = round(test * len(time))
    assert abs((part == TEST).sum() - wanted) == min(abs(count - wanted) for count in possible)
    rest = time[part != TEST]
    possible = {int((rest >= at).sum()) for at in rest} | {0}
    wanted = round(valid * len(time))
    assert abs((part == VALID).sum() - wanted) == min(abs(count - wanted) for count in possible)


@given(st.integers(20, 300), st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(0, 5))
def test_a_random_split_has_the_shares_asked_for_and_follows_its_seed(rows, valid, test, seed):
    split = Split(by="random", valid=valid, test=test, seed=seed)
    part = assign(split, rows, np.arange(rows), None)
    assert (part == TEST).sum() == round(test * rows)
    assert (part == VALID).sum() == round(valid * rows)
    assert (part == assign(split, rows, None, None)).all()


def test_random_splits_differ_by_seed_and_ignore_the_order_of_rows():
    parts = [assign(Split(by="random", seed=seed), 10_000, None, None) for seed in range(3)]
    assert len({part.tobytes() for part in parts}) == 3
    positions = [np.flatnonzero(part == TEST).mean() for part in parts]
    assert positions == pytest.approx([5000] * 3, abs=400)  # of 1000 uniform rows the mean has a deviation of 91


def test_the_official_split_is_taken_as_it_is():
    part = assign(Split(by="official", valid=0.5), 6, np.arange(6)[::-1], official("tvrrvt"))
    assert part.tolist() == [TEST, VALID, TRAIN, TRAIN, VALID, TEST]


def test_an_official_split_without_valid_gives_the_last_training_rows():
    time = np.array([9, 1, 2, 8, 4, 5])
    part = assign(Split(by="official", valid=0.4), 6, time, official("trrrrr"))
    assert part.tolist() == [TEST, TRAIN, TRAIN, VALID, TRAIN, VALID]


def test_an_official_split_without_valid_and_time_gives_random_training_rows():
    names = official("r" * 900 + "t" * 100)
    part = assign(Split(by="official", valid=0.1), 1000, None, names)
    assert (part[900:] == TEST).all()
    assert (part == VALID).sum() == 90
    assert 300 < np.flatnonzero(part == VALID).mean() < 600
    assert (part == assign(Split(by="official", valid=0.1), 1000, None, names)).all()


@pytest.mark.parametrize(("found", "hint"), [("vaild", "did you mean 'valid'"), (None, "None"), ("Test", "'test'")])
def test_an_unknown_official_part_is_refused_and_never_trained_on(found, hint):
    names = np.array(["train", "test", found, "valid"], object)
    with pytest.raises(MTBenchError, match="row 13 ") as error:
        parse_official(names, first=10)
    assert hint in str(error.value)


@pytest.mark.parametrize(
    ("split", "time", "names", "message"),
    [
        (
            Split(by="random", valid=0.01, test=0.2),
            None,
            None,
            "no valid rows out of 10; change split.valid or split.test",
        ),
        (
            Split(by="random", valid=0.2, test=0.01),
            None,
            None,
            "no test rows out of 10; change split.valid or split.test",
        ),
        (Split(by="time"), np.zeros(10), None, "no valid rows out of 10"),
        (Split(by="time", valid=0.3, test=0.3), np.arange(10) // 5, None, "no train rows .*equal times"),
        (Split(by="official"), None, official("r" * 10), "no test rows out of 10; split by time or at random"),
        (Split(by="official"), None, official("t" * 10), "no train rows"),
    ],
)
def test_an_empty_part_is_an_error_with_a_remedy(split, time, names, message):
    with pytest.raises(MTBenchError, match=message):
        assign(split, 10, time, names)


@given(tied_times, st.floats(0.05, 0.9))
def test_warm_up_ends_before_training_begins(time, share):
    assume(len(np.unique(time)) > 3)
    part = np.where(time == time.max(), TEST, TRAIN).astype(np.int8)
    training = time[part == TRAIN]
    try:
        warm = warm_up(part, share, time, 0)
    except MTBenchError as error:
        assert "inputs.warmup" in str(error)  # noqa: PT017
        return
    assert time[warm == WARMUP].max() < time[warm == TRAIN].min()
    assert ((warm == TEST) == (part == TEST)).all()
    wanted = round(share * len(training))
    possible = {int((training < at).sum()) for at in training} | {len(training)}
    assert abs((warm == WARMUP).sum() - wanted) == min(abs(count - wanted) for count in possible)


def test_warm_up_without_time_is_a_seeded_share():
    part = np.array([TRAIN] * 100 + [VALID, TEST], np.int8)
    warm = warm_up(part, 0.4, None, 3)
    assert (warm == WARMUP).sum() == 40
    assert warm.tolist() == warm_up(part, 0.4, None, 3).tolist() != warm_up(part, 0.4, None, 4).tolist()
    assert warm_up(part, 0.0, None, 3) is part


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_a_warm_up_of_all_or_no_training_rows_is_refused(share):
    part = np.array([TRAIN] * 10 + [VALID, TEST], np.int8)
    time = np.array([0] * 10 + [1, 2])
    with pytest.raises(MTBenchError, match=r"inputs\.warmup .* leaves no (training|warm-up) rows out of 10"):
        warm_up(part, share, time, 0)


@st.composite
def timed_parts(draw):
    time = draw(st.lists(st.integers(-20, 40), min_size=6, max_size=80).map(lambda found: np.array(sorted(found))))
    cuts = draw(st.lists(st.integers(1, len(time) - 1), min_size=2, max_size=2, unique=True).map(sorted))
    warm = draw(st.integers(0, cuts[0] - 1))
    part = np.full(len(time), TRAIN, np.int8)
    part[cuts[0] : cuts[1]], part[cuts[1] :] = VALID, TEST
    part[time < time[warm]] = WARMUP
    part[: cuts[0]][part[: cuts[0]] != WARMUP] = TRAIN
    assume((part == TRAIN).any())
    shuffle = draw(st.permutations(range(len(time))))
    return time[shuffle], part[shuffle]


@given(timed_parts())
def test_a_row_sees_only_rows_of_earlier_time(timed):
    time, part = timed
    chunk = assign_chunks(part, time, 0)
    for row in np.flatnonzero(part == TRAIN):
        visible = chunk < chunk[row]
        assert (time[visible] < time[row]).all()
        assert (part[visible] <= TRAIN).all() or (part[visible] == WARMUP).any()
        assert not np.isin(part[visible], (VALID, TEST)).any()
        assert (chunk[(part == TRAIN) & (time == time[row])] == chunk[row]).all(), "equal times share a chunk"
    held_out = np.isin(part, (VALID, TEST))
    assert len(set(chunk[held_out])) == 1
    assert (chunk[~held_out] < chunk[held_out][0]).all(), "validation and test see all of training"
    assert set(chunk) == set(range(chunk.max() + 1)), "no chunk is empty"
    warm = part == WARMUP
    assert (chunk[warm] == 0).all()
    assert (chunk[~warm] > 0).all() or not warm.any()


@pytest.mark.parametrize(
    "time",
    [None, np.append(np.random.default_rng(1).permutation(800), np.random.default_rng(1).permutation(200) + 800)],
    ids=["no time", "distinct times"],
)
def test_chunks_have_equal_counts_about_as_long_as_validation_and_test(time):
    part = np.array([TRAIN] * 800 + [VALID] * 120 + [TEST] * 80, np.int8)
    chunk = assign_chunks(part, time, 0)
    assert np.bincount(chunk).tolist() == [100] * 8 + [200]


@st.composite
def parts_at_any_time(draw):
    rows = draw(st.integers(6, 80))
    time = np.array(draw(st.lists(st.integers(-20, 40), min_size=rows, max_size=rows)))
    part = np.array(draw(st.lists(st.sampled_from([TRAIN, TRAIN, TRAIN, VALID, TEST]), min_size=rows, max_size=rows)))
    assume(all((part == code).any() for code in (TRAIN, VALID, TEST)))
    if draw(st.booleans()):
        try:
            part = warm_up(part.astype(np.int8), 0.4, time, 0)
        except MTBenchError:
            assume(False)
    return time, part


@given(parts_at_any_time())
def test_a_row_held_out_from_among_training_rows_sees_what_a_training_row_of_its_time_would(timed):
    time, part = timed
    chunk = assign_chunks(part, time, 0)
    learned = (part == TRAIN) | (part == WARMUP)
    for code in (VALID, TEST):
        rows = np.flatnonzero(part == code)
        last = time[part == TRAIN].max()
        if (time[rows] >= last).all():
            assert (chunk[rows] > chunk[learned].max()).all()
            continue
        for row in rows:
            assert (time[learned & (chunk < chunk[row])] < time[row]).all(), "nothing from its future"
            alike = (part == TRAIN) & (time == time[row])
            assert (chunk[alike] == chunk[row]).all()
            assert time[row] <= last or chunk[row] > chunk[learned].max()


@given(parts_at_any_time(), st.data())
def test_no_chunk_of_a_part_depends_on_the_times_of_later_parts(timed, data):
    time, part = timed
    for code in (TEST, VALID):
        moved = np.where(part == code, data.draw(st.integers(-99, 99)) + 3 * time[::-1], time)
        earlier = (part != code) & (part != TEST)
        assert (assign_chunks(part, moved, 0)[earlier] == assign_chunks(part, time, 0)[earlier]).all()
        time = moved


def test_without_time_held_out_rows_come_last_and_warm_up_first():
    part = np.random.default_rng(0).choice([TRAIN, VALID, TEST, WARMUP], 500).astype(np.int8)
    time, chunk = order(part, None, 3), assign_chunks(part, None, 3)
    held_out = (part == VALID) | (part == TEST)
    assert time[part == WARMUP].max() < time[part == TRAIN].min()
    assert time[~held_out].max() < time[held_out].min()
    assert len(set(time.tolist())) == 500
    assert set(chunk[held_out]) == {chunk.max()}
    assert chunk[~held_out].max() < chunk.max()


def test_held_out_chunks_are_hidden_where_training_rows_would_see_them():
    chunk, part = np.array([0, 1, 1, 2, 1, 2, 3]), np.array([TRAIN, TRAIN, VALID, TRAIN, TEST, TEST, VALID])
    assert hide_held_out(chunk, part).tolist() == [0, 1, ~1, 2, ~1, ~2, 3]


def test_chunks_without_time_follow_the_seed_not_the_rows():
    part = np.array([TRAIN] * 8000 + [VALID] * 1000 + [TEST] * 1000, np.int8)
    chunk = assign_chunks(part, None, 0)
    assert (chunk == assign_chunks(part, None, 0)).all()
    assert (chunk != assign_chunks(part, None, 1)).any()
    assert abs(np.corrcoef(chunk[:8000], np.arange(8000))[0, 1]) < 0.05


def test_parts_are_named_in_the_order_of_their_codes():
    assert [NAMES[code] for code in (TRAIN, VALID, TEST)] == ["train", "valid", "test"]
    assert all(one < other for one, other in pairwise((TRAIN, VALID, TEST, WARMUP)))


def test_the_fingerprint_is_of_the_set_of_rows(monkeypatch):
    monkeypatch.setattr("mtbench.data.scratch.BLOCK", 100)
    part = np.full(301, VALID)
    part[[300, 2, 5]] = TRAIN
    expected = hashlib.sha256(b"".join(row.to_bytes(8, "little") for row in (2, 5, 300))).hexdigest()
    assert fingerprint(part, TRAIN) == expected
