"""What is written down about working here agrees: commands, checks, packages, templates."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMMAND = "pip install tox && tox"
YAML = [
    ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml", *sorted((ROOT / ".github").rglob("*.yml")),
    *sorted((ROOT / "configs").rglob("*.yaml")),
]  # fmt: skip


def workflow() -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["tox"]


def tox_commands() -> list[str]:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    return tox["testenv"]["commands"].split("\n")[1:]


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_yaml_file_is_a_mapping(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_one_command_runs_all_checks_wherever_it_is_named():
    assert COMMAND in [step.get("run") for step in workflow()["steps"]]
    for page in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        assert COMMAND in (ROOT / page).read_text().splitlines(), page
    assert f"`{COMMAND}`" in (ROOT / ".github" / "pull_request_template.md").read_text()


def test_the_workflow_runs_the_pythons_that_the_package_names():
    prefix = "Programming Language :: Python :: "
    pythons = [name.removeprefix(prefix) for name in PROJECT["project"]["classifiers"] if name.startswith(prefix)]
    assert workflow()["strategy"]["matrix"]["python"] == pythons
    assert f"With Python {' or '.join(pythons)}" in (ROOT / "README.md").read_text()


def test_the_workflow_installs_what_tests_would_be_skipped_without():
    (install,) = (step["run"] for step in workflow()["steps"] if "apt-get install" in step.get("run", ""))
    wanted = re.findall(r"missing\+=\((\w+)\)", (ROOT / ".ci" / "run").read_text())
    assert {"postgresql", "chromium"} == set(wanted) <= set(install.split())


def test_a_commit_is_checked_with_the_commands_of_tox():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    *checks, tests = tox_commands()
    assert [hook["entry"] for hook in local["hooks"]] == checks
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    assert tests.startswith("pytest")


def test_every_package_that_an_installation_brings_is_pinned_at_a_version_that_it_allows():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(name): Version(version) for name, _, version in (line.partition("==") for line in lines)}
    groups = PROJECT["dependency-groups"]
    for text in (*PROJECT["project"]["dependencies"], *groups["lint"], *groups["test"]):
        requirement = Requirement(text)
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, text


def test_the_citation_is_of_this_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format requires
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["keywords"] == PROJECT["project"]["keywords"]
    title = f"{PROJECT['project']['name']}: {PROJECT['project']['description']}"
    assert citation["title"].lower() == title.rstrip(".").lower()


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_a_form_for_issues_has_what_its_format_requires(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    assert all(part["attributes"]["label"] for part in form["body"])
    names = [part["id"] for part in form["body"]]
    assert len(set(names)) == len(names)
    assert {part["type"] for part in form["body"]} <= {"dropdown", "input", "textarea"}
    assert all(part["attributes"]["options"] for part in form["body"] if part["type"] == "dropdown")
