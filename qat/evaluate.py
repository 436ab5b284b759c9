"""`python -m qat.evaluate tflite=FILE data=…`: accuracy of any file on labelled data. No TensorFlow."""

import sys
from pathlib import Path
from typing import NoReturn

from qat.cli import expand_path_argument, run_command
from qat.config import EvaluateConfig


def evaluate(config: EvaluateConfig, run_dir: Path) -> object:
    """Print the accuracy and how it was measured; write `evaluation.json`.

    Args:
        config: the command's config.
        run_dir: where `evaluation.json` is written.

    Returns:
        What the stage returns.
    """
    from qat.stages.evaluate_file import evaluate_file

    return evaluate_file(config, run_dir)


def main() -> NoReturn:
    sys.argv[1:] = [part for argument in sys.argv[1:] for part in expand_path_argument(argument)]
    run_command(evaluate, primary="evaluate", schema=EvaluateConfig)


if __name__ == "__main__":
    main()
