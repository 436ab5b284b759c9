"""Progress of long work: bars on a terminal, one plain line a step where there is none (a log file, CI)."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qat.reporting import terminal

LOG_ONLY = logging.getLogger("qat.log")  # what bars show; whoever keeps a log of a run listens
LOG_ONLY.propagate = False
LOG_ONLY.setLevel(logging.INFO)
BESIDE_TEXT = 30  # columns of a bar, a count, a time and what parts them

Update = Callable[[float, str], None]


class Bar:
    """One piece of work of `total` steps (epochs, files, …)."""

    def __init__(self, update: Update | None, line: Callable[[str], None] | None, title: str, total: int) -> None:
        self._update, self._line, self._title, self._total = update, line, title, total
        self._done = 0.0

    def advance(self, steps: float = 1.0, text: str = "") -> None:
        """`steps` more are done; a part of one moves the bar only, a whole one also gives a plain line."""
        before, self._done = int(self._done + 1e-6), self._done + steps
        if self._update is not None:
            self._update(self._done, text)
        done = int(self._done + 1e-6)
        if self._line is not None and (done > before or text):
            self._line(f"{self._title} {done}/{self._total}  {text}".rstrip())


class Progress:
    """Where and how progress is shown: `mode` is auto (bars on a terminal, else plain), bar, plain or off."""

    def __init__(self, mode: str = "auto") -> None:
        self.mode = mode if mode != "auto" else ("bar" if sys.stdout.isatty() else "plain")
        self.seconds: dict[str, float] = {}  # title -> wall time, for the run's result

    def say(self, text: str) -> None:
        """Sentences, wrapped to a terminal's width; lines that begin with a space stay whole."""
        if self.mode != "off":
            terminal.say(text)

    @contextmanager
    def work(self, title: str, total: int = 1, unit: str = "") -> Iterator[Bar]:
        """Show work of `total` steps, each a `unit`, while the block runs; keep its wall time.

        Without a `unit` it is one piece, of which a log gets the time at its end.
        """
        start = time.monotonic()
        try:
            if self.mode == "bar":
                with self._rich_bar(title, total, LOG_ONLY.info if unit else None, f"{title}: {unit}") as bar:
                    yield bar
            else:
                yield Bar(None, self.say if unit else None, f"{title}: {unit}", total)
        finally:
            self.seconds[title] = round(self.seconds.get(title, 0.0) + time.monotonic() - start, 3)
        if not unit and self.mode in ("plain", "bar"):
            tell = self.say if self.mode == "plain" else LOG_ONLY.info
            tell(f"{title}: {self.seconds[title]:.1f} s")

    @contextmanager
    def _rich_bar(self, title: str, total: int, line: Callable[[str], None] | None, named: str) -> Iterator[Bar]:
        from rich import progress as rich_progress

        columns = (
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(bar_width=None),  # takes what the texts leave
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TextColumn("{task.fields[text]}"),
        )
        with rich_progress.Progress(*columns) as shown:
            task = shown.add_task(title, total=total, text="")

            def update(done: float, text: str) -> None:
                shorter = last_parts(text, shown.console.width - len(title) - BESIDE_TEXT)
                shown.update(task, completed=round(done, 2), **({"text": shorter} if text else {}))

            yield Bar(update, line, named, total)
            shown.update(task, completed=total)


def last_parts(text: str, room: int) -> str:
    """As many of its parts, which two spaces divide, as fit; the last ones tell most, and none is cut.

    >>> last_parts("loss 0.500  val loss 0.250  val accuracy 91.2 %", 36)
    'val loss 0.250  val accuracy 91.2 %'
    """
    parts = text.split("  ")
    while len("  ".join(parts)) > room and len(parts) > 1:
        parts.pop(0)
    return "  ".join(parts)
