"""A run in MLflow: what it was asked for, its curves, what its files are worth on test, and the files themselves.

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
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from qat import rundir
from qat.commands import python
from qat.errors import ConfigError
from qat.plain_text import without_credentials
from qat.reporting.loggers import column
from qat.reporting.terminal import near

EXPERIMENT = "qat"
FOLDER = "mlruns"  # in the working directory, as MLflow has it
_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"
_SETTINGS = {_ALLOWED: "true", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
_LOUD = {"urllib3.connectionpool": logging.ERROR, "mlflow": logging.WARNING}  # a line of 350 columns for each retry
_URI = re.compile(r"[a-z][a-z0-9+-]+:|databricks|uc\b")


class MlflowLogger:
    """Begins its run with the first curve: what is refused before leaves none.

    Raises:
        ConfigError: MLflow cannot write there.
    """

    def __init__(self, uri: str | None, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        for variable, value in _SETTINGS.items():
            os.environ.setdefault(variable, value)
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for loud, level in _LOUD.items():
            logging.getLogger(loud).setLevel(level)
        self.uri = tracking_uri(uri)
        self._name, self._params, self._tags = name, params, tags
        self._faults: tuple[type[Exception], ...] = (MlflowException, OSError)
        self._run: str | None = None
        self._broken = False
        try:
            self._client = MlflowClient(self.uri)
            self._experiment = _experiment(self._client, self.uri, MlflowException)
        except self._faults as error:
            said = (
                f"log.mlflow_uri={without_credentials(self.uri)}: MLflow cannot write there ({_why(self.uri, error)})."
            )
            advice = "Start its server" if _unanswered(error) else "Mend that"
            raise ConfigError(
                f"{said} {advice}, or leave log.mlflow_uri and MLFLOW_TRACKING_URI out: runs then go into "
                f"the folder {FOLDER}."
            ) from error

    def scalars(self, run: str, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        named = {name: float(value) for tag, value in values.items() if (name := column(tag)) is not None}
        now = int(time.time() * 1000)
        metrics = [Metric(f"{run}/{name}", value, now, step) for name, value in named.items()]
        with self._begun() as begun:
            if begun and metrics:
                self._client.log_batch(begun, metrics=metrics)

    def files(self, folder: Path, paths: Sequence[Path]) -> None:
        with self._begun() as begun:
            for path in paths if begun else ():
                inside = path.parent.relative_to(folder).as_posix()
                self._client.log_artifact(begun, str(path), None if inside == "." else inside)

    def told(self) -> list[str]:
        folder = local_folder(self.uri)
        if folder is None:
            return [f"Run {self._name!r} in MLflow's experiment {EXPERIMENT}:", f"  {without_credentials(self.uri)}"]
        program = "mlflow" if shutil.which("mlflow") else f"{python()} -m mlflow"
        place = shlex.quote(str(near(folder)))
        page = f"  {_ALLOWED}=true {program} ui --backend-store-uri {place}"
        return ["Run for MLflow, whose page needs its whole package (mlflow, not mlflow-skinny):", page]

    def close(self, error: BaseException | None = None) -> None:
        ended = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
        if self._run is not None:
            with self._begun() as begun:
                if begun:
                    self._client.set_terminated(begun, ended)

    @contextmanager
    def _begun(self) -> Iterator[str | None]:
        """The run's id, None once MLflow failed: that is said, and ends no training."""
        try:
            if self._run is None and not self._broken:
                self._run = self._begin()
            yield None if self._broken else self._run
        except self._faults as error:
            self._broken = True
            why = _why(self.uri, error)
            warnings.warn(f"MLflow takes no more of this run ({why}); the run goes on", stacklevel=2)

    def _begin(self) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(self._experiment, run_name=self._name, tags=dict(self._tags))
        params = [Param(_key(key), _text(value)) for key, value in self._params.items()]
        self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)


def tracking_uri(given: str | None) -> str:
    """Where runs go: as given, else as MLflow's own variable says, else a folder here.

    >>> tracking_uri("http://localhost:5000"), tracking_uri("/a b")
    ('http://localhost:5000', 'file:///a%20b')
    """
    wanted = given or os.environ.get("MLFLOW_TRACKING_URI") or FOLDER
    return wanted if _URI.match(wanted) else Path(wanted).expanduser().absolute().as_uri()


def local_folder(uri: str) -> Path | None:
    """
    >>> str(local_folder("file:///a%20b")), local_folder("http://localhost:5000")
    ('/a b', None)
    """
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else None


def _experiment(client: Any, uri: str, refused: type[Exception]) -> str:
    """The id of the one experiment that all runs are in; jobs of a sweep that begin together make one."""
    folder = local_folder(uri)
    with rundir.lock(folder / ".qat.lock") if folder is not None else nullcontext():
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(client.create_experiment(EXPERIMENT))
        except refused:  # somebody was faster
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
            return str(found.experiment_id)


def _key(key: str) -> str:
    return re.sub(r"[^\w.-]", "_", key)


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)


def _why(uri: str, error: Exception) -> str:
    if _unanswered(error):
        return f"no server answers at {urlsplit(without_credentials(uri)).netloc}"
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return textwrap.shorten(without_credentials(line), 300, placeholder=" …")


def _unanswered(error: BaseException | None) -> bool:
    """Whether no connection was made; MLflow wraps what its client of HTTP raises."""
    from requests.exceptions import ConnectionError as NoConnection

    while error is not None:
        if isinstance(error, NoConnection | ConnectionError):
            return True
        error = error.__cause__ or error.__context__
    return False
