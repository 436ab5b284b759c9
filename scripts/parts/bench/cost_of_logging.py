"""Logging of `scripts/bench`: what TensorBoard costs of a default run, counted within the run and beside one without.

Each round is two runs of the default job in processes of their own, with and without `log.tensorboard`, the float model
trained in both. On a busy machine two runs differ by more than the bar: the seconds of all threads that the logging
itself took are counted within the first run as well, and their share of the rest is the row that has the bar.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scripts.parts.bench.timing import Times, emit, emit_times, timed
from scripts.parts.common import part

BAR, FILES_BAR = 0.05, 0.02
ARMS = {
    "with": "log.deployed_every=0",
    "without": "log.tensorboard=false",
    "with each epoch's file": "log.deployed_every=1",
}


def logging(rounds: int) -> None:
    times = {arm: Times() for arm in ARMS}
    counted: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for number in range(rounds):
        for arm in list(ARMS)[:: 1 if number % 2 == 0 else -1]:
            counted[arm].append(timed(functools.partial(_run, ARMS[arm]), times[arm]))
    for arm, what in (("with", "curves, ranges, pictures, HParams"), ("with each epoch's file", "the same, and files")):
        spent = [each["logging"] / (each["all"] - each["logging"]) for each in counted[arm]]
        notes = f"CPU seconds of logging over those of the rest of the run ({what}), {rounds} rounds"
        emit(f"logging: share, {ARMS[arm]}", sorted(spent)[len(spent) // 2], None, unit="", notes=notes, limit=BAR)
        emit_times(f"logging: {ARMS[arm]}", times[arm], times["without"], notes="beside log.tensorboard=false")
    files = sorted(each["files"] / (each["all"] - each["logging"]) for each in counted["with each epoch's file"])
    notes = f"CPU seconds of the export and evaluation after each epoch over those of the rest, {rounds} rounds"
    emit("logging: share of each epoch's file", files[len(files) // 2], None, unit="", notes=notes, limit=FILES_BAR)


def _run(override: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        run = [f"hydra.run.dir={Path(folder, 'run')}", f"float_cache={Path(folder, 'cache')}", override]
        command = part("bench.cost_of_logging", "child", *run)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def child(overrides: list[str]) -> None:
    """The default job in this process, its logging counted."""
    start = time.process_time()
    import qat  # noqa: F401  (chooses Keras 2)
    from qat.cli import compose, freeze_imports, import_tensorflow

    import_tensorflow()
    from qat.reporting import SummaryWriter
    from qat.stages import export_files, main_job, monitoring, ptq
    from qat.stages import qat as qat_stage

    folder = next(each.removeprefix("hydra.run.dir=") for each in overrides if each.startswith("hydra.run.dir="))
    spent, files = Counted(), Counted()
    qat_stage.convert_and_evaluate_on_val = files.of(qat_stage.convert_and_evaluate_on_val)
    for owner, name in (
        (qat_stage, "_write_start"),
        (qat_stage, "convert_and_evaluate_on_val"),
        (ptq, "evaluate_on_val"),
        (monitoring.RangeMonitor, "__call__"),
        (main_job, "write_dashboard"),
        *((SummaryWriter, name) for name in ("begin", "add_scalars", "add_ranges", "add_text", "add_image")),
    ):
        setattr(owner, name, spent.of(getattr(owner, name)))
    monitoring.convert, export_files.convert = spent.shared(*files.shared(monitoring.convert, export_files.convert))
    qat_stage.keras_predictor = _traced_at_once(qat_stage.keras_predictor)
    freeze_imports()  # as `qat.train` does: the collector would look at all modules while graphs are traced
    config = compose([each for each in overrides if not each.startswith("hydra.")])
    config.log.progress, config.parity.enforce = "off", False
    main_job.main_job(config, Path(folder))
    print(
        json.dumps({"logging": spent.seconds, "files": files.seconds, "all": time.process_time() - start}), flush=True
    )


def _traced_at_once(keras_predictor: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Its graph is needed by the last evaluation too: the first curve to call it is not charged for its tracing."""

    def traced(model: Any) -> Any:
        predictor = keras_predictor(model)
        predictor(np.zeros((1, *model.inputs[0].shape[1:]), np.float32))
        return predictor

    return traced


class Counted:
    """CPU seconds of all threads in some functions; calls within calls count once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            self._depth += 1
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.seconds += time.process_time() - start

        return counted

    def shared(self, logged: Callable[..., bytes], needed: Callable[..., bytes]) -> list[Callable[..., bytes]]:
        """A file that `needed` gives again and `logged` has made is none of its costs: without, the run makes it."""
        made: dict[int, tuple[bytes, float]] = {}

        def making(*arguments: Any, **options: Any) -> bytes:
            start = time.process_time()
            content = logged(*arguments, **options)
            made.setdefault(id(content), (content, time.process_time() - start))
            return content

        def taking(*arguments: Any, **options: Any) -> bytes:
            content = needed(*arguments, **options)
            self.seconds -= made.pop(id(content), (b"", 0.0))[1]
            return content

        return [making, taking]


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child(sys.argv[2:])
    else:
        logging(int(sys.argv[2] or 1))
