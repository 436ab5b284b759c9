"""Sentences wrap, paths and commands do not, and a printed command is one that Hydra and the shell read back."""

import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from qat.reporting import terminal


def test_words_wrap_and_long_ones_stay_whole():
    text = "results are at outputs/2026-11-28/a-very-long-name-of-a-folder"
    assert terminal.wrapped(text, 20).split("\n") == ["results are at", text.split()[-1]]


def test_lines_that_begin_with_a_space_stay_whole():
    assert terminal.wrapped("Report:\n  a path/with spaces.html", 10) == "Report:\n  a path/with spaces.html"


def test_a_pipe_has_no_width(capsys):
    assert terminal.width() is None
    assert terminal.wrapped("x " * 100, None) == "x " * 100


@pytest.mark.parametrize("folder", ["outputs/1", "multirun/lr=1e-3,seed=0", "it's here/ü (2)", "a[b]{c}:d"])
def test_a_printed_command_comes_back_as_it_was_meant(folder):
    *_, module, argument = shlex.split(terminal.command("qat.diagnose", run=Path(folder)))
    override = OverridesParser.create().parse_override(argument)
    assert (module, override.key_or_group, override.value()) == ("qat.diagnose", "run", folder)


def test_python_is_called_by_its_path_where_the_shell_has_another(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert shlex.split(terminal.python()) == [str(terminal.near(Path(terminal.sys.executable)))]
