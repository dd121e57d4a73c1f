from __future__ import annotations

import inspect
import warnings

import pytest

from mtbench import hookspecs
from mtbench.registry import PLUGIN_KINDS, Registry

HOOKS = {name: function for name, function in vars(hookspecs).items() if name.startswith("mtbench_")}
OBSERVING = {"mtbench_callbacks": ["experiment"], "mtbench_record_written": ["record", "path"]}


def test_every_kind_has_its_hook_and_every_hook_its_sentence():
    assert set(HOOKS) == {f"mtbench_{kind}s" for kind in PLUGIN_KINDS} | set(OBSERVING)
    for name, function in HOOKS.items():
        assert list(inspect.signature(function).parameters) == OBSERVING.get(name, ["register"])
        assert inspect.getdoc(function).strip().endswith(".")


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_what_a_hook_registers_is_of_its_kind_alone(site, kind):
    site.install("acme", f'@hookimpl\ndef mtbench_{kind}s(register): register("only-mine", "acme:Mine")\n')
    registry = Registry.load()
    assert [each for each in PLUGIN_KINDS if "only-mine" in registry.names(each)] == [kind]


def test_a_hook_may_leave_out_arguments(site):
    site.install("acme", "seen = []\n@hookimpl\ndef mtbench_record_written(path): seen.append(path)\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Registry.load().record_written("a record", "a path")
    import acme  # noqa: PLC0415 - installed by this test

    assert acme.seen == ["a path"]
