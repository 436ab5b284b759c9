"""Run a command: check its command line, let Hydra run it, end with our message and our exit code.

Hydra alone would lose the task's exit code, print a traceback for every refusal and begin a sweep before the configs of
all of its jobs are checked.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import qat
from qat import interrupts, limits, manifest, rundir
from qat.cli.command_line import find_repeated, normalize_arguments
from qat.cli.compose import compose, conf_dir, register, to_config
from qat.cli.explain import explain
from qat.cli.help import help_page
from qat.cli.hydra_plugins import register_plugins
from qat.cli.idle_settings import find_idle_settings
from qat.cli.lasting_output import let_output_last
from qat.cli.launchers.worker import redirect_worker_files
from qat.cli.log_file import log_to_file
from qat.cli.resumed_run import is_finished, resume_run_arguments, resumed_folder
from qat.cli.sweeps.requested_jobs import asks_for_sweep, list_requested_jobs, parse_arguments, put_flags_first
from qat.cli.sweeps.resume import resume_arguments
from qat.config import BenchmarkConfig, Config, VerifyConfig
from qat.errors import ConfigError, JobError, QatError, RunDirError
from qat.plain_text import HarmlessStream, is_utf8, without_credentials, writable
from qat.wrapping import say

_BY_TIME = "a time"  # stands for the folder of a run that no override names
_BACKENDS = {"KERAS_BACKEND": "tensorflow", "MPLBACKEND": "agg"}  # of this process, whatever is set for other work
_FOLDER_FAULTS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
}

_SWEEPS = " What is missing of a sweep is run by sweep.resume=DIR"
Task = Callable[[Any, Path], object]


def run_command(task: Task, *, primary: str, schema: type, refuse_finished_folder: bool = False) -> NoReturn:
    """Run `task(config, run_dir)` once, or once per job of a sweep, and end the process.

    Args:
        task: takes the checked config (an instance of `schema`) and the folder of the run.
        primary: the command, which is the name of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.
        refuse_finished_folder: refuse a folder that holds a finished run, one of other settings, or one that is being
            written, before Hydra writes into it.

    Returns:
        Never: it ends the process.

    Raises:
        SystemExit: always; 0, the `exit_code` of the QatError that ended the task (2 a refusal, 3 a diverged training,
            4 broken parity), 129, 130 and 143 for SIGHUP, Ctrl-C and SIGTERM, 1 for an unexpected error.
    """
    with_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are; we print them
    let_output_last()
    os.environ.update(_BACKENDS)
    try:
        interrupts.handle_signals()
        _import_from_working_folder()
        if schema is not VerifyConfig:  # which writes nothing
            _refuse_undecodable(sys.argv[1:])
        argv = normalize_arguments(sys.argv[1:], primary, schema)
        for sentence in find_repeated(argv):
            _say_on_stderr(f"warning: {sentence}")
        resumed = resumed_folder(argv) if schema is Config else None
        if schema is Config:
            argv = resume_run_arguments(argv)
        sys.argv[1:] = put_flags_first(redirect_worker_files(resume_arguments(argv)))
        arguments = _parse_or_answer(primary, schema)
        if resumed is not None and asks_for_sweep(arguments, primary, schema):
            raise RunDirError(f"resume={resumed}: its settings ask for a sweep, and one run goes on here.{_SWEEPS}")
        idle: list[frozenset[str]] = []  # of each job
        for overrides in list_requested_jobs(arguments, primary, schema):
            config = compose(overrides, primary=primary, schema=schema)
            idle.append(find_idle_settings(config, overrides))
            if refuse_finished_folder and not arguments.multirun:
                _check_folder(_find_run_folder(overrides, primary), config, resumed is not None)
        for sentence in sorted(frozenset.intersection(*idle) if idle else ()):
            _say_on_stderr(f"warning: {sentence}")
        register(primary, schema)
        register_plugins()
        is_run = not (arguments.multirun or arguments.cfg or arguments.info or arguments.hydra_help)
        _run(task, primary, schema, with_traceback, refuse_finished_folder and is_run)
    except KeyboardInterrupt:
        _end_by_signal(signal.SIGINT)
    except interrupts.Interrupted as end:
        _end_by_signal(end.number)
    except Exception as error:
        if interrupts.is_among_causes(error):
            _end_by_signal(signal.SIGINT)
        known_error = _to_qat_error(error, schema)
        if with_traceback or known_error is None:
            traceback.print_exception(error)
        sys.exit(1 if known_error is None else _print_error(str(known_error), known_error.exit_code))
    sys.exit(0)


def _end_by_signal(number: int) -> NoReturn:
    interrupts.exit_at_once()
    sys.exit(_print_error(f"{interrupts.describe(number)}; what was written so far is whole", 128 + number))


def _import_from_working_folder() -> None:
    """Let the user's modules be imported from the working folder, however the command was started."""
    package = str(Path(qat.__file__).parent)
    sys.path[:] = [folder for folder in sys.path if folder != package]  # that of `python qat/train.py`
    try:
        here = str(Path.cwd())
    except OSError as error:
        raise RunDirError("the working folder is no longer there: change into another one, by cd.") from error
    if not {"", here} & set(sys.path):
        sys.path.insert(0, here)


