"""The entry point of qat.train with a task that needs no TensorFlow: fails for an odd seed, else leaves a result."""

import dataclasses
import json
import os
import sys
import warnings
from pathlib import Path

from qat import rundir
from qat.cli import run_command
from qat.config import Config
from qat.errors import DataError

METRIC = {"name": "accuracy", "value": 0.5, "higher_is_better": True}


def task(config: Config, run_dir: Path) -> tuple[float, float]:
    crash = Path("crash")  # as many lines as jobs that crash
    if crash.exists() and crash.read_text():
        crash.write_text(crash.read_text()[1:])
        os._exit(9)  # as native code does, or the kernel for want of memory
    deadly = Path("deadly")  # the seed whose job always crashes
    if deadly.exists() and deadly.read_text() == str(config.seed):
        os._exit(9)
    if Path("refused").exists():
        with rundir.claim(run_dir):
            rundir.write_bytes(run_dir / "tensorboard" / "events.out.tfevents.1", b"")
        for _ in range(2):  # printed once
            warnings.simplefilter("default")
            warnings.warn("few samples", stacklevel=1)
        raise DataError("no such data")
    if config.seed % 2:
        raise ValueError(f"seed {config.seed} is odd")
    size = 1000 + config.seed
    accuracy = 0.5 + config.quant.learning_rate
    files = {"size_bytes": size, "integer_only": True, "input_dtype": "int8", "output_dtype": "int8"}
    variants = {
        name: {"file": f"{name}/model.tflite", "metric": METRIC | {"value": accuracy}} | files
        for name in ("float", "qat_int8")
    }
    result = {"variants": variants, "seeds": {"seed": config.seed}, "versions": {}, "sha256": {}}
    (run_dir / "results.json").write_text(json.dumps(result | {"config": dataclasses.asdict(config)}))
    (run_dir / "ran").write_text(f"{config.train.threads} {config.threads} {os.getpid()} {config.log.progress}")
    return accuracy, float(size)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    run_command(task, primary="train", schema=Config)
