"""Fair, extensible and verifiable benchmarks of multi-task recommenders.

This page is all that plugins and scripts import, beside the blocks of ``mtbench.nn``; ``__init__.pyi`` lists the names.
They are imported when they are first used: ``import mtbench`` loads neither torch nor pandas.
"""

from importlib import metadata

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    return metadata.version(__name__) if name == "__version__" else _load(name)
