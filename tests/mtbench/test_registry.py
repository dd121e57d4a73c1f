from __future__ import annotations

import os
import re
import sys
import warnings

import pytest

from mtbench.errors import MTBenchError
from mtbench.registry import PluginKind, PluginWarning, Registry

LAUNCHER = """
@hookimpl
def mtbench_launchers(register):
    register("{name}", "{target}")
"""


CLOUD = """
from mtbench.tuning.launcher import Launcher
class Cloud(Launcher):
    '''Far away.'''
    def start(self, job): ...
"""


def launcher(name: str, target: str) -> str:
    return LAUNCHER.format(name=name, target=target)


def added(registry: Registry, kind: PluginKind):
    return [entry for entry in registry.registrations(kind) if entry.plugin.distribution != "mtbench"]


def names(registry: Registry, kind: PluginKind) -> list[str]:
    return [entry.name for entry in added(registry, kind)]


def plugin(registry: Registry, name: str):
    return next(each for each in registry.plugins if each.name == name)


def test_an_installed_plugin_is_found_and_its_class_imported_only_when_resolved(site):
    site.install("acme", launcher("cloud", "acme.cloud:Cloud"), version="2.3", cloud=CLOUD)
    registry = Registry.load()
    assert "acme.cloud" not in sys.modules
    assert names(registry, "launcher") == ["cloud"]
    [entry] = added(registry, "launcher")
    assert (entry.kind, entry.name, entry.target) == ("launcher", "cloud", "acme.cloud:Cloud")
    assert (entry.plugin.name, entry.plugin.distribution, entry.plugin.version) == ("acme", "acme-dist", "2.3")
    assert registry.resolve("launcher", "cloud") is sys.modules["acme.cloud"].Cloud


def test_a_class_can_be_registered_itself(site):
    site.install("acme", CLOUD + '@hookimpl\ndef mtbench_launchers(register): register("c", Cloud)\n')
    registry = Registry.load()
    assert added(registry, "launcher")[0].target == "acme:Cloud"
    assert registry.resolve("launcher", "c").__name__ == "Cloud"
    assert registry.summary("launcher", "c") == "Far away."


@pytest.mark.parametrize(
    ("source", "reason", "line"),
    [
        ("\nraise RuntimeError('first\\nsecond')\n", "RuntimeError: first second", 3),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'", 2),
        ("raise SystemExit('I leave')\n", "SystemExit: I leave", 2),
        ("\n\ndef broken(:\n", "SyntaxError: invalid syntax", 4),
    ],
)
def test_a_plugin_that_fails_at_import_is_skipped_and_its_place_named(site, source, reason, line):
    root = site.install("acme", source, version="3.1")
    site.install("good", launcher("cloud", "good:Cloud"))
    with pytest.warns(
        PluginWarning, match=re.escape(f"plugin 'acme' (acme-dist 3.1) is broken and was skipped: {reason}")
    ):
        registry = Registry.load()
    [broken] = registry.broken
    assert broken.name == "acme"
    assert broken.error == f"{reason} ({root / '__init__.py'}:{line})"
    assert names(registry, "launcher") == ["cloud"]
    assert not registry.problems


def test_an_entry_point_without_module_is_broken(site):
    site.declare("absent_module", "absent")
    with pytest.warns(PluginWarning):
        [broken] = Registry.load().broken
    assert broken.error == "ModuleNotFoundError: No module named 'absent_module'"


def test_a_failing_hook_undoes_all_registrations_of_its_plugin(site):
    source = """
@hookimpl
def mtbench_inputs(register):
    register("history", "acme:History")

@hookimpl
def mtbench_launchers(register):
    register("cloud", "acme:Cloud")
    raise KeyError("half way")

@hookimpl
def mtbench_record_written(record, path):
    raise AssertionError("never called")
"""
    root = site.install("acme", source)
    site.install("zeta", launcher("cloud", "zeta:Cloud"))
    with pytest.warns(PluginWarning):
        registry = Registry.load()
    assert names(registry, "input") == []
    assert [entry.plugin.name for entry in added(registry, "launcher")] == ["zeta"]
    assert registry.broken[0].error == f"KeyError: 'half way' ({root / '__init__.py'}:10)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.record_written(None, None)


