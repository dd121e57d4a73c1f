from __future__ import annotations

import runpy
from pathlib import Path

import pytest

PERFORMANCE = Path(__file__).parents[2] / "performance"


@pytest.fixture(scope="module")
def load():
    """Run a script by its name; as when it is a script, it can import those beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PERFORMANCE))
        yield lambda name: runpy.run_path(str(PERFORMANCE / f"{name}.py"))