def _refuse_undecodable(arguments: list[str]) -> None:
    """Refuse names of files that are no text: results, pages and LiteRT take UTF-8."""
    for text in (*arguments, os.getcwd()):  # noqa: PTH109 (a Path would be made a text again)
        if not is_utf8(text):
            raise ConfigError(
                f"{ascii(text)[1:-1]}: a name that is no UTF-8 text, which results and pages cannot hold. Rename it, "
                "or set LC_ALL=C.UTF-8 where it looks right to you."
            )


def _parse_or_answer(primary: str, schema: type) -> argparse.Namespace:
    """Parse the arguments; `--help` and `--version`, which need no run, are answered and end the process."""
    if "--version" in sys.argv:
        print(f"qat {qat.__version__}")
        sys.exit(0)
    arguments = parse_arguments(sys.argv[1:])
    if arguments.help:
        print(help_page(arguments.overrides, primary, schema))
        sys.exit(0)
    return arguments


def _run(task: Task, primary: str, schema: type, with_traceback: bool, reserves_folder: bool) -> None:
    """Run the task or all jobs of the sweep; an error of a single run is kept from Hydra, which would print it.

    A folder that the command line names is locked before Hydra writes into it. One by time is nobody else's.
    """
    errors: list[Exception] = []
    folder = _find_run_folder(sys.argv[1:], primary)
    missing_folders = rundir.missing_folders(folder)
    is_named = folder.name != _BY_TIME and "${" not in str(folder)

    def job(node: DictConfig) -> object:
        try:
            return _run_job(task, node, schema, with_traceback, missing_folders)
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            errors.append(error)
            return None

    try:
        with (
            rundir.reserve(folder) if is_named and reserves_folder else nullcontext(),
            _scratch_folder() if schema is VerifyConfig and _is_sweep() else nullcontext(),
        ):
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=primary)(job)()
    except OSError as error:
        if error.filename is None or isinstance(error, QatError):
            raise
        raise _folder_error(error) from error  # Hydra makes the folder of a run
    if errors:
        raise errors[0]


@contextmanager
def _scratch_folder() -> Iterator[None]:
    """Let a sweep of a command that leaves nothing behind write what Hydra writes into a folder that goes again."""
    with tempfile.TemporaryDirectory(prefix="qat-") as folder:
        sys.argv.append(f"hydra.sweep.dir={folder}")
        yield


def _is_sweep() -> bool:
    return bool({"-m", "--multirun"} & set(sys.argv))


def _find_run_folder(overrides: list[str], primary: str) -> Path:
    """The folder of a single run: the last that the command line names, else as in conf/hydra/folders.yaml."""
    for key, _, value in (override.partition("=") for override in reversed(overrides)):
        if key == "hydra.run.dir":
            return Path(value.strip("'\"")).expanduser()
    return Path("outputs", primary, time.strftime("%Y-%m-%d"), _BY_TIME)


def _check_folder(folder: Path, config: Any, resumes: bool) -> None:
    """Refuse a folder that this run cannot go on in, before Hydra writes there; a finished one ends `resume=DIR`."""
    from qat.stages.kept_work import refuse_other_settings  # brings NumPy

    if resumes and is_finished(folder):
        refuse_other_settings(folder, config, compose(resume_run_arguments([f"resume={folder}"])))
        manifest.remove(folder)  # it was killed after its results
        print(f"nothing to do: the run is finished\n  {folder / rundir.RESULTS}")
        sys.exit(0)
    refuse_other_settings(folder, config)
    rundir.refuse_finished(folder)
    rundir.refuse_claimed(folder)


