"""Workers that are not there: named, waited for so long and no longer, and a signal ends the wait."""

import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qat.errors import ConfigError
from qat.training import waiting

CHECKOUT = Path(__file__).parents[2]
WAITING = """
import os, signal, sys
from qat.training import waiting
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
waiting.FIRST_MESSAGE_SECONDS = 0.0
waiting.wait_for_others({"cluster": {"worker": sys.argv[1:]}, "task": {"type": "worker", "index": 0}})
"""


def free_ports(count):
    holders = [socket.socket() for _ in range(count)]
    for holder in holders:
        holder.bind(("localhost", 0))
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return [f"localhost:{port}" for port in ports]


def of_worker(index, addresses):
    return {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}


def test_who_does_not_answer_is_named_and_refused_at_the_limit(monkeypatch, capsys):
    monkeypatch.setattr(waiting, "FIRST_MESSAGE_SECONDS", 0.0)
    addresses = free_ports(2)
    with pytest.raises(ConfigError, match=rf"{addresses[1]} of TF_CONFIG did not answer within 0.3 s"):
        waiting.wait_for_others(of_worker(0, addresses), limit=0.3)
    assert capsys.readouterr().err == f"qat: waiting for {addresses[1]} (TF_CONFIG); Ctrl-C ends it\n"


def test_two_that_start_apart_find_each_other():
    addresses = free_ports(2)
    ended = []

    def other():
        waiting.wait_for_others(of_worker(1, addresses), limit=10)
        # as TensorFlow's server, which listens from then on
        with socket.create_server(("", int(addresses[1].rpartition(":")[2]))):
            ended.append(done.wait(10))

    done = threading.Event()
    thread = threading.Timer(0.3, other)
    thread.start()
    waiting.wait_for_others(of_worker(0, addresses), limit=10)
    with socket.create_server(("", int(addresses[0].rpartition(":")[2]))):
        while not waiting.is_listening(addresses[1]):
            pass
        done.set()
        thread.join(10)
    assert ended == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(number):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, *free_ports(2)],
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline().startswith("qat: waiting for localhost:")
    process.send_signal(number)
    assert process.wait(20) != 0


def test_signals_are_as_before_after_a_deadly_block():
    before = signal.getsignal(signal.SIGTERM)
    with waiting.default_signal_handlers():
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before
