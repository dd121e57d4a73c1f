from __future__ import annotations

import pytest
from pydantic import ValidationError

from mtbench.evaluation.replicates import Replicates

CONTENT = {"clusters": "users", "number": 5, "draws": "ab", "count": 3}


def test_each_task_has_a_value_or_none_for_every_resample():
    tasks = {"click": {"metric": "auc", "values": [0.7, None, 0.6]}}
    assert Replicates(**CONTENT, tasks=tasks).tasks["click"].values == [0.7, None, 0.6]
    tasks["buy"] = {"metric": "auc", "values": [0.7, 0.6]}
    with pytest.raises(ValidationError, match="task 'buy' has 2 values of 3 resamples"):
        Replicates(**CONTENT, tasks=tasks)


@pytest.mark.parametrize("change", [{"number": 0}, {"clusters": "items"}, {"seed": 1}])
def test_what_cannot_be_is_refused(change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        Replicates(**CONTENT | change, tasks={})