def test_a_hook_that_wants_unknown_arguments_breaks_its_plugin(site):
    site.install("acme", "@hookimpl\ndef mtbench_models(registrar): pass\n")
    with pytest.warns(PluginWarning, match="registrar"):
        assert [each.name for each in Registry.load().broken] == ["acme"]


@pytest.mark.parametrize("name", ["", "Cloud", "my cloud", "-cloud", "wölke", "a/b", "cloud\\n"])
def test_a_name_must_be_a_slug(site, name):
    root = site.install("acme", launcher(name, "acme:Cloud"))
    with pytest.warns(PluginWarning, match="use lowercase letters"):
        registry = Registry.load()
    assert f"cannot name a launcher; use lowercase letters, digits, '-', '_' and '@' ({root / '__init__.py'}:5)" in (
        registry.broken[0].error
    )


@pytest.mark.parametrize("target", ['"acme"', '"acme:"', '"a b:C"', "None", "3", '"acme.Cloud"'])
def test_a_target_must_be_a_class_or_an_import_string(site, target):
    site.install("acme", f'@hookimpl\ndef mtbench_launchers(register): register("cloud", {target})\n')
    with pytest.warns(PluginWarning, match="neither a class nor 'package.module:Class'"):
        assert names(Registry.load(), "launcher") == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import absent_module\n", "ModuleNotFoundError: No module named 'absent_module'"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        (
            "from mtbench import hookimpl\n@hookimpl\ndef mtbench_models(register): register('A', int)\n",
            "'A' cannot name",
        ),
    ],
)
@pytest.mark.parametrize("named", ["argument", "environment"])
def test_a_plugin_file_that_was_named_and_does_not_load_is_an_error(tmp_path, monkeypatch, source, reason, named):
    path = tmp_path / "named.py"
    path.write_text(source)
    monkeypatch.setenv("MTBENCH_PLUGINS", str(path) if named == "environment" else "")
    with pytest.raises(
        MTBenchError, match=rf"^plugin file {re.escape(str(path))} does not load: .*{reason}.*named\.py:\d"
    ):
        Registry.load([path] if named == "argument" else [])


def test_two_plugins_with_one_name_are_an_error_that_names_both(site):
    site.install("acme", launcher("cloud", "acme:Cloud"), version="1.2")
    site.install("zeta", launcher("cloud", "zeta:Other"), version="0.4")
    with pytest.raises(MTBenchError) as caught:
        Registry.load()
    assert str(caught.value) == (
        "two launchers are named 'cloud': 'acme:Cloud' of plugin 'acme' (acme-dist 1.2) and 'zeta:Other' of plugin "
        "'zeta' (zeta-dist 0.4); rename one of them or remove one plugin"
    )
    lenient = Registry.load(check=False)
    assert lenient.problems == [str(caught.value)]
    assert not lenient.broken


def test_one_name_twice_in_one_plugin_is_an_error_and_one_name_of_two_kinds_is_none(site):
    twice = launcher("cloud", "acme:Cloud") + '    register("cloud", "acme:Cloud")\n'
    both = '@hookimpl\ndef mtbench_inputs(register): register("cloud", "acme:Cloud")\n'
    site.install("acme", twice + both)
    assert len(Registry.load(check=False).problems) == 1


def test_the_same_module_in_two_distributions_is_loaded_once(site):
    site.install("acme", launcher("cloud", "acme:Cloud"))
    site.declare("acme", "acme-fork")
    with pytest.warns(PluginWarning, match="'acme' .acme-fork 1.0. is broken .* another distribution has the same"):
        assert names(Registry.load(), "launcher") == ["cloud"]


