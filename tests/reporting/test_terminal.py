"""Sentences wrap, paths and commands do not."""

from qat.reporting import terminal


def test_words_wrap_and_long_ones_stay_whole():
    text = "results are at outputs/2026-11-28/a-very-long-name-of-a-folder"
    assert terminal.wrapped(text, 20).split("\n") == ["results are at", text.split()[-1]]


def test_lines_that_begin_with_a_space_stay_whole():
    assert terminal.wrapped("Report:\n  a path/with spaces.html", 10) == "Report:\n  a path/with spaces.html"


def test_a_pipe_has_no_width(capsys):
    assert terminal.width() is None
    assert terminal.wrapped("x " * 100, None) == "x " * 100
