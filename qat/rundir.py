"""A run directory: the names of its files, atomic writes, and locks between processes. No TensorFlow.

Whatever ends a process (an error, Ctrl-C, SIGTERM, a kill), a file under its name is complete: it is written to a
temporary file, forced to disk and renamed. Names of temporary files begin with a dot and end in `.part`.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from qat import limits, manifest
from qat.errors import RunDirError
from qat.json_values import Json
from qat.locking import is_locked, lock, translate_error
from qat.manifest import sha256
from qat.plain_text import address_hint
from qat.variants import VARIANTS

__all__ = ["lock", "sha256"]  # of other modules, and part of this one for all others

RESULTS = "results.json"
REPORT = "report.html"  # the run as one page without further files
FAILED = "failed.json"  # of a failed job of a sweep: error, message, exit_code
TENSORBOARD = "tensorboard"
METRICS = "metrics.csv"  # the TensorBoard series as a table
CARD = "README.md"  # in a variant's folder: the model card
HYDRA, LOG = ".hydra", "train.log"  # the config as composed, by Hydra; every line that the run printed
MODEL_KERAS = "model.keras"
MODEL_TFLITE = "model.tflite"
MODEL_JSON = "model.json"  # the input contract and labels, next to every exported file
RECORD = "run.json"  # in `.resume`: the settings of an unfinished run, and which stages are done
QUANTIZATION = "quantization_report.json"  # in a variant's folder: what is quantized on which grid, and what is not
PARITY = "parity.json"  # in the folder of a QAT variant: its file and its model, layer by layer

_DEEPEST = 100  # levels of a JSON file; ours have some ten
MIN_FREE_BYTES = 32 << 20
"""With less free disk space a run is refused before it begins: one of MobileNetV1 at alpha 1 writes about 60 MB."""

LOCK = ".lock"
_OWN = frozenset({LOCK, TENSORBOARD, HYDRA, LOG, manifest.FOLDER, *VARIANTS})  # not replaced as a whole when written
_reserved: set[Path] = set()  # by this process, before a run begins in them


@contextmanager
def reserve(run_dir: Path) -> Iterator[None]:
    """Lock out other processes from `run_dir` within the block, before anything is written there; `claim` follows.

    Raises:
        RunDirError: another process writes it, it holds a finished run or links, or it cannot be made.
    """
    folder = run_dir.resolve()
    if folder.parent == folder:
        raise RunDirError(f"{run_dir}: the root of the file system is no folder of a run; give one below it")
    refuse_links(run_dir, _OWN)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise translate_error(run_dir, error) from error
    with lock(run_dir / LOCK, wait=False):
        refuse_finished(run_dir)
        _reserved.add(folder)
        try:
            yield
        finally:
            _reserved.discard(folder)


@contextmanager
def claim(run_dir: Path) -> Iterator[Path]:
    """Reserve `run_dir` for one run: create it, check that it is writable, and lock out other processes.

    Temporary files of a run that was killed in it are removed; a finished run is never touched.

    Raises:
        RunDirError: it holds a finished run or links, another process writes it, it is read-only, or the disk is full.
    """
    refuse_links(run_dir, _OWN)
    _prove_writable(run_dir)
    refuse_finished(run_dir)
    is_ours = run_dir.resolve() in _reserved
    with nullcontext() if is_ours else lock(run_dir / LOCK, wait=False), manifest.writing(run_dir):
        manifest.remove_leftovers(run_dir)
        for leftover in run_dir.glob(
            "..probe.*.part"
        ):  # of a process that was killed as it looked whether it may write
            leftover.unlink(missing_ok=True)
        yield run_dir


def refuse_finished(run_dir: Path) -> None:
    """Refuse to overwrite a finished run.

    Raises:
        RunDirError: `run_dir` holds one.
    """
    if (run_dir / RESULTS).exists():
        raise RunDirError(
            f"{run_dir} holds a finished run ({RESULTS}). Choose another folder, as hydra.run.dir=DIR, or remove it."
        )


def refuse_links(folder: Path, names: frozenset[str] = frozenset()) -> None:
    """Refuse a folder with links or pipes where a run or a sweep writes: they lead to what is not the folder's.

    Args:
        folder: of a run or of a sweep, which anybody may have made; it may be missing, or a link itself.
        names: names in it that are looked at, with all that is below them; empty looks at everything.

    Raises:
        RunDirError: names the first of them.
    """
    for parent, folders, files in os.walk(folder):
        if names and Path(parent) == folder:
            folders[:], files[:] = (sorted(names.intersection(each)) for each in (folders, files))
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                what = f"link, to {str(path.readlink())[:200]}" if path.is_symlink() else "pipe, socket or device"
                raise RunDirError(
                    f"{path}: a {what}, and not a place of this folder, to be written to. Remove it, or choose another "
                    "folder."
                )


def refuse_claimed(run_dir: Path) -> None:
    """Refuse a folder that another process is writing, before anything in it is touched.

    Raises:
        RunDirError: names the process.
    """
    if is_claimed(run_dir):
        with lock(run_dir / LOCK, wait=False):
            pass  # it has ended since


def changed_files(run_dir: Path, digests: Mapping[str, Any], *, missing: bool = False) -> list[str]:
    """`manifest.changed_files` for a folder of anybody.

    Args:
        run_dir: the run's directory.
        digests: SHA-256 by the file's path in it.
        missing: name also those that are not there.

    Returns:
        One phrase per file that is not as the run wrote it, or is larger than `limits.file_mb`: it is not read.
    """
    most, compared, phrases = limits.current().file_mb, dict(digests), []
    for name in digests:
        path = run_dir / name
        if manifest.is_inside(run_dir, name) and path.is_file() and path.stat().st_size > most * limits.MB:
            phrases.append(f"{name} is larger than limits.file_mb={most} allows, and was not read")
            del compared[name]
    return phrases + manifest.changed_files(run_dir, compared, missing=missing)


def missing_folders(run_dir: Path) -> frozenset[Path]:
    """`run_dir` and its parent folders, those that do not exist yet."""
    absolute = run_dir.absolute()
    return frozenset(folder for folder in (absolute, *absolute.parents) if not folder.exists())


def remove_bare(run_dir: Path, *, events_only: bool, created: frozenset[Path] = frozenset()) -> None:
    """Remove what a run that was refused before it wrote any result has left.

    A folder that holds more than what every run begins with is left alone, and so is one that a process writes. Of a
    folder that was there before the run, only files go that the run's manifest names.

    Args:
        run_dir: the run's folder; it need not exist.
        events_only: remove only the TensorBoard files. A job of a sweep keeps its config and log, to be resumed.
        created: folders that were created for it, itself or its parents; of the parents, those that are empty go too.
    """
    initial = {LOCK, TENSORBOARD, HYDRA, LOG, manifest.FOLDER}
    if not run_dir.is_dir() or run_dir.resolve() in (Path.cwd(), *Path.cwd().parents) or is_claimed(run_dir):
        return
    if not {path.name for path in run_dir.iterdir()} <= initial or _keeps_work(run_dir):
        return
    if events_only or run_dir.absolute() not in created:
        manifest.remove_files(run_dir)
        manifest.remove(run_dir)
        return
    shutil.rmtree(run_dir, ignore_errors=True)
    with suppress(OSError):  # rmdir refuses a folder that is not empty
        for folder in itertools.takewhile(created.__contains__, run_dir.absolute().parents):
            folder.rmdir()


def _keeps_work(run_dir: Path) -> bool:
    """Whether a run has kept anything to go on from."""
    folder = run_dir / manifest.FOLDER
    return folder.is_dir() and not {path.name for path in folder.iterdir()} <= {Path(manifest.NAME).name, RECORD}


def is_claimed(run_dir: Path) -> bool:
    """Whether a process is writing `run_dir`, other than by `reserve` here; False on a file system without locks."""
    return run_dir.resolve() not in _reserved and is_locked(run_dir / LOCK)


def _prove_writable(run_dir: Path) -> None:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_bytes(run_dir / ".probe", b"may we write here?")
        (run_dir / ".probe").unlink()
    except OSError as error:
        raise translate_error(run_dir, error) from error
    free = shutil.disk_usage(run_dir).free
    if free < MIN_FREE_BYTES:
        raise RunDirError(
            f"{run_dir}: the disk is nearly full: {free / 1e6:.1f} MB are free, and a run needs "
            f"{MIN_FREE_BYTES / 1e6:.0f} MB at least. Free some space, or choose another folder, as hydra.run.dir=DIR."
        )


def find_float_model(float_run: str | Path) -> Path:
    """The float model that `float_run=DIR` means.

    Raises:
        RunDirError: the folder, or the file in it, is missing.
    """
    path = Path(float_run).expanduser() / "float" / MODEL_KERAS
    if not path.is_file():
        known = f"it holds no float/{MODEL_KERAS}" if path.parents[1].is_dir() else "no such folder"
        raise RunDirError(
            f"float_run={float_run}: {known}. Give the directory of a finished run.{address_hint(float_run)}"
        )
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file atomically: a reader sees the old file, or none, or all of the new one.

    Args:
        path: path of the file; missing folders are created.
        content: the whole content, as bytes of any number.

    Returns:
        `path`, for chaining.

    Raises:
        RunDirError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}{manifest.PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        manifest.note(path)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise translate_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically, as UTF-8.

    Args:
        path: path of the file; missing folders are created.
        text: the whole content; encoded as UTF-8.

    Returns:
        `path`, for chaining.

    Raises:
        RunDirError: the disk is full, or the folder cannot be written.
    """
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Json) -> Path:
    """Write a file of strict JSON atomically.

    Args:
        path: path of the file; missing folders are created.
        value: dicts, lists, strings, numbers, booleans and None.

    Returns:
        `path`, for chaining.

    Raises:
        ValueError: `value` holds NaN or an infinite number, which JSON cannot express.
        RunDirError: the disk is full, or the folder cannot be written.
    """
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        RunDirError: the file is missing, no JSON, no regular file, larger than `limits.text_mb`, or nested so deeply
            that what walks through it would come to no end.
    """
    try:
        level = [json.loads(limits.read_file(path, "text_mb", RunDirError))]
        value = level[0]
        for _ in range(_DEEPEST):
            level = [inner for each in level if isinstance(each, dict | list) for inner in _values(each)]
        if level:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        return value
    except RunDirError:
        raise
    except OSError as error:
        raise RunDirError(
            f"{path}: {error.strerror}. Is this the directory of a run of qat?{address_hint(path)}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RunDirError(f"{path}: no JSON ({error}). It was not written by qat, or was changed since.") from error


def _values(node: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path for writers that need one; its content is written to `path` after the block.

    Nothing is written to `path` if the block raises.
    """
    with tempfile.TemporaryDirectory(prefix="qat-") as folder:
        temporary = Path(folder) / path.name
        try:
            yield temporary
        except OSError as error:
            raise translate_error(temporary, error) from error
        write_bytes(path, temporary.read_bytes())