def test_a_misspelt_hook_is_an_error_with_a_suggestion(site):
    site.install("acme", "@hookimpl\ndef mtbench_modles(register): pass\n")
    with pytest.raises(MTBenchError) as caught:
        Registry.load()
    assert str(caught.value) == (
        "plugin 'acme' (acme-dist 1.0): there is no hook 'mtbench_modles' (did you mean 'mtbench_models'?); "
        "rename the function 'mtbench_modles'"
    )


FILE = """
from mtbench.hookspecs import hookimpl
from mtbench.tuning.launcher import Launcher

class Cloud(Launcher):
    pass

@hookimpl
def mtbench_launchers(register):
    register("{name}", Cloud)
"""


@pytest.mark.usefixtures("site")
def test_single_files_come_from_the_argument_and_the_variable_each_once(tmp_path, monkeypatch):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(FILE.format(name=f"cloud-{folder}"))
    a, b = tmp_path / "a/mine.py", tmp_path / "b/mine.py"
    monkeypatch.setenv("MTBENCH_PLUGINS", f"{a}{os.pathsep}{b}{os.pathsep}")
    monkeypatch.chdir(tmp_path)
    registry = Registry.load([a.relative_to(tmp_path)])
    assert names(registry, "launcher") == ["cloud-a", "cloud-b"]
    assert registry.files == [a, b]
    assert not registry.broken
    assert plugin(registry, str(a)).distribution == "mine.py"
    assert plugin(registry, str(a)).version is None
    cloud = registry.resolve("launcher", "cloud-a")
    assert sys.modules[cloud.__module__].Cloud is cloud
    assert Registry.load([a]).resolve("launcher", "cloud-a") is cloud


@pytest.mark.usefixtures("site")
def test_a_failing_file_leaves_no_module_behind(tmp_path):
    (tmp_path / "mine.py").write_text("1 / 0\n")
    with pytest.raises(MTBenchError, match=rf"ZeroDivisionError: division by zero \({tmp_path}/mine.py:1\)"):
        Registry.load([tmp_path / "mine.py"])
    assert not [name for name in sys.modules if name.startswith("mtbench_plugin_mine")]


@pytest.mark.parametrize(("name", "what"), [("missing.py", "does not exist"), ("notes.txt", "is no Python file")])
@pytest.mark.usefixtures("site")
def test_a_plugin_file_that_is_no_python_file_is_an_error(tmp_path, name, what):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(MTBenchError, match=f"plugin file {tmp_path}/{name} {what}; check --plugin"):
        Registry.load([tmp_path / name])


def test_an_unknown_name_gets_a_suggestion_the_known_names_and_the_broken_plugins(site):
    site.install("acme", launcher("cloud", "acme:Cloud"))
    site.install("bad", "raise OSError('gone')\n")
    registry = Registry.load(check=False)
    with pytest.raises(
        MTBenchError,
        match=r"'clout' \(did you mean 'cloud'\?\); known launchers: .*cloud.*; broken plugin 'bad' .*OSError: gone",
    ):
        registry.resolve("launcher", "clout")
    with pytest.raises(MTBenchError, match=r"no kind 'launchers' \(did you mean 'launcher'\?\)"):
        registry.names("launchers")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("acme.absent:Cloud", "could not be imported from 'acme.absent:Cloud': ModuleNotFoundError"),
        ("acme:Absent", "could not be imported from 'acme:Absent': AttributeError"),
        ("acme.bad:Cloud", r"could not be imported from 'acme.bad:Cloud': ZeroDivisionError: .*acme/bad.py:1\)"),
        ("acme.leave:Cloud", "could not be imported from 'acme.leave:Cloud': SystemExit"),
        ("acme:Cloud", "'acme:Cloud' is no subclass of mtbench.Input"),
        ("acme:value", "'acme:value' is no subclass of mtbench.Input"),
    ],
)
def test_a_target_that_is_no_class_of_its_kind_is_an_error_that_names_the_plugin(site, target, reason):
    source = f'class Cloud: pass\nvalue = 3\n@hookimpl\ndef mtbench_inputs(register): register("history", "{target}")\n'
    site.install("acme", source, bad="1 / 0\n", leave="raise SystemExit\n")
    with pytest.raises(MTBenchError, match=rf"input 'history' of plugin 'acme' \(acme-dist 1.0\):? {reason}"):
        Registry.load().resolve("input", "history")


