"""environment.yml, pyproject.toml and the lock say the same.

Nothing here asks a conda channel: rattler parses the specs as conda does.
"""

import re
import tomllib
from pathlib import Path

import pytest
import rattler
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Name on PyPI -> name on conda-forge, where they differ.
CONDA_NAMES = {"duckdb": "python-duckdb", "jupyter-client": "jupyter_client"}
CONDA_ONLY = {"python", "pip"}


def conda() -> dict[str, str]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    parts = (entry.partition(" ") for entry in listed if isinstance(entry, str))
    return {name: spec for name, _, spec in parts}


def pypi() -> dict[str, SpecifierSet]:
    found = {"python": SpecifierSet(PYPROJECT["project"]["requires-python"])}
    for line in PYPROJECT["project"]["dependencies"]:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        found[CONDA_NAMES.get(name, name)] = requirement.specifier
    return found


def locked() -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK, re.MULTILINE))


def test_conda_and_pypi_name_the_same_packages():
    assert set(conda()) - CONDA_ONLY == set(pypi()) - CONDA_ONLY


@pytest.mark.parametrize("name", sorted(pypi()))
def test_conda_and_pypi_give_the_same_bounds(name):
    assert SpecifierSet(conda()[name].replace(" ", "")) == pypi()[name]


@pytest.mark.parametrize("name", sorted(set(conda()) - CONDA_ONLY))
def test_the_locked_version_is_one_that_conda_would_take(name):
    on_pypi = {there: here for here, there in CONDA_NAMES.items()}.get(name, name)
    spec = rattler.MatchSpec(f"{name} {conda()[name]}".strip(), strict=True)
    record = rattler.PackageRecord(
        name, locked()[on_pypi], rattler.BuildString("0"), 0, "linux-64", arch=None, platform=None
    )
    assert spec.matches(record)


def test_the_environment_installs_the_project_itself():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert {"pip": ["-e ."]} in listed


def test_the_lock_satisfies_what_the_project_asks_for():
    versions = locked()
    groups = [PYPROJECT["project"]["dependencies"], PYPROJECT["dependency-groups"]["dev"]]
    for line in (line for group in groups for line in group):
        requirement = Requirement(line)
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), line


def test_the_build_needs_nothing_but_the_lock():
    for line in PYPROJECT["build-system"]["requires"]:
        assert canonicalize_name(Requirement(line).name) in locked()


def test_the_lock_names_no_host():
    assert "://" not in LOCK
    assert "index-url" not in LOCK


def test_everything_locked_has_hashes():
    for entry in re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_lock_is_for_every_platform():
    markers = re.findall(r"^[\w.-]+==\S+ ; ([^\\\n]+)", LOCK, re.MULTILINE)
    assert any("win32" in marker for marker in markers)
    for marker in markers:
        Marker(marker.strip())
