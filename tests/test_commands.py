"""Commands that messages print: read as a shell reads them, they start this Python, in whichever folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import qat
from qat.commands import command, install_command, python

CHECKOUT = Path(qat.__file__).parents[1]


@pytest.fixture
def not_activated(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def test_without_activation_the_interpreter_is_named_by_its_path(not_activated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shlex.split(command("verify", "tflite=a b.tflite")) == [
        sys.executable,
        "-m",
        "qat.verify",
        "tflite=a b.tflite",
    ]


def test_an_environment_below_the_folder_is_named_from_there(not_activated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    assert python() == ".venv/bin/python"


def test_an_activated_environment_is_called_python(monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    assert python() == ("python" if Path(sys.executable).name == "python" else sys.executable)


def test_the_command_works_in_a_shell(not_activated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    done = subprocess.run(command("verify", "tflite=none.tflite"), shell=True, capture_output=True, text=True)
    assert (done.returncode, "none.tflite" in done.stderr) == (2, True)


def test_an_extra_is_installed_from_the_checkout(not_activated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert install_command("ray") == f"{sys.executable} -m pip install -e '{CHECKOUT}[ray]'"
    monkeypatch.chdir(CHECKOUT)
    assert install_command("ray").endswith(" -m pip install -e '.[ray]'")


def test_no_message_prints_a_command_by_hand():
    """Texts of the code, comments and docstrings aside, that would need an activated environment."""
    by_hand = re.compile(r"pip install|(?<!`)python -m qat")
    allowed = {"commands.py", "help.py", "__main__.py"}
    for path in sorted((CHECKOUT / "qat").rglob("*.py")):
        if path.name not in allowed:
            assert not by_hand.search(path.read_text()), path


def test_the_folder_of_a_job_is_quoted_as_a_person_would():
    assert command("diagnose", run=Path("multirun/seed=0")).endswith(""" "run='multirun/seed=0'\"""")


@pytest.mark.parametrize(
    "folder", ["a $HOME `x` b!", "outputs/1", "multirun/lr=1e-3,seed=0", "it's here/ü (2)", "a[b]{c}:d"]
)
def test_a_printed_value_comes_back_as_it_was_meant(folder):
    *_, module, argument = shlex.split(command("diagnose", run=Path(folder)))
    override = OverridesParser.create().parse_override(argument)
    assert (module, override.key_or_group, override.value()) == ("qat.diagnose", "run", folder)