def _run_job(
    task: Task, node: DictConfig, schema: type, with_traceback: bool, missing_folders: frozenset[Path]
) -> object:
    """Run the task, or one job of a sweep, which may be in a process, or on a machine, of its own."""
    _print_warnings_once()
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    task = _with_limits(_remove_empty_folders(_with_log(task) if schema is Config else task, schema, missing_folders))
    if schema not in (Config, BenchmarkConfig):  # these draw progress bars
        sys.stdout = HarmlessStream(sys.stdout)  # type: ignore[assignment]
    if schema is Config or HydraConfig.get().mode == RunMode.MULTIRUN:
        (run_dir / rundir.FAILED).unlink(missing_ok=True)
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return task(to_config(node, schema), run_dir)

    from qat.reporting.terminal import relative_to_cwd

    where = "" if schema is VerifyConfig else f"\n  {relative_to_cwd(run_dir)}"
    print(f"job {HydraConfig.get().job.num + 1}:{where}", flush=True)
    try:
        return task(to_config(node, schema), run_dir)
    except Exception as error:
        raise _report_failed_job(error, run_dir, schema, with_traceback) from None


def _print_warnings_once() -> None:
    """Print warnings in our format, each once per job: a second look at the same data gives the same warning."""
    printed: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in printed:
            printed.add(str(message))
            _say_on_stderr(f"warning: {message}")

    warnings.showwarning = show


def _remove_empty_folders(task: Task, schema: type, missing_folders: frozenset[Path]) -> Task:
    """Remove folders of a task that was refused before it wrote anything: its own and those of `missing_folders`."""

    def run(config: Any, run_dir: Path) -> object:
        try:
            return task(config, run_dir)
        except QatError as error:
            if error.exit_code == QatError.exit_code and not (schema is Config and _is_worker()):
                is_job = HydraConfig.get().mode == RunMode.MULTIRUN
                by_time = {run_dir.absolute()} if any(each.name == _BY_TIME for each in missing_folders) else set()
                rundir.remove_bare(run_dir, events_only=is_job, created=missing_folders | by_time)
            raise

    return run


def _with_log(task: Task) -> Task:
    """Write a log into the folder of the results."""

    def run(config: Any, run_dir: Path) -> object:
        if _is_worker():
            return task(config, run_dir)
        with log_to_file(run_dir / rundir.LOG, " ".join(HydraConfig.get().overrides.task)):
            return task(config, run_dir)

    return run


def _is_worker() -> bool:
    """Whether this is a worker of a training, whose files another process writes."""
    return HydraConfig.get().job_logging.get("root") is None


def _with_limits(task: Task) -> Task:
    def run(config: Any, run_dir: Path) -> object:
        with limits.use(config.limits):
            return task(config, run_dir)

    return run


def _report_failed_job(error: Exception, run_dir: Path, schema: type, with_traceback: bool) -> JobError:
    """Print a job's failure at once, for a sweep may take hours; write it into its folder; return it for the end."""
    known_error = _to_qat_error(error, schema)
    if with_traceback or known_error is None:
        traceback.print_exception(error)
    job_error = JobError(
        f"{type(error).__name__}: {error}" if known_error is None else str(known_error),
        getattr(known_error, "exit_code", 1),
    )
    from qat.reporting.terminal import relative_to_cwd

    where = "" if schema is VerifyConfig else f"  {relative_to_cwd(run_dir)}\n"
    message = f"this job failed, the others go on:\n{where}{job_error}"
    _say_on_stderr(message)
    with suppress(OSError):
        record = {"error": type(error).__name__, "message": str(job_error), "exit_code": job_error.exit_code}
        rundir.write_json(run_dir / rundir.FAILED, record)
    return job_error


def _to_qat_error(error: Exception, schema: type) -> QatError | None:
    if isinstance(error, QatError):
        return error
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return ConfigError(explain(error, schema))
    if isinstance(error, OSError) and error.errno in _FOLDER_FAULTS and error.filename:
        return _folder_error(error)
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # Path.resolve, before Python 3.13
        return RunDirError(f"{error}. Choose another folder, or remove the link.")
    return None


def _folder_error(error: OSError) -> RunDirError:
    key = "hydra.sweep.dir" if _is_sweep() else "hydra.run.dir"
    return RunDirError(f"{error.filename}: {error.strerror}. Choose another folder, as {key}=DIR.")


def _print_error(message: str, exit_code: int) -> int:
    with suppress(OSError):  # a terminal that is gone
        _say_on_stderr(message)
    return exit_code


def _say_on_stderr(message: str) -> None:
    say(f"qat: {writable(without_credentials(message))}", sys.stderr)
