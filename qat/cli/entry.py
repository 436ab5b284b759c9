"""Open a door: check what the command line asks for, let Hydra run it, end with our message and our exit code.

Hydra alone would swallow the task's exit code, print a stack for every refusal and begin a sweep before all of its jobs
are known to be sound.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import qat
from qat import limits, rundir
from qat.cli.command_line import understood
from qat.cli.compose import compose, conf_dir, register, typed
from qat.cli.explain import explain
from qat.cli.help import help_page
from qat.cli.hydra_plugins import register_plugins
from qat.cli.launchers.worker import as_worker
from qat.cli.log_file import logged
from qat.cli.sweeps.requested_jobs import arguments_of, flags_first, requested
from qat.cli.sweeps.resume import resumed
from qat.config import BenchmarkConfig, Config
from qat.errors import ConfigError, JobError, QatError, RunDirError
from qat.plain_text import HarmlessStream, without_credentials, writable
from qat.wrapping import columns_of, wrapped

_INTERRUPTED, _TERMINATED = 130, 143  # 128 + the signal's number, as shells count
_FOLDER_FAULTS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}

Task = Callable[[Any, Path], object]


def open_door(task: Task, *, primary: str, schema: type, once_a_folder: bool = False) -> NoReturn:
    """Run `task(config, run_dir)` once, or once a job of a sweep, and end the process.

    With `once_a_folder`, a folder that holds a finished run is refused before Hydra writes into it.

    Exit codes: 0, the `exit_code` of the QatError that ended it (2 a refusal, 3 a diverged training, 4 broken
    parity), 130 and 143 for Ctrl-C and SIGTERM, 1 for an error nobody foresaw.
    """
    with_stack = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are; we say them
    signal.signal(signal.SIGTERM, _terminate)
    _look_for_modules_here()
    try:
        sys.argv[1:] = flags_first(as_worker(resumed(understood(sys.argv[1:], primary, schema))))
        arguments = _to_run(primary, schema)
        for overrides in requested(arguments, primary, schema):
            compose(overrides, primary=primary, schema=schema)
            if once_a_folder:
                rundir.refuse_finished(_folder_said(overrides, primary))
        register(primary, schema)
        register_plugins()
        _run(task, primary, schema, with_stack)
    except KeyboardInterrupt:
        sys.exit(_last_words("interrupted; what was written so far is whole", _INTERRUPTED))
    except Exception as error:
        told = _in_our_words(error, schema)
        if with_stack or told is None:
            traceback.print_exception(error)
        sys.exit(1 if told is None else _last_words(str(told), told.exit_code))
    sys.exit(0)


def _look_for_modules_here() -> None:
    """Modules of the user's are found in the folder that the command is called in, however it was started."""
    package = str(Path(qat.__file__).parent)
    sys.path[:] = [folder for folder in sys.path if folder != package]  # that of `python qat/train.py`
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))


def _to_run(primary: str, schema: type) -> argparse.Namespace:
    """The arguments; `--help` and `--version`, which need no run, are answered and end the process."""
    if "--version" in sys.argv:
        print(f"qat {qat.__version__}")
        sys.exit(0)
    arguments = arguments_of(sys.argv[1:])
    if arguments.help:
        print(help_page(arguments.overrides, primary, schema))
        sys.exit(0)
    return arguments


def _run(task: Task, primary: str, schema: type, with_stack: bool) -> None:
    """The one run, or all jobs of the sweep; an error of the one run is carried past Hydra, which would print it."""
    failed: list[Exception] = []
    missing = rundir.missing_folders(_folder_said(sys.argv[1:], primary))

    def job(node: DictConfig) -> object:
        try:
            return _run_job(task, node, schema, with_stack, missing)
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            failed.append(error)
            return None

    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=primary)(job)()
    except OSError as error:
        if error.filename is None or isinstance(error, QatError):
            raise
        raise _folder_refused(error) from error  # Hydra makes the folder of a run
    if failed:
        raise failed[0]


def _folder_said(overrides: list[str], primary: str) -> Path:
    """Where the one run goes: said on the command line, else as conf/hydra/folders.yaml has it."""
    for key, _, value in (override.partition("=") for override in overrides):
        if key == "hydra.run.dir":
            return Path(value.strip("'\"")).expanduser()
    return Path("outputs", primary, time.strftime("%Y-%m-%d"), "a time")


