"""Checkpoints of `scripts/bench`: what they cost of the default job's training, counted within it and beside it.

The float training of the default job takes turns with and without checkpoints, one at the end of each epoch. Counted
are the CPU seconds of a checkpoint, in the training and in the thread that writes; its share is that of the training
between two: one core of the seconds that lie between them at least.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import tf_keras

from qat import data
from qat.cli import compose
from qat.models import build
from qat.training import FitSettings, fit
from qat.training.checkpoints import SECONDS, Checkpointing, Checkpoints
from scripts.parts.bench.timing import Times, emit, emit_times, timed

BAR = 0.03
EPOCHS = 3


def checkpoints(rounds: int) -> None:
    config = compose([])
    splits = data.load(config.data, 0, config.seed)
    settings = replace(FitSettings.from_train(config.train), epochs=EPOCHS)
    spent: list[float] = []
    _count(spent)

    def train(checkpointing: Checkpointing | None) -> None:
        tf_keras.utils.set_random_seed(config.seed)
        model = build(config.model, splits.contract.shape, len(splits.class_names))
        fit(model, splits.train, splits.val, settings, checkpointing=checkpointing)

    times = {"with": Times(), "without": Times()}
    train(None)  # what is done once in a process
    for number in range(rounds):
        for arm in list(times)[:: 1 if number % 2 == 0 else -1]:
            with tempfile.TemporaryDirectory() as folder:
                kept = Checkpointing(Path(folder, "kept"), say=str, seconds=0.0) if arm == "with" else None
                timed(functools.partial(train, kept), times[arm])
    each = sum(spent) / (rounds * EPOCHS)
    epoch = statistics.median(times["without"].cpu) / EPOCHS
    notes = f"CPU {each * 1000:.0f} ms each, {SECONDS:g} s apart, {rounds} rounds; an epoch takes CPU {epoch:.1f} s"
    emit("checkpoints: share of training", each / SECONDS, None, unit="", notes=notes, limit=BAR)
    notes = f"{EPOCHS} epochs, a checkpoint after each"
    emit_times("checkpoints: after each epoch, beside none", times["with"], times["without"], notes=notes)


def _count(spent: list[float]) -> None:
    """Append the CPU seconds of each call that belongs to a checkpoint, in whatever thread it runs."""
    for name in ("save", "_write"):
        setattr(Checkpoints, name, _counted(getattr(Checkpoints, name), spent))


def _counted(method: Callable[..., None], spent: list[float]) -> Callable[..., None]:
    @functools.wraps(method)
    def counted(*arguments: object) -> None:
        start = time.thread_time()
        try:
            method(*arguments)
        finally:
            spent.append(time.thread_time() - start)

    return counted


if __name__ == "__main__":
    checkpoints(int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else 3)
