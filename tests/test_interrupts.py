"""A signal ends a command with its own exit code: at once, or after the step that runs."""

import os
import signal
import subprocess
import sys

import pytest

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
