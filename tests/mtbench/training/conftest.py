from __future__ import annotations

import pytest

SMALL = {
    "dataset": {"name": "planted", "rows": 6000, "users": 300, "items": 100},
    "models": [{"name": "mmoe", "experts": 2, "expert_layers": [16], "tower_layers": [8], "embedding_dim": 4}],
    "seeds": 1,
    "training": {"max_epochs": 3, "batch_size": 512, "accelerator": "cpu"},
    "metrics": ["auc", "logloss"],
}


@pytest.fixture
def small() -> dict:
    """Return an experiment that trains in about a second."""
    return {key: dict(value) if isinstance(value, dict) else value for key, value in SMALL.items()}
