"""`python -m qat.train`: train or take a float model, quantize it, export it, compare what is deployed."""

import sys
from pathlib import Path
from typing import NoReturn

from qat import targets
from qat.cli import by_path, import_tensorflow, open_door, spare_imports
from qat.config import Config


def train(config: Config, run_dir: Path) -> object:
    """One run into `run_dir`; what it was worth by `sweep.objectives`, for a sweep that searches.

    TensorFlow is imported here and not above: the config has been checked by now.
    """
    _check_targets(config)
    if (config.float_run or config.model.name == "saved") and config.trust is not True:
        from qat.models.untrusted.trial import start_early

        start_early()  # it imports TensorFlow as well, at the same time
    import_tensorflow()
    from qat.stages.main_job import main_job
    from qat.stages.objectives import compute_objectives

    spare_imports()
    result = main_job(config, run_dir)
    return None if result is None else compute_objectives(config.sweep.objectives, result, run_dir)


def _check_targets(config: Config) -> None:
    used = {"train.optimizer": config.train.optimizer, "quant.optimizer": config.quant.optimizer}
    if config.model.name == "user":
        used["model.target"] = config.model.target
    if config.data.name == "user":
        used["data.target"] = config.data.target
    for key, target in used.items():
        targets.check_module(key, target)


def main() -> NoReturn:
    sys.argv[1:] = [part for argument in sys.argv[1:] for part in by_path(argument)]
    open_door(train, primary="train", schema=Config, once_a_folder=True)


if __name__ == "__main__":
    main()
