from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the same sums everywhere
# a shell makes what it runs in the background ignore Ctrl-C, and so would the commands that tests interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)

# Processes that tests start import the test modules by their place below the root; the installed package comes first.
sys.path.append(str(Path(__file__).parents[1]))

settings.register_profile("mtbench", deadline=None)
settings.load_profile("mtbench")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Keep the tests, and the processes that they start, out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
