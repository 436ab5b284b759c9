"""A signal ends a command with its own exit code: at once, or after the step that runs."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import qat
from qat import interrupts


@pytest.fixture(autouse=True)
def handled():
    """Handlers for the test alone, whatever the process that runs it ignores."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    interrupts.handle_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_with_its_code(number, code):
    with pytest.raises(SystemExit) as end:
        send(number)
    assert end.value.code == code


def test_ctrl_c_is_what_python_knows():
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_within_a_step_it_waits_and_a_second_one_does_not():
    done = []

    def steps(count):
        with interrupts.deferred():
            for _ in range(count):
                send(signal.SIGTERM)
                done.append(interrupts.requested())

    with pytest.raises(interrupts.Interrupted):
        steps(1)
    with pytest.raises(interrupts.Interrupted):
        steps(5)
    assert done == [True, True]
    assert not interrupts.requested()


def test_an_ignored_hangup_stays_ignored():
    code = "import os; from qat import interrupts; interrupts.handle_signals(); os.kill(os.getpid(), 1)"
    done = subprocess.run(
        ["bash", "-c", f'trap "" HUP; exec {sys.executable} -c "{code}; print(7)"'], capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"7\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_before_a_command_and_at_its_end_a_signal_ends_the_process(number, code):
    program = f"""
        import os, signal
        from qat import interrupts
        signal.signal({int(number)}, signal.SIG_DFL)
        interrupts.exit_at_once()
        os.kill(os.getpid(), {int(number)})
        print("still here", flush=True)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


@pytest.mark.parametrize("command", [["-m", "qat.train"], ["-mqat.verify"], ["-um", "qat", "compare"]])
def test_ctrl_c_in_the_imports_of_a_command_prints_no_traceback(tmp_path, command):
    (tmp_path / "hydra.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    where = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(interrupts.__file__).parents[1]}"}
    ended = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env=where,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (ended.returncode, ended.stderr) == (130, "qat: interrupted; nothing was written\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_such_a_signal_says_what_is_known(number, code):
    word = "interrupted" if number == signal.SIGINT else "terminated"
    program = f"""
        import os, signal
        from qat import interrupts
        signal.signal({int(number)}, signal.SIG_DFL)
        interrupts.exit_at_once("nothing was written")
        os.kill(os.getpid(), {int(number)})
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (code, f"qat: {word}; nothing was written\n")


@pytest.mark.parametrize(
    ("flags", "started", "is_command"),
    [
        ("-m", "qat", True),
        ("-X dev -u -m", "qat.train", True),
        ("", "-mqat.train", True),
        ("-um", "qat.train", True),
        ("-W ignore", "-umqat", True),
        ("-m", "pytest", False),
        ("", "-mqatar.train", False),
    ],
)
def test_a_command_is_known_by_how_python_was_started(monkeypatch, flags, started, is_command):
    monkeypatch.setattr(sys, "orig_argv", ["python", *flags.split(), started, "-m", "qat"])
    monkeypatch.setattr(sys, "argv", ["-m", "-m", "qat"])
    assert qat._is_command() is is_command


@pytest.mark.parametrize(
    ("name", "content", "is_command"),
    [
        ("qat", "from qat.__main__ import main", True),
        ("qat", "import qat", False),
        ("my_script.py", "from qat.__main__ import main", False),
    ],
)
def test_a_program_is_a_command_if_it_is_the_one_that_was_installed(monkeypatch, tmp_path, name, content, is_command):
    program = tmp_path / name
    program.write_text(content)
    monkeypatch.setattr(sys, "orig_argv", ["python", str(program), "train"])
    monkeypatch.setattr(sys, "argv", [str(program), "train"])
    assert qat._is_command() is is_command


@pytest.mark.parametrize("start", [["-c", "import qat"], []])
def test_another_process_is_no_command(monkeypatch, start):
    monkeypatch.setattr(sys, "orig_argv", ["python", *start])
    monkeypatch.setattr(sys, "argv", ["-c" if start else ""])
    assert qat._is_command() is False


def test_ctrl_c_is_found_behind_an_error_that_a_library_made_of_it():
    def translate():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ValueError("no such key") from error

    with pytest.raises(ValueError, match="no such key") as translated:
        translate()
    assert interrupts.is_among_causes(translated.value)
    assert not interrupts.is_among_causes(ValueError("no such key"))
