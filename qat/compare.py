"""`python -m qat.compare runs=DIR`: any number of runs and sweeps side by side, as a page. No TensorFlow."""

import sys
from pathlib import Path
from typing import NoReturn

from qat.cli import run_command
from qat.config import CompareConfig


def compare(config: CompareConfig, run_dir: Path) -> None:
    """Tables, plots and a page in `run_dir`."""
    from qat.stages.compare import compare as compare_stage

    compare_stage(config, run_dir)


def _condition_as_text(argument: str) -> str:
    """`filter=size_bytes<300000` in Hydra's quotes, which its grammar wants round `<` and a second `=`.

    >>> _condition_as_text("filter=variant=qat_int8 and drop<0.01")
    'filter="variant=qat_int8 and drop<0.01"'
    """
    value = argument.removeprefix("filter=")
    if value == argument or value[:1] in ("", "[", '"', "'"):
        return argument
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'filter="{escaped}"'


def main() -> NoReturn:
    sys.argv[1:] = [_condition_as_text(argument) for argument in sys.argv[1:]]
    run_command(compare, primary="compare", schema=CompareConfig)


if __name__ == "__main__":
    main()
