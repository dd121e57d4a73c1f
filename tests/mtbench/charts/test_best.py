from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtbench.charts.best import best_so_far, undominated


def test_the_best_so_far_never_falls_and_is_none_until_there_is_one():
    assert best_so_far([None, 0.2, None, 0.1, 0.3, 0.3]) == [None, 0.2, 0.2, 0.2, 0.3, 0.3]
    assert best_so_far([]) == []


@given(arrays(float, st.tuples(st.integers(0, 7), st.integers(1, 3)), elements=st.integers(-2, 2).map(float)))
def test_a_point_is_undominated_if_no_other_is_as_good_everywhere_and_better_somewhere(points):
    expected = [
        not any(
            all(a >= b for a, b in zip(other, point, strict=True))
            and any(a > b for a, b in zip(other, point, strict=True))
            for other in points
        )
        for point in points
    ]
    assert undominated(points).tolist() == expected
