"""Sweeps of `scripts/bench`: jobs that share a float model beside jobs that each train it; two workers beside one.

Each side is a sweep as users start it, in a process of its own and a folder that is thrown away; `rounds` is how often
each takes its turn. The measured time is that of the whole command, imports and comparison included.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.parts.bench.timing import emit_times, interleaved, skip
from scripts.parts.common import child_environment

RATES = ",".join(f"{rate}e-5" for rate in (4, 6, 8, 10, 12, 14, 16, 18))  # 8 QAT jobs from one float model


def sweep(folder: Path, overrides: Sequence[str]) -> None:
    """One sweep in a folder that is new each time, its float cache beside it."""
    place = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "qat.train", "-m", f"hydra.sweep.dir={place / 'sweep'}", "log.progress=off"]
    environment = child_environment(XDG_CACHE_HOME=str(place / "cache"))
    with (place / "log").open("w") as log:
        subprocess.run([*command, *overrides], check=True, env=environment, stdout=log, stderr=log)
    results = list(place.glob("sweep/*/results.json"))
    trained = sum(json.loads(path.read_text())["float_model"] == "trained here" for path in results)
    print(f"{len(results)} jobs, {trained} float models trained", file=sys.stderr, flush=True)


def sides(rows: dict[str, Sequence[str]]) -> dict[str, Callable[[], object]]:
    folder = Path(tempfile.mkdtemp(prefix="qat-bench-"))
    return {name: functools.partial(sweep, folder, overrides) for name, overrides in rows.items()}


def shared(rounds: int) -> None:
    """The default job with 30 float epochs: 8 QAT jobs of one seed, and of 8 seeds, which are 8 float models."""
    job = ("train.epochs=30", "quant.epochs=5", "log.deployed_every=0")
    times = interleaved(
        sides({"shared": [*job, f"quant.learning_rate={RATES}"], "alone": [*job, "seed=range(8)"]}), rounds
    )
    notes = "both sides are one sweep in one process; mobilenet on digits"
    emit_times(
        "sweep_shared: 8 QAT jobs that share a float model", times["shared"], times["alone"], upper=0.45, notes=notes
    )


def workers(rounds: int) -> None:
    """Four default jobs, each with a float model of its own: two joblib workers of a thread each beside one process."""
    cores = len(os.sched_getaffinity(0))
    if cores != 2:
        skip("sweep_workers: two joblib workers", f"the bar is for two cores, and this process may use {cores}")
        return
    job = ("seed=0,1,2,3",)
    two = [*job, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    times = interleaved(sides({"two workers": two, "one": job}), rounds)
    notes = "the default job, 4 seeds; cores shared out, one thread per worker"
    emit_times("sweep_workers: two joblib workers", times["two workers"], times["one"], lower=1.3, notes=notes)


if __name__ == "__main__":
    name, given = sys.argv[1:]
    {"sweep_shared": shared, "sweep_workers": workers}[name](int(given or 1))
