"""Wait for the other processes of TF_CONFIG in Python, with messages, a time limit, and Ctrl-C.

TensorFlow waits for them too, but in C++, silently, without a limit, and ignores Ctrl-C. No TensorFlow here.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from qat.errors import ConfigError
from qat.wrapping import say

FIRST_MESSAGE_SECONDS = 5.0  # others may start a little later
REMINDER_SECONDS = 60.0
LIMIT_SECONDS = 900.0
_PAUSE_SECONDS = 0.2


def wait_for_others(cluster: dict[str, Any], limit: float = LIMIT_SECONDS) -> None:
    """Return once every other process has answered; meanwhile listen at this process' own address.

    Args:
        cluster: TF_CONFIG, parsed: the addresses of all processes, and which of them this one is.
        limit: how many seconds to wait.

    Raises:
        ConfigError: some did not answer within `limit`; the message names them.
    """
    own, silent = _addresses(cluster)
    start = time.monotonic()
    next_message = start + FIRST_MESSAGE_SECONDS
    with _listen(own):
        while silent := [address for address in silent if not is_listening(address)]:
            now = time.monotonic()
            if now - start >= limit:
                raise ConfigError(
                    f"train.strategy=multiworker: {', '.join(silent)} of TF_CONFIG did not answer within {limit:g} s. "
                    "Start the same command in each process, with its own index, and let the ports through"
                )
            if now >= next_message:
                next_message = now + REMINDER_SECONDS
                say(f"qat: waiting for {', '.join(silent)} (TF_CONFIG); Ctrl-C ends it", sys.stderr)
            time.sleep(_PAUSE_SECONDS)


@contextlib.contextmanager
def default_signal_handlers() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process at once, within a block of C++ that Python's handlers cannot interrupt."""
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def is_listening(address: str, seconds: float = 2.0) -> bool:
    """Whether a process listens at an address.

    Args:
        address: host and port, as "10.0.0.2:2222".
        seconds: how many seconds to wait for a connection.

    Returns:
        True where a connection was made; False also for an address that is no host:port.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=seconds).close()
    except (OSError, ValueError):
        return False
    return True


def _addresses(cluster: dict[str, Any]) -> tuple[str, list[str]]:
    """host:port of this process, and of the others.

    >>> _addresses({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}})
    ('a:1', ['b:1'])
    """
    task = cluster["task"]["type"], int(cluster["task"]["index"])
    hosts = {(kind, index): host for kind, listed in cluster["cluster"].items() for index, host in enumerate(listed)}
    own = str(hosts.pop(task, ""))
    return own, list(hosts.values())


@contextlib.contextmanager
def _listen(address: str) -> Iterator[None]:
    """Listen at this process' own port, which TensorFlow takes over afterwards."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError, ValueError):  # TensorFlow reports a port that is in use
            listener.bind(("", int(address.rpartition(":")[2])))
            listener.listen(1024)
        yield
