"""Loggers in addition to TensorBoard, as `log` asks for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from qat import rundir
from qat.comparison.record import flatten
from qat.config import Config
from qat.reporting.dashboard import select_hparams
from qat.reporting.loggers import CsvLogger, Logger
from qat.stages.provenance import git_commit, read_overrides


def make_loggers(config: Config, folder: Path) -> list[Logger]:
    """The loggers that `log.csv` and `log.mlflow` ask for.

    Args:
        config: the run's config; MLflow gets its settings as parameters.
        folder: the run's directory.

    Returns:
        Zero, one or two loggers, ready to take scalars.

    Raises:
        ConfigError: MLflow cannot write where `log.mlflow_uri` says.
    """
    loggers: list[Logger] = [CsvLogger(folder / rundir.METRICS)] if config.log.csv else []
    if config.log.mlflow:
        from qat.reporting.mlflow_logger import MlflowLogger  # brings mlflow: seconds

        params = select_hparams(dict(flatten(dataclasses.asdict(config))), read_overrides(folder) or [])
        tags = {"mlflow.source.name": "qat.train", "run_dir": str(folder.absolute())}
        commit, _ = git_commit()
        tags |= {"mlflow.source.git.commit": commit} if commit else {}
        loggers.append(MlflowLogger(config.log.mlflow_uri, folder.name, params, tags))
    return loggers
