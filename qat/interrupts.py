"""Signals that end a command: a training step that runs is finished and saved first. Stdlib only."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
_state = {"deferring": 0, "requested": 0}


class Interrupted(SystemExit):
    """SIGTERM or SIGHUP ended the command; `code` is 128 and the signal's number, as shells count: 143 or 129."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def handle_signals() -> None:
    """Let SIGTERM and SIGHUP raise `Interrupted`, and Ctrl-C KeyboardInterrupt; within `deferred` only once it asks.

    A signal that the parent has set to be ignored, as `nohup` does with SIGHUP, stays ignored.
    """
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


def exit_at_once(state: str = "") -> None:
    """Let each of these signals end the process at once, with its exit code: before a command, and at its end.

    Python would print where it was, and end by the signal itself.

    Args:
        state: what is said of the command's work, as "nothing was written"; "" to end without a word.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        if state:
            with suppress(OSError):  # a terminal that is gone
                os.write(2, f"qat: {describe(number)}; {state}\n".encode())
        os._exit(128 + number)

    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def describe(number: int) -> str:
    """What a signal did to a command: "interrupted" by Ctrl-C, "terminated" by any other."""
    return "interrupted" if number == signal.SIGINT else "terminated"


def is_among_causes(error: BaseException) -> bool:
    """Whether an error was raised because of Ctrl-C, which some libraries turn into an error of their own."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        if isinstance(current, KeyboardInterrupt):
            return True
        seen.append(current)
        current = current.__cause__ or current.__context__
    return False


def _handle(number: int, _frame: FrameType | None) -> None:
    again = _state["requested"]
    _state["requested"] = number
    if not _state["deferring"] or again:  # a second one does not wait
        raise_if_requested()


@contextmanager
def deferred() -> Iterator[None]:
    """Let the block go on after a signal: it calls `requested` where it can stop, then `raise_if_requested`.

    A signal that was not asked for within the block is raised at its end; a second one is raised at once.
    """
    _state["deferring"] += 1
    try:
        yield
    finally:
        _state["deferring"] -= 1
    if not _state["deferring"]:
        raise_if_requested()


def requested() -> bool:
    """Whether a signal has asked to end."""
    return bool(_state["requested"])


def raise_if_requested() -> None:
    """Raise if a signal has asked to end.

    Raises:
        Interrupted: with the exit code of SIGTERM or SIGHUP.
        KeyboardInterrupt: Ctrl-C.
    """
    number, _state["requested"] = _state["requested"], 0
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if number:
        raise Interrupted(number)
