"""`python -m qat.benchmark tflite=FILE`, `tflite=[A,B]` or `run=DIR`: what do these files cost on this machine?"""

from pathlib import Path
from typing import NoReturn

from qat.cli import run_command
from qat.config import BenchmarkConfig


def benchmark(config: BenchmarkConfig, run_dir: Path) -> object:
    """Measure, print and write into `run_dir`. TensorFlow is imported after measuring, if at all."""
    from qat.stages.benchmark import benchmark as measure

    return measure(config, run_dir)


def main() -> NoReturn:
    run_command(benchmark, primary="benchmark", schema=BenchmarkConfig)


if __name__ == "__main__":
    main()
