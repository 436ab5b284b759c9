"""Progress of long work: bars on a terminal, one plain line per unit of work where there is none (a log file, CI)."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qat import wrapping

LOG_ONLY = logging.getLogger("qat.log")  # what bars show, for a run's log file
LOG_ONLY.propagate = False
LOG_ONLY.setLevel(logging.INFO)
BAR_COLUMNS = 30  # of the terminal, for a bar, a count, a time and spaces

Update = Callable[[float, str], None]


class Bar:
    """One piece of work of `total` units (epochs, files, …)."""

    def __init__(self, update: Update | None, line: Callable[[str], None] | None, title: str, total: int) -> None:
        self._update, self._line, self._title, self._total = update, line, title, total
        self._done = 0.0

    def start_at(self, units: float) -> None:
        """Take so many units as done, silently: the work is resumed.

        Args:
            units: how many are done in all.
        """
        self._done = units
        if self._update is not None:
            self._update(units, "")

    def advance(self, units: float = 1.0, text: str = "") -> None:
        """Count work that is done; a part of a unit moves the bar only, a whole one also prints a plain line.

        Args:
            units: how many more are done, fractions allowed.
            text: what is shown behind the bar, or on the line; "" for nothing.
        """
        before, self._done = int(self._done + 1e-6), self._done + units
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
        """Print sentences, wrapped to the terminal's width; lines that begin with a space stay whole."""
        if self.mode != "off":
            wrapping.say(text)

    @contextmanager
    def work(self, title: str, total: int = 1, unit: str = "") -> Iterator[Bar]:
        """Show work while the block runs, and add its wall time to `seconds`.

        Args:
            title: name of the work, and its key in `seconds`.
            total: number of units until the work is done.
            unit: name of a unit, as `epoch`; "" for one piece of work, of which a log gets the time at its end.

        Yields:
            The bar to advance, by 1 per unit.
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
            print_line = self.say if self.mode == "plain" else LOG_ONLY.info
            print_line(f"{title}: {self.seconds[title]:.1f} s")

    @contextmanager
    def _rich_bar(self, title: str, total: int, line: Callable[[str], None] | None, name: str) -> Iterator[Bar]:
        from rich import progress as rich_progress

        columns = (
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(bar_width=None),  # takes what the texts leave
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TextColumn("{task.fields[text]}"),
        )
        with rich_progress.Progress(*columns) as bars:
            task = bars.add_task(title, total=total, text="")

            def update(done: float, text: str) -> None:
                short_text = shorten_from_left(text, bars.console.width - len(title) - BAR_COLUMNS)
                bars.update(task, completed=round(done, 2), **({"text": short_text} if text else {}))

            yield Bar(update, line, name, total)
            bars.update(task, completed=total)


def shorten_from_left(text: str, columns: int) -> str:
    """As many of the text's parts, which two spaces divide, as fit: the first ones are left out, and none is cut.

    >>> shorten_from_left("loss 0.500  val loss 0.250  val accuracy 91.2 %", 36)
    'val loss 0.250  val accuracy 91.2 %'

    Args:
        text: parts divided by two spaces.
        columns: number of characters that the text may have.

    Returns:
        The last parts that fit, at least one.
    """
    parts = text.split("  ")
    while len("  ".join(parts)) > columns and len(parts) > 1:
        parts.pop(0)
    return "  ".join(parts)
