"""The first import of TensorFlow is a quiet one, unless the user has set a log level."""

import sys

import pytest

from qat.quiet import LEVEL, quiet_tensorflow


@pytest.fixture
def finders(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [])
    return sys.meta_path


@pytest.mark.parametrize(
    ("level", "loaded", "added"),
    [(None, False, 1), ("2", False, 1), ("3", False, 1), ("1", False, 0), ("0", False, 0), (None, True, 0)],
)
def test_a_finder_waits_for_tensorflow_where_nobody_asked_for_its_words(level, loaded, added, monkeypatch, finders):
    monkeypatch.delenv(LEVEL, raising=False)
    if level is not None:
        monkeypatch.setenv(LEVEL, level)
    monkeypatch.setattr(sys, "modules", {"tensorflow": None} if loaded else {})
    quiet_tensorflow()
    assert len(finders) == added
    assert all(finder.find_spec("numpy") is None for finder in finders)
