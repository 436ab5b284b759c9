"""The doors of `scripts/bench`: what is answered without TensorFlow, and the main job as a whole."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.parts.bench.timing import Times, emit, emit_times, interleaved, timed

DOORS = {
    "--help": 0,
    "--cfg job": 0,
    "modle=mobilenet": 2,
    "train.epochs=many": 2,
    "quant.calibration.percentile=10": 2,
}
MAIN_LIMIT = 120.0  # seconds, on two idle cores


def python(*arguments: str, expected: int = 0) -> None:
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != expected:
        raise SystemExit(f"{arguments} ended with {done.returncode}, not {expected}:\n{done.stderr[-2000:]}")


def door(rounds: int) -> None:
    """Each answer beside an import of TensorFlow."""
    sides = {
        call: functools.partial(python, "-m", "qat.train", *call.split(), expected=code) for call, code in DOORS.items()
    }
    importing = functools.partial(python, "-c", "import tensorflow")
    for side in (importing, *sides.values()):
        side()  # compiled files and the page cache
    times = interleaved({"tensorflow": importing} | sides, rounds)
    for call in DOORS:
        emit_times(f"door: {call}", times[call], times["tensorflow"], upper=0.25, notes="beside `import tensorflow`")


def default_job() -> None:
    """`python -m qat.train`, float training included, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        run = [f"hydra.run.dir={Path(folder, 'run')}", f"float_cache={Path(folder, 'cache')}"]
        python("-m", "qat.train", *run)


def written_by_hand() -> None:
    with tempfile.TemporaryDirectory() as folder:
        python("-m", "scripts.parts.bench.tutorial", folder)


def main_job(rounds: int) -> None:
    """The default job. The bar is for two idle cores, and seldom are they: CPU seconds, of all threads together, are
    held against it, which the wall time of idle cores does not exceed."""
    times = Times()
    for _ in range(rounds):
        timed(default_job, times)
    cpu = times.cpu_median
    notes = f"{times.median:.0f} s of wall time; the CPU seconds of all threads bound what idle cores would take"
    emit("main: python -m qat.train, CPU", cpu, None, limit=MAIN_LIMIT, notes=notes, wall_seconds=times.median)


def tutorial(rounds: int) -> None:
    """The default job beside the same trainings written by hand, with Keras, stock tfmot and TensorFlow's converter."""
    times = interleaved({"ours": default_job, "by hand": written_by_hand}, rounds)
    notes = "the same model, data, epochs and files; ours compares, draws and reports as well"
    emit_times("tutorial: python -m qat.train", times["ours"], times["by hand"], upper=0.45, notes=notes)


if __name__ == "__main__":
    name, given = sys.argv[1:]
    work, usual = {"door": (door, 5), "main": (main_job, 1), "tutorial": (tutorial, 1)}[name]
    work(int(given or usual))
