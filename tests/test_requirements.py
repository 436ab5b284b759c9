"""What is installed is pinned with hashes, in the versions of constraints.txt, for every Python that is supported."""

import re
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def pins(version):
    """Of constraints/<version>.txt: version and number of hashes by name."""
    text = (ROOT / "constraints" / f"{version}.txt").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        pinned = re.match(r"([\w.-]+)==(\S+)", line)
        if pinned:
            found[pinned[1]] = pinned[2], line.count("--hash=sha256:")
        else:
            assert not line or line.startswith("#"), line
    return found


def constraints(version):
    """The pins of constraints.txt that hold for a Python on Linux."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        pin, _, marker = line.partition(";")
        environment = {"python_version": version, "python_full_version": f"{version}.0", "sys_platform": "linux"}
        if pin and not pin.startswith("#") and (not marker or Marker(marker).evaluate(environment)):
            name, _, pinned = pin.strip().partition("==")
            found[canonicalize_name(name)] = pinned
    return found


@pytest.mark.parametrize("version", PYTHONS)
def test_every_pin_has_hashes_and_the_version_of_the_constraints(version):
    pinned = pins(version)
    assert {name: hashes for name, (_, hashes) in pinned.items() if not hashes} == {}
    expected = constraints(version)
    assert {name: pin for name, (pin, _) in pinned.items() if expected.get(name, pin) != pin} == {}
    assert [name for name in pinned if name not in expected] == []


@pytest.mark.parametrize("version", PYTHONS)
def test_every_dependency_of_run_and_test_is_pinned_within_its_limits(version):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and later")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins(version)
    for text in (*project["dependencies"], *project["optional-dependencies"]["test"]):
        requirement = Requirement(text)
        pin, _ = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), text


def test_no_file_names_a_registry():
    files = [ROOT / "constraints.txt", *(ROOT / "constraints").iterdir()]
    assert len(files) == 1 + len(PYTHONS)
    assert [path.name for path in files if "://" in path.read_text() or "index-url" in path.read_text()] == []
