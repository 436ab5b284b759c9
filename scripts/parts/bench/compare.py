"""`qat.compare` of `scripts/bench`: time and peak memory over 1,000 run directories, results as large as real ones."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.parts.bench.timing import emit

RUNS, SEEDS = 1000, 5
MOST_SECONDS, MOST_MB = 10.0, 500.0


def result(number: int) -> dict:
    """A results.json of 200 configurations over 5 seeds, with as many digests and epochs as a run of QAT writes."""
    rng, seed, place = random.Random(number), number % SEEDS, number // SEEDS
    value = 0.97 + 0.01 * rng.random()
    variants = {
        name: {
            "metric": {"name": "accuracy", "value": value + gain, "higher_is_better": True},
            "file": f"{name}/model.tflite",
            "size_bytes": size + 100 * place,
            "integer_only": name != "float",
            "input_dtype": "int8",
            "output_dtype": "int8",
            "agreement": 0.99,
            "accuracy": value + gain,
            "accuracy_interval": [value + gain - 0.01, value + gain + 0.01],
            "latency_ms": 0.1 + rng.random(),
            "fake_quant_metric": value,
            "parity": {"agreement": 1.0, "max_lsb": 1, "passed": True},
        }
        for name, gain, size in (("float", 0.0, 870_000), ("ptq_int8", -0.004, 308_000), ("qat_int8", -0.001, 315_000))
    }
    epochs = [{"loss": rng.random(), "accuracy": rng.random(), "val_loss": rng.random(), "lr": 1e-3} for _ in range(30)]
    files = [f"{name}/feeding/{n}.py" for name in variants for n in range(8)] + ["float/model.tflite"]
    return {
        "variants": variants,
        "seeds": {"seed": seed, "split_seed": 0},
        "versions": {"tensorflow": "2.21.0", "qat": "0.1.0"},
        "config": {
            "seed": seed,
            "data": {"name": "digits", "val_fraction": 0.15},
            "model": {"name": ("mobilenet", "resnet8")[place % 2], "alpha": 0.25},
            "train": {"learning_rate": 10 ** -(1 + place % 4), "epochs": 30},
            "quant": {"name": "qat", "learning_rate": 1e-4 * (1 + place // 8), "epochs": 5},
        }
        | {f"section_{n}": {f"knob_{m}": m for m in range(8)} for n in range(8)},
        "sha256": {name: hashlib.sha256(f"{name}{number}".encode()).hexdigest() for name in files},
        "calibration_indices": list(range(256)),
        "histories": {"float": epochs, "qat": epochs[:5]},
    }


def write_runs(folder: Path) -> int:
    """1,000 directories, 10 of which are no finished runs; bytes of an average result."""
    for number in range(RUNS):
        run = folder / f"{number}"
        (run / "tensorboard" / "float").mkdir(parents=True)
        text = json.dumps(result(number), indent=2)
        if number % 100 != 99:
            (run / "results.json").write_text(text)
        elif number % 200 == 99:
            (run / "results.json").write_text(text[: len(text) // 2])
    return len(text)


def compare() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        size = write_runs(Path(scratch, "runs"))
        command = [sys.executable, "-m", "qat.compare", f"runs={scratch}/runs", f"hydra.run.dir={scratch}/out"]
        seconds, cpu, peak_mb, said = measured(command)
        page = Path(scratch, "out", "index.html").stat().st_size
    notes = f"{size // 1024} KiB a result; page of {page / 1e6:.1f} MB; {said}"
    words = f"{seconds:.1f} s of wall time; one thread does the work, so the CPU seconds are what an idle core takes"
    emit(f"compare: {RUNS:,} run directories, CPU", cpu, None, limit=MOST_SECONDS, notes=f"{words}; {notes}")
    emit(f"compare: {RUNS:,} run directories, peak memory", peak_mb, None, limit=MOST_MB, unit="MB", notes=notes)


def measured(command: list[str]) -> tuple[float, float, float, str]:
    """Wall and CPU seconds, peak resident megabytes, first line of output; it is the first child of this process."""
    import resource

    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, done.stdout.splitlines()[0]


if __name__ == "__main__":
    compare()
