"""`python -m qat.evaluate tflite=FILE data=…`: what is anybody's file worth on that data? No TensorFlow."""

import sys
from pathlib import Path
from typing import NoReturn

from qat.cli import expand_path_argument, run_command
from qat.config import EvaluateConfig


def evaluate(config: EvaluateConfig, run_dir: Path) -> object:
    """Print what was found and how; write `evaluation.json` into `run_dir`."""
    from qat.stages.evaluate_file import evaluate_file

    return evaluate_file(config, run_dir)


def main() -> NoReturn:
    sys.argv[1:] = [part for argument in sys.argv[1:] for part in expand_path_argument(argument)]
    run_command(evaluate, primary="evaluate", schema=EvaluateConfig)


if __name__ == "__main__":
    main()
