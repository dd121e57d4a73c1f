from __future__ import annotations

import inspect
import warnings

import pytest

from mtbench import hookspecs
from mtbench.registry import PLUGIN_KINDS, PluginWarning, Registry

HOOKS = {name: function for name, function in vars(hookspecs).items() if name.startswith("mtbench_")}
OBSERVING = {"mtbench_callbacks": ["experiment"], "mtbench_record_written": ["record", "path"]}


def test_every_kind_has_its_hook_and_every_hook_its_sentence():
    assert set(HOOKS) == {f"mtbench_{kind}s" for kind in PLUGIN_KINDS} | set(OBSERVING)
    for name, function in HOOKS.items():
        assert list(inspect.signature(function).parameters) == OBSERVING.get(name, ["register"])
        assert inspect.getdoc(function).endswith(("Since 0.1, stable.", "Since 0.1, provisional."))


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


OBSERVER = """
from pytorch_lightning import Callback
class Mine(Callback): pass
@hookimpl
def mtbench_callbacks(experiment): {callbacks}
@hookimpl
def mtbench_record_written(record, path): {written}
"""


def test_a_failing_observer_is_reported_and_the_others_still_observe(site):
    site.install("acme", OBSERVER.format(callbacks="raise ValueError(experiment)", written="1 / 0"))
    site.install("gamma", OBSERVER.format(callbacks="return [Mine(), 'no callback']", written="raise SystemExit"))
    site.install("zeta", OBSERVER.format(callbacks="return [Mine()]", written="record.append(path)"))
    registry = Registry.load()
    with pytest.warns(PluginWarning) as caught:
        callbacks = registry.callbacks("the experiment")
    assert [type(each).__module__ for each in callbacks] == ["zeta"]
    assert "plugin 'acme' (acme-dist 1.0) failed in mtbench_callbacks: ValueError: the experiment" in str(
        caught[0].message
    )
    assert "TypeError: 'no callback' is no Lightning callback" in str(caught[1].message)
    record = []
    with pytest.warns(PluginWarning) as caught:
        registry.record_written(record, "record.json")
    assert record == ["record.json"]
    assert ["'acme'" in str(caught[0].message), "'gamma'" in str(caught[1].message)] == [True, True]


def test_tracing_prints_every_hook_call_with_its_plugin(site, monkeypatch, capsys):
    monkeypatch.setenv("MTBENCH_TRACE_PLUGINS", "1")
    site.install("acme", '@hookimpl\ndef mtbench_launchers(register): raise ValueError("no")\n')
    Registry.load(check=False)
    lines = [line for line in capsys.readouterr().err.splitlines() if "'acme'" in line]
    assert lines == [
        "plugins: 'acme' (acme-dist 1.0): mtbench_launchers(register)",
        "plugins: 'acme' (acme-dist 1.0): mtbench_launchers raised ValueError('no')",
    ]
