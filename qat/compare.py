"""`python -m qat.compare runs=DIR`: any number of runs and sweeps side by side, as a page. No TensorFlow."""

from pathlib import Path

from qat.config import CompareConfig
from qat.door import open_door


def compare(config: CompareConfig, run_dir: Path) -> None:
    """Tables, plots and a page in `run_dir`."""
    from qat.stages.compare import compare as compare_stage

    compare_stage(config, run_dir)


if __name__ == "__main__":
    open_door(compare, primary="compare", schema=CompareConfig)
