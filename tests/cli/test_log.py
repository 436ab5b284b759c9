"""The log of a run has each printed line, whole and plain; progress bars leave one line per step of theirs."""

import re
import sys

import pytest
from rich.console import Console

from qat.cli.log_file import log_to_file
from qat.errors import ModelError, RunDirError
from qat.reporting import Progress


def lines(path):
    results = path.read_text().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in results)
    return [line[9:] for line in results]


def test_what_is_shown_on_both_streams_is_logged_in_order_and_still_shown(tmp_path, capsys):
    with log_to_file(tmp_path / "train.log", "seed=1"):
        print("a line")
        print("a warning", file=sys.stderr)
        print("\x1b[1mbold\x1b[0m", end="")
        print(" and on")
        print("\rpainted over\r10 %\rpainted")
    assert lines(tmp_path / "train.log")[1:] == ["a line", "a warning", "bold and on"]
    assert lines(tmp_path / "train.log")[0].endswith(": seed=1")
    output = capsys.readouterr()
    assert (output.err, "a line" in output.out, "painted" in output.out) == ("a warning\n", True, True)


@pytest.mark.parametrize("mode", ["plain", "bar"])
def test_each_epoch_is_a_line_of_the_log_whatever_the_terminal_shows(mode, tmp_path):
    with log_to_file(tmp_path / "train.log", ""), Progress(mode).work("float training", 2, "epoch") as bar:
        bar.advance(1, "loss 2")
        bar.advance(1, "loss 1")
    results = [line for line in lines(tmp_path / "train.log") if line.startswith("float training: epoch")]
    assert results == ["float training: epoch 1/2  loss 2", "float training: epoch 2/2  loss 1"]


def test_a_warning_above_a_bar_is_logged_whole_and_the_bar_is_not(tmp_path, monkeypatch):
    with log_to_file(tmp_path / "train.log", ""):
        monkeypatch.setattr("rich._console", Console(force_terminal=True, width=80))
        with Progress("bar").work("calibrate"), Progress("bar").work("sensitivity") as bar:
            print("a warning of two\nlines", file=sys.stderr)
            bar.advance(1)
            print("between two bars")
    results = lines(tmp_path / "train.log")[1:]
    assert results[:3] == ["a warning of two", "lines", "between two bars"]
    assert [re.sub(r"[\d.]+ s", "", line) for line in results[3:]] == ["sensitivity: ", "calibrate: "]


def remove_and_raise(path, error):
    path.unlink()
    raise error


@pytest.mark.parametrize("error", [ModelError("no model"), FileNotFoundError("a")])
def test_a_folder_that_is_removed_under_the_run_is_named(tmp_path, error):
    path = tmp_path / "train.log"
    message = f"{tmp_path}: this folder, or what lay in it, was removed while"
    with pytest.raises(RunDirError, match=message), log_to_file(path, ""):
        remove_and_raise(path, error)


def test_a_refusal_is_logged_by_its_message_and_an_error_by_its_stack(tmp_path):
    with pytest.raises(ModelError), log_to_file(tmp_path / "train.log", ""):
        raise ModelError("no such model")
    assert lines(tmp_path / "train.log")[-1] == "ended by ModelError: no such model"
    with pytest.raises(KeyError), log_to_file(tmp_path / "train.log", ""):
        {}["mine"]
    assert lines(tmp_path / "train.log")[-1] == "KeyError: 'mine'"
    assert "Traceback (most recent call last):" in lines(tmp_path / "train.log")


def test_who_keeps_the_stream_of_a_job_and_closes_it_later_closes_nothing(tmp_path, capsys):
    with log_to_file(tmp_path / "train.log", "a job"):
        stream = sys.stderr
    stream.close()
    print("still there", file=sys.stderr)
    assert "still there" in capsys.readouterr().err
