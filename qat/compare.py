"""`python -m qat.compare runs=DIR`: compare any number of runs and sweeps on one page. No TensorFlow."""

import sys
from pathlib import Path
from typing import NoReturn

from qat.cli import run_command
from qat.config import CompareConfig


def compare(config: CompareConfig, run_dir: Path) -> None:
    """Write tables, plots and a page.

    Args:
        config: directories of runs, order, filters and confidence (0.5-1), as `python -m qat.compare` composes them.
        run_dir: folder that `index.html`, the tables and a PNG per plot are written into.

    Raises:
        ConfigError: no directories, or a filter or column that no run knows.
        RunDirError: a directory that does not exist, or not one finished run in all of them.
    """
    from qat.stages.compare import compare as compare_stage

    compare_stage(config, run_dir)


def _condition_as_text(argument: str) -> str:
    """Put `filter=size_bytes<300000` in quotes, which Hydra's grammar requires around `<` and a second `=`.

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
