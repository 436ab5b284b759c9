"""`python -m qat.benchmark tflite=FILE`, `tflite=[A,B]` or `run=DIR`: latency, size and memory on this machine."""

from pathlib import Path
from typing import NoReturn

from qat.cli import run_command
from qat.config import BenchmarkConfig


def benchmark(config: BenchmarkConfig, run_dir: Path) -> object:
    """Measure files, print a table and write `benchmark.json`. TensorFlow is imported after measuring, if at all.

    Args:
        config: the command's config.
        run_dir: where `benchmark.json` is written.

    Returns:
        What the stage returns.
    """
    from qat.stages.benchmark import benchmark as measure

    return measure(config, run_dir)


def main() -> NoReturn:
    run_command(benchmark, primary="benchmark", schema=BenchmarkConfig)


if __name__ == "__main__":
    main()
