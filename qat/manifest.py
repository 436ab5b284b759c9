"""The manifest of a run directory: the files that the run has begun to write there. Only these are ever removed.

A file is named before it is made, so that a run that is killed anywhere leaves none without a name. Stdlib only.
"""

from __future__ import annotations

import glob
import hashlib
import io
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qat.warning import warn

FOLDER = ".resume"  # of an unfinished run: its manifest, and what it keeps to go on from
NAME = f"{FOLDER}/files"
_MOST_BYTES = 16 << 20  # of a manifest; a run names some hundred files
PART = ".part"  # how the names of temporary files end; they begin with a dot and the file's name

_written_here: dict[Path, set[str]] = {}  # run directories that this process writes, with what their manifests name


@contextmanager
def writing(run_dir: Path) -> Iterator[None]:
    """Within the block, name every file that is written below `run_dir` in its manifest."""
    folder = run_dir.resolve()
    with suppress(FileExistsError):
        (folder / FOLDER).mkdir()
        _append(folder, f"{FOLDER}/")
    _written_here[folder] = set(read(folder))
    try:
        yield
    finally:
        del _written_here[folder]


def note(path: Path) -> None:
    """Name a file in the manifest of the run directory that it lies in, before it is made.

    One outside of every directory that this process writes is passed over. A file that is there, and that the run has
    not made, is kept under another name.
    """
    absolute = path.parent.resolve() / path.name
    for folder, known in _written_here.items():
        if absolute.is_relative_to(folder):
            name = absolute.relative_to(folder).as_posix()
            if name not in known and not name.startswith(f"{FOLDER}/"):
                _keep_aside(absolute)
                known.add(name)
                _append(folder, name)


def _keep_aside(path: Path) -> None:
    """Rename a file that no manifest names, before it is written over: it may be the user's."""
    if path.is_file():
        names = (path.with_name(f"{path.name}.before{number or ''}") for number in itertools.count())
        aside = next(each for each in names if not each.exists())
        path.rename(aside)
        warn(f"{path} was there before the run, and is kept as {aside.name}")


def _append(folder: Path, name: str) -> None:
    with suppress(FileNotFoundError), (folder / NAME).open("a", encoding="utf-8") as file:  # gone once it is finished
        file.write(json.dumps(name) + "\n")


def read(run_dir: Path) -> list[str]:
    """The names in a manifest, relative to `run_dir`; that of a folder ends in a slash. A cut line is skipped."""
    path = run_dir / NAME
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            lines = file.read(_MOST_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []
    names = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            name = json.loads(line)
            if isinstance(name, str) and is_inside(run_dir, name):
                names.append(name)
    return names


def names(run_dir: Path, path: Path) -> bool:
    """Whether the manifest of `run_dir` names a file.

    Args:
        run_dir: the run's directory, which holds the manifest.
        path: path of the file, below `run_dir`.

    Returns:
        True where one of the manifest's lines is the file's path relative to `run_dir`; False also without a manifest.

    Raises:
        ValueError: `path` does not lie below `run_dir`.
    """
    return path.relative_to(run_dir).as_posix() in read(run_dir)


def remove_files(run_dir: Path) -> None:
    """Remove the files that the manifest names, and the folders that are empty without them."""
    for name in read(run_dir):
        if not name.startswith(f"{FOLDER}/"):
            with suppress(OSError):
                (run_dir / name).unlink()
            _remove_empty((run_dir / name).parent, run_dir)


def begin_anew(run_dir: Path) -> None:
    """Remove the files that the manifest names, and all that the run keeps to go on from, except the manifest."""
    remove_files(run_dir)
    if _is_own(run_dir):
        _empty(run_dir)


def remove_leftovers(run_dir: Path) -> None:
    """Remove the temporary files of writers that were killed: those of files that the manifest names."""
    for name in read(run_dir):
        path = run_dir / name
        for part in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
            with suppress(OSError):
                part.unlink()


def remove(run_dir: Path) -> None:
    """Remove the folder `.resume` with all that the run keeps in it, if the run made it.

    The manifest goes last: a process that is killed here leaves it, and with it the right to remove the rest.
    """
    if _is_own(run_dir):
        _empty(run_dir)
        shutil.rmtree(run_dir / FOLDER, ignore_errors=True)


def _is_own(run_dir: Path) -> bool:
    """Whether the run made its folder `.resume`; a link leads to somebody else's."""
    return f"{FOLDER}/" in read(run_dir) and not (run_dir / FOLDER).is_symlink()


def _empty(run_dir: Path) -> None:
    """Remove all in `.resume` but the manifest; of links, not what they lead to."""
    for path in (run_dir / FOLDER).iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path != run_dir / NAME:
            with suppress(OSError):
                path.unlink()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def changed_files(run_dir: Path, digests: Mapping[str, Any], *, missing: bool = False) -> list[str]:
    """Name the files of a run that are not as it wrote them.

    Args:
        run_dir: the run's directory.
        digests: SHA-256 by the file's path in it, as results.json has them; anybody may have written them.
        missing: name also those that are not there.

    Returns:
        One phrase per file: "float/model.keras was altered or truncated after the run (0 bytes)"; empty where all are
        as written.
    """
    phrases = []
    for name, digest in digests.items():
        path = run_dir / name
        if not is_inside(run_dir, name) or Path(name).as_posix() != name:  # ./a and .//a are a, which is read once
            continue
        if not path.is_file():
            phrases += [f"{name} is missing"] if missing else []
        elif sha256(path) != digest:
            phrases.append(f"{name} was altered or truncated after the run ({path.stat().st_size} bytes)")
    return phrases


def _remove_empty(folder: Path, run_dir: Path) -> None:
    with suppress(OSError):  # rmdir refuses a folder that is not empty
        while folder != run_dir and run_dir in folder.parents:
            folder.rmdir()
            folder = folder.parent


def is_inside(run_dir: Path, name: str) -> bool:
    """Whether a name leads to a place below the directory, through no link that leads out of it.

    Args:
        run_dir: the run's directory.
        name: path relative to it, as anybody may have written it.

    Returns:
        True for such a path, whether or not anything is there; False for any other text.
    """
    if not name or name in (".", "./") or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        return False
    try:
        (run_dir / os.fsdecode(os.fsencode(name))).is_file()  # a name that no file system takes
        return (run_dir / name).parent.resolve().is_relative_to(run_dir.resolve())
    except (OSError, ValueError, RuntimeError):  # no text; links in a circle, before Python 3.13
        return False
