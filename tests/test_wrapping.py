"""Sentences wrap, paths and commands do not."""

import io
import os
import pty

import pytest

from qat.reporting import terminal
from qat.wrapping import columns_of, count_columns, pad, wrap


def test_words_wrap_and_long_ones_stay_whole():
    text = "results are at outputs/2026-11-28/a-very-long-name-of-a-folder"
    assert wrap(text, 20).split("\n") == ["results are at", text.split()[-1]]


@pytest.mark.parametrize("pair", ["p = 0.0021", "scale = -3.5", "98.25 %", "850.2 KiB", "+0.16 points", "3.1 ms"])
@pytest.mark.parametrize("columns", range(20, 60))
def test_a_number_stays_with_its_name_and_its_unit(pair, columns):
    text = f"(McNemar's paired test on the same samples, {pair}); and so it goes on."
    lines = wrap(text, columns).split("\n")
    assert any(pair in line for line in lines)
    assert " ".join(lines) == text
    assert max(map(len, lines)) <= columns


def test_a_character_of_two_columns_is_counted_as_two():
    lines = wrap("classes 浮点模型 and 卷积神经网络 have no samples", 20).split("\n")
    assert lines == ["classes 浮点模型 and", "卷积神经网络 have no", "samples"]
    assert count_columns(pad("猫", 6)) == 6


def test_lines_that_begin_with_two_spaces_stay_whole():
    assert wrap("Report:\n  a path/with spaces.html", 10) == "Report:\n  a path/with spaces.html"


def test_a_sentence_below_a_line_wraps_as_deep_as_it_stands():
    assert wrap("      ValueError: seed 1", 20) == "      ValueError:\n      seed 1"


def test_a_pipe_has_no_width(capsys):
    assert terminal.width() is None
    assert columns_of(io.StringIO()) is None
    assert wrap("x " * 100, None) == "x " * 100


def test_a_terminal_has_its_own_or_what_columns_says(monkeypatch):
    _, ours = pty.openpty()
    with os.fdopen(ours, "w") as stream:
        os.set_blocking(ours, False)
        monkeypatch.setenv("COLUMNS", "33")
        assert columns_of(stream) == 33
        monkeypatch.delenv("COLUMNS")
        assert columns_of(stream) == 80  # a terminal that does not know its size
