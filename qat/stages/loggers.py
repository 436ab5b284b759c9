"""Loggers beside TensorBoard, as `log` asks for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from qat import rundir
from qat.comparison.record import flat
from qat.config import Config
from qat.reporting.dashboard import session_settings
from qat.reporting.loggers import CsvLogger, Logger
from qat.stages.provenance import git_commit, overrides_of


def loggers_of(config: Config, folder: Path) -> list[Logger]:
    """Raises: ConfigError where MLflow cannot write."""
    found: list[Logger] = [CsvLogger(folder / rundir.METRICS)] if config.log.csv else []
    if config.log.mlflow:
        from qat.reporting.mlflow_logger import MlflowLogger  # brings mlflow: seconds

        params = session_settings(dict(flat(dataclasses.asdict(config))), overrides_of(folder) or [])
        tags = {"mlflow.source.name": "qat.train", "run_dir": str(folder.absolute())}
        commit, _ = git_commit()
        tags |= {"mlflow.source.git.commit": commit} if commit else {}
        found.append(MlflowLogger(config.log.mlflow_uri, folder.name, params, tags))
    return found
