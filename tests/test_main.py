"""`qat` and `python -m qat`: the list of commands, and each of them as if called by itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import qat
from qat.__main__ import COMMANDS, main

CHECKOUT = Path(qat.__file__).parents[1]


def ended(*argv):
    with pytest.raises(SystemExit) as end:
        main(argv)
    return end.value.code


def test_the_console_script_is_this_function():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and later")
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"qat": "qat.__main__:main"}
    assert project["name"] == "qat-keras"
    assert project["version"] == qat.__version__


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_the_commands_are_listed(argv, capsys):
    assert ended(*argv) == 0
    page = capsys.readouterr().out
    assert all(f"\n  {name} " in page for name in COMMANDS)
    assert max(map(len, page.splitlines())) <= 80


def test_each_command_is_a_module_that_can_be_run():
    assert set(COMMANDS) == {"train", "evaluate", "verify", "compare", "diagnose", "benchmark"}
    for name in COMMANDS:
        assert callable(__import__(f"qat.{name}", fromlist=["main"]).main)


def test_the_version_is_ours(capsys):
    assert ended("--version") == 0
    assert capsys.readouterr().out == f"qat {qat.__version__}\n"


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("trian", "qat: trian: no such command. Did you mean qat train? Commands: train, evaluate,"),
        ("eval", "qat: eval: no such command. Did you mean qat evaluate?"),
        ("convert", "qat: convert: no such command. Did you mean qat train?"),
        ("model=resnet8", "qat: model=resnet8: the command comes first, as qat train model=resnet8."),
    ],
)
def test_what_is_no_command_is_refused(first, message, capsys):
    assert ended(first) == 2
    assert message in capsys.readouterr().err


def test_a_refusal_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setattr("qat.wrapping.columns_of", lambda stream: 80)
    assert ended("foo") == 2
    assert max(map(len, capsys.readouterr().err.splitlines())) <= 80


@pytest.mark.medium
@pytest.mark.parametrize(
    "start",
    [["-m", "qat", "train"], ["-m", "qat.train"], [str(CHECKOUT / "qat/train.py")], [str(CHECKOUT / "qat"), "train"]],
)
def test_a_command_runs_however_it_is_started_and_its_exit_code_is_the_process_s(start, tmp_path):
    where = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, *start, "train.epochs=many"]
    done = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("qat: train.epochs=many: expected an integer (")


def test_no_module_shadows_the_standard_library():
    """`python qat/train.py` puts the package's folder before the standard library."""
    names = {path.stem for path in (CHECKOUT / "qat").iterdir() if not path.name.startswith("_")}
    assert not names & sys.stdlib_module_names
