"""Environments: a virtual environment with the versions that a record names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mtbench.data.cache import cache_root
from mtbench.errors import MTBenchError
from mtbench.files import hash_json
from mtbench.record.form import NAME_DIGITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.record.form import Record
    from mtbench.registry import Registry

NO_PACKAGES = {"python", "platform", "machine", "cpus", "threads"}
"""What an environment says beside versions of packages."""
TORCH_INDEX = "https://download.pytorch.org/whl"
DONE = "requirements.txt"


def list_packages(record: Record) -> dict[str, str]:
    """Return the packages of a record's environment with their versions."""
    return {name: version for name, version in record.measured.environment.items() if name not in NO_PACKAGES}


def list_requirements(record: Record, registry: Registry) -> list[str]:
    """Return what to install for a record: its versions of packages, and mtbench and its plugins as they are here.

    A record is a stranger's word: nothing is taken from it but versions of packages that the code here asks for.
    Raises MTBenchError for a version that is none.
    """
    model, balancer = record.recipe.model.name, record.recipe.balancer
    asked = [*registry.resolve("model", model).packages]
    asked += registry.resolve("balancer", balancer.name).packages if balancer else ()
    own = sorted({"mtbench", *(plugin.distribution for plugin in registry.plugins if plugin.version)})
    known = {canonicalize_name(Requirement(line).name) for name in own for line in metadata.requires(name) or ()}
    known |= {canonicalize_name(name) for name in asked}
    pinned = {name: version for name, version in list_packages(record).items() if canonicalize_name(name) in known}
    unpinned = [name for name in asked if name not in pinned]
    try:
        versions = [str(Requirement(f"{name}=={version}")) for name, version in pinned.items()]
    except InvalidRequirement as error:
        raise MTBenchError(f"measured.environment: no version of a package: {str(error).splitlines()[0]}") from error
    return [*versions, *unpinned, *map(_find_source, own)]


def _find_source(distribution: str) -> str:
    """Return where a distribution that is installed here came from: a folder, or an index by its version."""
    installed = metadata.distribution(distribution)
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    folder = urlsplit(origin["url"]).path if "dir_info" in origin else ""
    return url2pathname(folder) or f"{distribution}=={installed.version}"


def find_python(version: str) -> str:
    """Return an interpreter of this version, major and minor, or else this one."""
    minor = ".".join(version.split(".")[:2])
    same = minor == ".".join(map(str, sys.version_info[:2]))
    return sys.executable if same else shutil.which(f"python{minor}") or sys.executable


def build(wanted: Sequence[str], interpreter: str) -> Path:
    """Return the Python of a virtual environment in the cache with these requirements, made if it is not there.

    torch with a build in its version (``+cpu``) is looked for on PyTorch's own index too.
    Raises MTBenchError, with the end of what pip said, if they cannot be installed.
    """
    folder = cache_root() / "environments" / hash_json([interpreter, *wanted])[:NAME_DIGITS]
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    with FileLock(f"{folder}.lock"):
        if (folder / DONE).is_file():
            return python
        _call([interpreter, "-m", "venv", "--clear", str(folder)])
        install = [str(python), "-m", "pip", "install"]
        for torch in (name for name in wanted if name.startswith("torch==") and "+" in name):
            index = f"{TORCH_INDEX}/{torch.partition('+')[2]}"
            _call([*install, "--no-deps", "--extra-index-url", index, torch])
        _call([*install, *(f"--editable={name}" if Path(name).is_absolute() else name for name in wanted)])
        (folder / DONE).write_text("".join(f"{name}\n" for name in wanted), encoding="utf-8")
    return python


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise MTBenchError(f"the record's environment cannot be made here: `{' '.join(command)}` failed:\n{said}")
