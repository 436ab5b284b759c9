"""A run directory: the names of its files, whole-file writes, and locks that hold between processes. No TensorFlow.

Whatever ends a process (an error, Ctrl-C, SIGTERM, a kill), a file under its name is whole: it is written aside, forced
to disk and renamed. Names of what lies aside begin with a dot and end in `.part`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qat import limits
from qat.errors import RunDirError
from qat.variants import VARIANTS

RESULTS = "results.json"
REPORT = "report.html"  # the run as one page that stands alone
FAILED = "failed.json"  # of a job of a sweep that did not end well: error, message, exit_code
TENSORBOARD = "tensorboard"
METRICS = "metrics.csv"  # the curves as a table
CARD = "README.md"  # in a variant's folder: the model card
HYDRA, LOG = ".hydra", "train.log"  # the config as composed, by Hydra; every line that the run showed
MODEL_KERAS = "model.keras"
MODEL_TFLITE = "model.tflite"
MODEL_JSON = "model.json"  # the input contract and labels, beside every exported file
PARITY = "parity.json"  # in the folder of a QAT variant: its file and its model, layer by layer

"""What a run can leave, each in a folder of its name; keys of `variants` in results.json."""

MIN_FREE_BYTES = 32 << 20
"""Less than this on the disk, and a run is refused before it begins: MobileNetV1 at alpha 1 leaves about 60 MB."""

LOCK, _PART = ".lock", ".part"
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def claim(run_dir: Path) -> Iterator[Path]:
    """Take `run_dir` for one run: made if missing, proved writable, closed to other processes meanwhile.

    What an unfinished run left in it is removed; a finished one is never touched.

    Raises:
        RunDirError: it holds a finished run, another process writes it, it is read-only, or the disk is full.
    """
    _prove_writable(run_dir)
    refuse_finished(run_dir)
    ours = (run_dir / LOCK).exists()
    with lock(run_dir / LOCK, wait=False):
        if ours:
            _remove_unfinished(run_dir)
        yield run_dir


def refuse_finished(run_dir: Path) -> None:
    """Raises: RunDirError where `run_dir` holds a finished run, which nothing overwrites."""
    if (run_dir / RESULTS).exists():
        raise RunDirError(
            f"{run_dir} holds a finished run ({RESULTS}). Choose another folder, as hydra.run.dir=DIR, or remove it."
        )


def missing_folders(run_dir: Path) -> frozenset[Path]:
    """Those on the way to `run_dir` that are not there yet."""
    return frozenset(folder for folder in run_dir.absolute().parents if not folder.exists())


def remove_bare(run_dir: Path, *, events_only: bool, made: frozenset[Path] = frozenset()) -> None:
    """Remove the folder of a run that was refused before it made anything: nobody looks for its empty event files.

    A folder that holds more than what every run begins with stays as it is, and so does one that a process writes.

    Args:
        events_only: keep the folder with its config and log, as a job of a sweep, which can be resumed.
        made: folders on the way to it that were made for it, which go with it as far as they are empty now.
    """
    begun = {LOCK, TENSORBOARD, HYDRA, LOG}
    if not run_dir.is_dir() or run_dir.resolve() in (Path.cwd(), *Path.cwd().parents) or is_claimed(run_dir):
        return
    if {path.name for path in run_dir.iterdir()} <= begun:
        shutil.rmtree(run_dir / TENSORBOARD if events_only else run_dir, ignore_errors=True)
        with suppress(OSError):  # rmdir takes no folder that holds anything
            for folder in itertools.takewhile(made.__contains__, () if events_only else run_dir.absolute().parents):
                folder.rmdir()


def is_claimed(run_dir: Path) -> bool:
    """Whether a process writes `run_dir` just now, as far as its file system knows locks."""
    try:
        descriptor = os.open(run_dir / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False


def _prove_writable(run_dir: Path) -> None:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_bytes(run_dir / ".probe", b"may we write here?")
        (run_dir / ".probe").unlink()
    except OSError as error:
        raise _folder_error(run_dir, error) from error
    free = shutil.disk_usage(run_dir).free
    if free < MIN_FREE_BYTES:
        raise RunDirError(
            f"{run_dir}: the disk is nearly full: {free / 1e6:.1f} MB are free, and a run needs "
            f"{MIN_FREE_BYTES / 1e6:.0f} MB at least. Make room, or choose another folder, as hydra.run.dir=DIR."
        )


def _remove_unfinished(run_dir: Path) -> None:
    for left in run_dir.rglob(f".*{_PART}"):
        left.unlink(missing_ok=True)
    for folder in (TENSORBOARD, *VARIANTS):
        shutil.rmtree(run_dir / folder, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a whole file: aside, forced to disk, renamed. A reader sees the old file, or none, or all of the new one.

    Raises:
        RunDirError: the disk is full, or the folder cannot be written.
    """
    aside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}{_PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise _folder_error(path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> Path:
    """Strict JSON: a NaN or an infinite number is refused, not written.

    Raises:
        ValueError: `value` holds a number that JSON has no word for.
    """
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises: RunDirError for a file that is missing, no JSON, no regular file or larger than `limits.text_mb`."""
    try:
        return json.loads(limits.read_file(path, "text_mb", RunDirError))
    except RunDirError:
        raise
    except OSError as error:
        raise RunDirError(f"{path}: {error.strerror}. Is this the directory of a run of qat?") from error
    except (ValueError, RecursionError) as error:
        raise RunDirError(f"{path}: no JSON ({error}). It was not written by qat, or was changed since.") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """For writers that want a path: yields one of the same name in a scratch folder, whose content becomes `path`.

    Nothing becomes `path` if the block raises.
    """
    with tempfile.TemporaryDirectory(prefix="qat-") as scratch:
        inside = Path(scratch) / path.name
        try:
            yield inside
        except OSError as error:
            raise _folder_error(inside, error) from error
        write_bytes(path, inside.read_bytes())


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def lock(path: Path, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`, which stays. It ends with the block, or with the process.

    flock holds between processes and threads, and, on Linux, between the clients of NFS. Where a file system knows no
    locks there is none, and only double work is lost: every write here is whole by itself.

    Args:
        wait: False refuses at once where another holds the lock.
        on_wait: is told who holds it, once, before waiting.

    Raises:
        RunDirError: `wait` is False and the lock is taken, or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _folder_error(path, error) from error
    try:
        _take(descriptor, path, wait, on_wait)
        yield
    finally:
        os.close(descriptor)  # releases it


def _take(descriptor: int, path: Path, wait: bool, on_wait: Callable[[str], None] | None) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        if not wait:
            raise RunDirError(f"{path.parent} is being written by {holder}. Choose another folder, or wait.") from None
        if on_wait is not None:
            on_wait(holder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise _folder_error(path, error) from error
        return
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _folder_error(path: Path, error: OSError) -> RunDirError:
    if isinstance(error, RunDirError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RunDirError(f"{path}: the disk is full ({error.strerror}). Make room, or choose another folder.")
    return RunDirError(f"{path}: cannot be written ({error.strerror}). Choose another folder, as hydra.run.dir=DIR.")
