"""`python -m qat.evaluate tflite=FILE data=…`: accuracy of any file on labelled data. No TensorFlow."""

import sys
from pathlib import Path
from typing import NoReturn

from qat.cli import expand_path_argument, run_command
from qat.config import EvaluateConfig


def evaluate(config: EvaluateConfig, run_dir: Path) -> object:
    """Print the accuracy and how it was measured; write `evaluation.json`.

    Args:
        config: the file, the data and how the file is fed.
        run_dir: directory of this call, where `evaluation.json` is written.

    Returns:
        The JSON value that was written: the score in its unit, the split, the samples, how they were fed.
    """
    from qat.stages.evaluate_file import evaluate_file

    return evaluate_file(config, run_dir)


def main() -> NoReturn:
    sys.argv[1:] = [part for argument in sys.argv[1:] for part in expand_path_argument(argument, ("data",))]
    run_command(evaluate, primary="evaluate", schema=EvaluateConfig)


if __name__ == "__main__":
    main()