def _run_job(task: Task, node: DictConfig, schema: type, with_stack: bool, missing: frozenset[Path]) -> object:
    """The one run, or a job of a sweep, which may be in a process, or on a machine, of its own."""
    _say_warnings_once()
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    task = _within_limits(_without_litter(_logged(task) if schema is Config else task, schema, missing))
    if schema not in (Config, BenchmarkConfig):  # these draw bars
        sys.stdout = HarmlessStream(sys.stdout)  # type: ignore[assignment]
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return task(typed(node, schema), run_dir)
    from qat.reporting.terminal import relative_to_cwd

    (run_dir / rundir.FAILED).unlink(missing_ok=True)
    print(f"job {HydraConfig.get().job.num + 1}:\n  {relative_to_cwd(run_dir)}", flush=True)
    try:
        return task(typed(node, schema), run_dir)
    except Exception as error:
        raise _failed_job(error, run_dir, schema, with_stack) from None


def _say_warnings_once() -> None:
    """In our words, each once a job: who looks at the same data again finds the same."""
    said: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in said:
            said.add(str(message))
            print(_on_stderr(f"warning: {message}"), file=sys.stderr, flush=True)

    warnings.showwarning = show


def _without_litter(task: Task, schema: type, missing: frozenset[Path]) -> Task:
    """What is refused before it made anything leaves no folder, neither its own nor one of `missing` on the way."""

    def run(config: Any, run_dir: Path) -> object:
        try:
            return task(config, run_dir)
        except QatError as error:
            if error.exit_code == QatError.exit_code and not (schema is Config and _keeps_no_files()):
                is_job = HydraConfig.get().mode == RunMode.MULTIRUN
                rundir.remove_bare(run_dir, events_only=is_job, made=missing)
            raise

    return run


def _logged(task: Task) -> Task:
    """With a log beside the results."""

    def run(config: Any, run_dir: Path) -> object:
        if _keeps_no_files():
            return task(config, run_dir)
        with logged(run_dir / rundir.LOG, " ".join(HydraConfig.get().overrides.task)):
            return task(config, run_dir)

    return run


def _keeps_no_files() -> bool:
    """Whether this is a worker of a training, whose files another process writes."""
    return HydraConfig.get().job_logging.get("root") is None


def _within_limits(task: Task) -> Task:
    def run(config: Any, run_dir: Path) -> object:
        with limits.use(config.limits):
            return task(config, run_dir)

    return run


def _failed_job(error: Exception, run_dir: Path, schema: type, with_stack: bool) -> JobError:
    """Said at once, for a sweep may go on for hours; written into the job's folder; carried to the sweep's end."""
    told = _in_our_words(error, schema)
    if with_stack or told is None:
        traceback.print_exception(error)
    failed = JobError(f"{type(error).__name__}: {error}" if told is None else str(told), getattr(told, "exit_code", 1))
    from qat.reporting.terminal import relative_to_cwd

    said = f"this job failed, the others go on:\n  {relative_to_cwd(run_dir)}\n{failed}"
    print(_on_stderr(said), file=sys.stderr, flush=True)
    with suppress(OSError):
        record = {"error": type(error).__name__, "message": str(failed), "exit_code": failed.exit_code}
        rundir.write_json(run_dir / rundir.FAILED, record)
    return failed


def _in_our_words(error: Exception, schema: type) -> QatError | None:
    if isinstance(error, QatError):
        return error
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return ConfigError(explain(error, schema))
    if isinstance(error, OSError) and error.errno in _FOLDER_FAULTS and error.filename:
        return _folder_refused(error)
    return None


def _folder_refused(error: OSError) -> RunDirError:
    return RunDirError(f"{error.filename}: {error.strerror}. Choose another folder, as hydra.run.dir=DIR.")


def _last_words(message: str, exit_code: int) -> int:
    print(_on_stderr(message), file=sys.stderr, flush=True)
    return exit_code


def _on_stderr(message: str) -> str:
    return wrapped(f"qat: {writable(without_credentials(message))}", columns_of(sys.stderr))


def _terminate(signal_number: int, _frame: object) -> NoReturn:
    sys.exit(_last_words("terminated; what was written so far is whole", _TERMINATED))
