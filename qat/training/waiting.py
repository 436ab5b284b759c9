"""Wait for the other processes of TF_CONFIG in Python, where one says whom one waits for, and signals are heard.

TensorFlow waits for them too, but in its C++, without a word or an end, and deaf to Ctrl-C. No TensorFlow here.
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

SILENT_SECONDS = 5.0  # others may start a little later; said from then on
SAID_EVERY_SECONDS = 60.0
LIMIT_SECONDS = 900.0
_PAUSE_SECONDS = 0.2


def wait_for_others(cluster: dict[str, Any], limit: float = LIMIT_SECONDS) -> None:
    """Return once each other process has answered; meanwhile this one answers them, at its own address.

    Args:
        cluster: TF_CONFIG, read.
        limit: seconds.

    Raises:
        ConfigError: some did not answer within `limit`; named.
    """
    own, silent = _addresses(cluster)
    began = time.monotonic()
    to_say = began + SILENT_SECONDS
    with _answering(own):
        while silent := [address for address in silent if not answers(address)]:
            now = time.monotonic()
            if now - began >= limit:
                raise ConfigError(
                    f"train.strategy=multiworker: {', '.join(silent)} of TF_CONFIG did not answer within {limit:g} s. "
                    "Start the same command in each process, with its own index, and let the ports through"
                )
            if now >= to_say:
                to_say = now + SAID_EVERY_SECONDS
                print(f"qat: waiting for {', '.join(silent)} (TF_CONFIG); Ctrl-C ends it", file=sys.stderr, flush=True)
            time.sleep(_PAUSE_SECONDS)


@contextlib.contextmanager
def deadly_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the process at once, for a block in which Python does not come to hear them."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def answers(address: str, seconds: float = 2.0) -> bool:
    """Whether anybody listens at host:port."""
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
    places = {(kind, index): host for kind, hosts in cluster["cluster"].items() for index, host in enumerate(hosts)}
    own = str(places.pop(task, ""))
    return own, list(places.values())


@contextlib.contextmanager
def _answering(address: str) -> Iterator[None]:
    """Listen at this process' own port, which TensorFlow takes over afterwards."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError, ValueError):  # a port that is taken: TensorFlow will say so
            listener.bind(("", int(address.rpartition(":")[2])))
            listener.listen(1024)
        yield