METRICS = """
@hookimpl
def mtbench_metrics(register):
    register("top@k", "acme.metric:Top")
    register("plain", "acme.metric:Plain")
"""
METRIC = """
from mtbench.evaluation.metric import Metric

class Plain(Metric): pass

class Top(Metric):
    def __init__(self, k):
        super().__init__()
        self.k = k
"""


def test_a_cutoff_is_part_of_a_metrics_name(site):
    site.install("acme", METRICS, metric=METRIC)
    registry = Registry.load()
    assert registry.metric("top@7").k == 7
    assert registry.metric("top@10").k == 10
    assert type(registry.metric("plain")).__name__ == "Plain"
    assert registry.resolve("metric", "top@7") is registry.resolve("metric", "top@k")
    for wrong in ("top@0", "top@-1", "top@x", "top@1.5", "top@", "top@010", "top@٣"):
        with pytest.raises(MTBenchError, match="the cutoff must be a positive integer, as in 'top@10'"):
            registry.metric(wrong)
    with pytest.raises(MTBenchError, match="write a number, as in 'top@10'"):
        registry.metric("top@k")
    with pytest.raises(MTBenchError, match=r"no metric 'top' \(did you mean 'top@k'"):
        registry.metric("top")
    with pytest.raises(MTBenchError, match="no metric 'plain@5'"):
        registry.metric("plain@5")


def test_a_summary_is_read_without_importing_anything(site):
    root = site.install("acme", launcher("cloud", "acme.deep.cloud:Cloud.Inner"))
    (root / "deep").mkdir()
    (root / "deep" / "__init__.py").write_text("raise AssertionError('imported')\n")
    source = 'raise OSError("imported")\nclass Cloud:\n  class Inner:\n    """\n    First line.\n\n    2nd.\n    """\n'
    (root / "deep" / "cloud.py").write_text(source)
    assert Registry.load().summary("launcher", "cloud") == "First line."


@pytest.mark.parametrize(
    "line",
    ["from acme.deep.cloud import Cloud", "from .deep.cloud import Cloud", "from .deep.cloud import Own as Cloud"],
)
def test_a_summary_is_that_of_the_class_where_a_module_imports_it(site, line):
    root = site.install("acme", launcher("cloud", "acme:Cloud") + f"def later():\n    {line}\n")
    (root / "deep").mkdir()
    (root / "deep" / "__init__.py").write_text("")
    (root / "deep" / "cloud.py").write_text(
        'class Cloud:\n    """First line."""\nclass Own(Cloud):\n    """First line."""\n'
    )
    assert Registry.load().summary("launcher", "cloud") == "First line."


@pytest.mark.parametrize(
    "target",
    ["acme:Absent", "acme.absent:Cloud", "absent.cloud:Cloud", "acme.bad:Cloud", "acme:Bare", "acme.round:Cloud"],
)
def test_a_summary_that_cannot_be_read_is_empty(site, target):
    site.install(
        "acme", launcher("cloud", target) + "class Bare: pass\n", bad="def (\n", round="from acme.round import Cloud\n"
    )
    assert Registry.load().summary("launcher", "cloud") == ""


def test_what_plugins_print_does_not_reach_stdout(site, capsys):
    site.install("acme", "print('hello')\n" + launcher("cloud", "acme.cloud:Cloud"), cloud="print('again')\n" + CLOUD)
    Registry.load().resolve("launcher", "cloud")
    assert capsys.readouterr() == ("", "hello\nagain\n")
