"""`python -m qat.benchmark tflite=FILE`, `tflite=[A,B]` or `run=DIR`: latency, size and memory on this machine."""

from pathlib import Path
from typing import NoReturn

from qat.cli import run_command
from qat.config import BenchmarkConfig


def benchmark(config: BenchmarkConfig, run_dir: Path) -> object:
    """Measure files, print a table and write `benchmark.json`. TensorFlow is imported after measuring, if at all.

    Args:
        config: files or run, and the settings to measure them in, as `python -m qat.benchmark` composes them.
        run_dir: folder that `benchmark.json`, tables and plots are written into.

    Returns:
        One row per file and setting, as `qat.stages.benchmark` returns them: times in ms, sizes and peaks in bytes.

    Raises:
        ConfigError: an option with a value that is not allowed.
        TfliteFileError: a file that is not a usable one, or that cannot be run in any setting.
    """
    from qat.stages.benchmark import benchmark as measure

    return measure(config, run_dir)


def main() -> NoReturn:
    run_command(benchmark, primary="benchmark", schema=BenchmarkConfig)


if __name__ == "__main__":
    main()
