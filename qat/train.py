"""`python -m qat.train`: train or load a float model, quantize it, export it, compare the deployed files."""

import sys
from pathlib import Path
from typing import Any, NoReturn

from qat import targets, trust
from qat.cli import expand_path_argument, freeze_imports, import_tensorflow, run_command, without_collection
from qat.config import Config


def train(config: Config, run_dir: Path) -> object:
    """Run one job. TensorFlow is imported here and not above: the config has been checked by now.

    Args:
        config: the whole config, checked, as `python -m qat.train` composes it.
        run_dir: folder of the run, which all files are written into.

    Returns:
        The values of `sweep.objectives`, one number or a tuple (accuracy as 0-1, bytes, ms), for a sweep that searches;
        None in a worker that is not the chief.

    Raises:
        QatError: the job fails; its `exit_code` is the command's.
    """
    _check_targets(config)
    if (config.float_run or config.model.name == "saved") and config.trust is not True:
        from qat.models.untrusted.trial import start_early

        start_early()  # it imports TensorFlow as well, at the same time
    import_tensorflow()
    with without_collection():
        from qat.stages.main_job import main_job
        from qat.stages.objectives import compute_objectives

    freeze_imports()
    result = main_job(config, run_dir)
    return None if result is None else compute_objectives(config.sweep.objectives, result)


def _check_targets(config: Config) -> None:
    used: dict[str, Any] = {"train.optimizer": config.train.optimizer, "quant.optimizer": config.quant.optimizer}
    if config.model.name == "user":
        used["model.target"] = config.model.target
    if config.data.name == "user":
        used["data.target"] = config.data.target
    used |= {f"train.callbacks[{index}]": each for index, each in enumerate(config.train.callbacks)}
    for key, target in used.items():
        targets.check_module(key, target)
        for inner, name in trust.targets_of(target):  # arguments may be made by functions, too
            section = ".".join([key, *inner.split(".")[:-1]])
            targets.check_module(section, {trust.TARGET: name})


def main() -> NoReturn:
    sys.argv[1:] = [part for argument in sys.argv[1:] for part in expand_path_argument(argument)]
    run_command(train, primary="train", schema=Config, refuse_finished_folder=True)


if __name__ == "__main__":
    main()
