"""Names in sources, nothing imported."""

import sys

import pytest

from qat import targets
from qat.errors import ConfigError
from qat.module_names import find_unknown_name

SOURCE = """
import json
from pathlib import Path as Folder
try:
    from numpy import array
except ImportError:
    array = None
a, (b, *c) = 1, (2, 3)
if a:
    def inner(): global late
class Kind: pass
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a package `some_names` with a module `parts`."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_names").mkdir()
    (tmp_path / "some_names" / "__init__.py").write_text("")

    def write(text):
        (tmp_path / "some_names" / "parts.py").write_text(text)

    return write


@pytest.mark.parametrize("name", ["json", "Folder", "array", "a", "b", "c", "inner", "Kind", "Kind.anything"])
def test_what_a_module_defines_is_there(name, module):
    module(SOURCE)
    assert find_unknown_name(f"some_names.parts.{name}") is None


def test_what_it_does_not_is_named_and_nothing_is_imported(module):
    module(SOURCE + "raise SystemExit\n")
    unknown = find_unknown_name("some_names.parts.Knid")
    assert (unknown.module, unknown.part) == ("some_names.parts", "Knid")
    with pytest.raises(
        ConfigError, match=r"^model\.target\._target_=some_names\.parts\.Knid: module some_names\.parts ha"
    ):
        targets.check_module("model.target", {"_target_": "some_names.parts.Knid"})
    assert find_unknown_name("some_names.nowhere.f").part == "nowhere"
    assert "some_names" not in sys.modules


@pytest.mark.parametrize("text", ["from json import *", "def __getattr__(name): ...", "globals().update(a=1)", "def ("])
def test_a_module_that_makes_names_as_it_runs_is_not_judged(text, module):
    module(text)
    assert find_unknown_name("some_names.parts.whatever") is None


@pytest.mark.parametrize(
    "name", ["numpy.random.default_rng", "no_such_package.f", "math.sqrt", "tf_keras.optimizers.Adam"]
)
def test_packages_that_are_there_or_not_at_all(name):
    assert find_unknown_name(name) is None


def test_a_typo_in_keras_own_names_is_found():
    assert find_unknown_name("tf_keras.optimizers.Adamm").names.count("Adam") == 1
