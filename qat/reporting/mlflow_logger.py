"""A run in MLflow: its parameters, its metrics over the epochs and on test, and its files.

Only `mlflow-skinny` is needed. A folder takes runs offline; MLflow calls such a store old and wants a variable for it.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from qat import rundir
from qat.commands import python
from qat.errors import ConfigError
from qat.plain_text import without_credentials
from qat.reporting.loggers import column_name
from qat.reporting.terminal import relative_to_cwd
from qat.warning import warn

EXPERIMENT = "qat"
FOLDER = "mlruns"  # in the working directory, as MLflow has it
_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"
_SETTINGS = {_ALLOWED: "true", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
# a line of 350 columns for each retry
_LOG_LEVELS = {"urllib3.connectionpool": logging.ERROR, "mlflow": logging.WARNING}
_URI = re.compile(r"[a-z][a-z0-9+-]+:|databricks|uc\b")


class MlflowLogger:
    """Logs to MLflow. Its run begins with the first scalar: a job that is refused before leaves none.

    Raises:
        ConfigError: MLflow cannot write there.
    """

    def __init__(self, uri: str | None, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        for variable, value in _SETTINGS.items():
            os.environ.setdefault(variable, value)
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for logger_name, level in _LOG_LEVELS.items():
            logging.getLogger(logger_name).setLevel(level)
        self.uri = tracking_uri(uri)
        self._name, self._params, self._tags = name, params, tags
        self._faults: tuple[type[Exception], ...] = (MlflowException, OSError)
        self._run: str | None = None
        self._broken = False
        try:
            self._client = MlflowClient(self.uri)
            self._experiment = _experiment(self._client, self.uri, MlflowException)
        except self._faults as error:
            message = (
                f"log.mlflow_uri={without_credentials(self.uri)}: MLflow cannot write there ({_why(self.uri, error)})."
            )
            advice = "Start its server" if _is_unanswered(error) else "Mend that"
            raise ConfigError(
                f"{message} {advice}, or leave log.mlflow_uri and MLFLOW_TRACKING_URI out: runs then go into "
                f"the folder {FOLDER}."
            ) from error

    def log_scalars(self, run: str, values: Mapping[str, float], step: int) -> None:
        """Log one point of each series, as `<run>/<name>`.

        Args:
            run: name of the TensorBoard run, as `float`.
            values: tag of each series to its value (accuracy as 0-1); tags that a table does not show are passed over.
            step: number of epochs done, MLflow's step.
        """
        from mlflow.entities import Metric

        named = {name: float(value) for tag, value in values.items() if (name := column_name(tag)) is not None}
        now = int(time.time() * 1000)
        metrics = [Metric(f"{run}/{name}", value, now, step) for name, value in named.items()]
        with self._open_run() as run_id:
            if run_id and metrics:
                self._client.log_batch(run_id, metrics=metrics)

    def log_files(self, folder: Path, paths: Sequence[Path]) -> None:
        """Log files as artifacts, in folders as they lie below the run's directory.

        Args:
            folder: the run's directory.
            paths: paths of files below `folder`.
        """
        with self._open_run() as run_id:
            for path in paths if run_id else ():
                inside = path.parent.relative_to(folder).as_posix()
                self._client.log_artifact(run_id, str(path), None if inside == "." else inside)

    def describe(self) -> list[str]:
        folder = local_folder(self.uri)
        if folder is None:
            return [f"Run {self._name!r} in MLflow's experiment {EXPERIMENT}:", f"  {without_credentials(self.uri)}"]
        program = "mlflow" if shutil.which("mlflow") else f"{python()} -m mlflow"
        quoted = shlex.quote(str(relative_to_cwd(folder)))
        command = f"  {_ALLOWED}=true {program} ui --backend-store-uri {quoted}"
        return ["Run for MLflow, whose page needs its whole package (mlflow, not mlflow-skinny):", command]

    def close(self, error: BaseException | None = None) -> None:
        status = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
        if self._run is not None:
            with self._open_run() as run_id:
                if run_id:
                    self._client.set_terminated(run_id, status)

    @contextmanager
    def _open_run(self) -> Iterator[str | None]:
        """The run's id, None once MLflow failed, which is a warning and ends no training."""
        try:
            if self._run is None and not self._broken:
                self._run = self._create_run()
            yield None if self._broken else self._run
        except self._faults as error:
            self._broken = True
            why = _why(self.uri, error)
            warn(f"MLflow takes no more of this run ({why}); the run goes on")

    def _create_run(self) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(self._experiment, run_name=self._name, tags=dict(self._tags))
        params = [Param(_key(key), _text(value)) for key, value in self._params.items()]
        self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)


def tracking_uri(uri: str | None) -> str:
    """Where runs go: the option's URI, else that of MLflow's own variable, else a folder here.

    >>> tracking_uri("http://localhost:5000"), tracking_uri("/a b")
    ('http://localhost:5000', 'file:///a%20b')
    """
    target = uri or os.environ.get("MLFLOW_TRACKING_URI") or FOLDER
    return target if _URI.match(target) else Path(target).expanduser().absolute().as_uri()


def local_folder(uri: str) -> Path | None:
    """
    >>> str(local_folder("file:///a%20b")), local_folder("http://localhost:5000")
    ('/a b', None)
    """
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else None


def _experiment(client: Any, uri: str, refusal: type[Exception]) -> str:
    """The id of the one experiment that all runs are in; jobs of a sweep that begin together make one."""
    folder = local_folder(uri)
    with rundir.lock(folder / ".qat.lock") if folder is not None else nullcontext():
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            return str(experiment.experiment_id)
        try:
            return str(client.create_experiment(EXPERIMENT))
        except refusal:  # another job was faster
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                raise
            return str(experiment.experiment_id)


def _key(key: str) -> str:
    return re.sub(r"[^\w.-]", "_", key)


def _text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)


def _why(uri: str, error: Exception) -> str:
    if _is_unanswered(error):
        return f"no server answers at {urlsplit(without_credentials(uri)).netloc}"
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return textwrap.shorten(without_credentials(line), 300, placeholder=" …")


def _is_unanswered(error: BaseException | None) -> bool:
    """Whether no connection was made; MLflow wraps what its client of HTTP raises."""
    from requests.exceptions import ConnectionError as NoConnection

    while error is not None:
        if isinstance(error, NoConnection | ConnectionError):
            return True
        error = error.__cause__ or error.__context__
    return False
