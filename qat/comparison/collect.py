"""Find the runs below some directories; a directory that is not a run is kept with the reason."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qat import rundir
from qat.comparison.record import NotARunError, Refused, RunRecord, read_record
from qat.errors import RunDirError
from qat.limits import read_file
from qat.variants import VARIANTS

_JOB = re.compile(r"^  job:\n(?:    .*\n)*?    name: ([\w.-]+)$", re.MULTILINE)
_OWN_PAGE = ("index.html", "table.json", "table.csv")  # what a comparison leaves
LONGEST_REASON = 300  # characters
DEEPEST = 40  # folders; deeper than any sweep, so that a loop of links ends


@dataclass(frozen=True)
class Collected:
    """Every directory that was visited: a run, or refused. In the order of their paths."""

    runs: tuple[RunRecord, ...]
    refused: tuple[Refused, ...]


def collect(folders: Iterable[Path]) -> Collected:
    """The runs in and below `folders`, each once, wherever a run, a sweep or a tree of sweeps was given.

    A run is a folder with `results.json`; what lies below it is not visited. Pages of comparisons, which sweeps leave
    among their jobs, are passed over.
    """
    folders = list(folders)
    walk = _Walk(set(), tuple(folder.resolve() for folder in folders))
    results = [each for folder in folders for each in walk.visit(folder)]
    return Collected(
        tuple(each for each in results if isinstance(each, RunRecord)),
        tuple(each for each in results if isinstance(each, Refused)),
    )


@dataclass(frozen=True)
class _Walk:
    """Visits directories, each once."""

    visited: set[Path]  # resolved, so that a link and what it points at are one
    roots: tuple[Path, ...] = ()  # resolved: the folders that were given

    def visit(self, folder: Path, depth: int = 0) -> list[RunRecord | Refused]:
        """The runs in and below `folder`; one Refused where nothing in it has to do with runs.

        Args:
            folder: a run's directory, or one above; where its path was visited before, it is not looked at again.
            depth: how many folders above it were visited; below 40 of them nothing is visited.

        Returns:
            Runs and refused directories, in the order of their paths.
        """
        resolved = folder.resolve()
        if resolved in self.visited:
            return [] if depth else [Refused(folder, "given twice, or below another one: it is counted once")]
        record = folder / rundir.RESULTS
        if depth and folder.is_symlink() and not record.exists() and not self._is_given(resolved):
            return [Refused(folder, "a link to a folder that is no run, which is not searched: give that folder")]
        self.visited.add(resolved)
        try:
            if record.exists():
                return [read_record(folder, read_file(record, "text_mb", NotARunError))]
            subfolders = sorted(_subfolders(folder))
        except NotARunError as error:
            return [Refused(folder, str(error))]
        except OSError as error:
            return [Refused(folder, f"cannot be read: {error.strerror}")]
        if depth and (_is_page(folder) or _read_hydra_job(folder) == "compare"):
            return []  # also the page that is being made
        results = [each for path in subfolders for each in self.visit(path, depth + 1)] if depth < DEEPEST else []
        if any(isinstance(each, RunRecord) for each in results) or (depth and subfolders and not results):
            return results  # runs, or pages alone
        reason = _why_unfinished(folder)
        if reason is None and any(each.reason.startswith(_OF_A_RUN) for each in results if isinstance(each, Refused)):
            return results
        return [Refused(folder, reason or f"no run of qat: there is no {rundir.RESULTS} in it or below it")]

    def _is_given(self, resolved: Path) -> bool:
        """Whether a folder is one of those that were given, or lies in one."""
        return any(parent in self.roots for parent in (resolved, *resolved.parents))


def _subfolders(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_folder(entry) and not entry.name.startswith("."):
                yield folder / entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


_OF_A_RUN = ("results.json", "unfinished", "cannot be read", "still running")
"""Begins of the reasons for folders that runs left, or may have left; a folder above them is a sweep."""


def _is_page(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _OWN_PAGE)


def _why_unfinished(folder: Path) -> str | None:
    """The reason for a folder that a command of qat began; None for any other."""
    if _is_page(folder):
        return "a page that qat.compare wrote, no run"
    failure = _read_failure(folder)
    if failure is not None:
        return f"unfinished: the job failed. {failure}"
    job = _read_hydra_job(folder)
    if job not in (None, "train"):
        return f"written by qat.{job}, which trains nothing: it has no {rundir.RESULTS}"
    if rundir.is_claimed(folder):
        return f"still running: another process writes it, and {rundir.RESULTS} comes last"
    if job == "train" or (folder / rundir.LOCK).exists() or any(map(Path.is_file, _models(folder))):
        return f"unfinished: it has no {rundir.RESULTS}. The run failed, was interrupted, or runs on another machine"
    return None


def _read_failure(folder: Path) -> str | None:
    """The error that ended a job of a sweep, as the sweep recorded it."""
    try:
        plain = rundir.read_json(folder / rundir.FAILED)
    except RunDirError:
        return None
    if not isinstance(plain, dict):
        return f"{rundir.FAILED} does not say why"
    first_line = str(plain.get("message", "")).partition("\n")[0]
    return f"{plain.get('error', 'error')}: {first_line}"[:LONGEST_REASON]


def _models(folder: Path) -> Iterator[Path]:
    names = (rundir.MODEL_KERAS, rundir.MODEL_TFLITE)
    return (folder / variant / name for variant in VARIANTS for name in names)


def _read_hydra_job(folder: Path) -> str | None:
    """The command that made the folder, from Hydra's own record; read as text, which is faster than as YAML."""
    try:
        match = _JOB.search(read_file(folder / ".hydra" / "hydra.yaml", "text_mb").decode())
    except (OSError, ValueError):  # none, no regular file, or no text
        return None
    return match.group(1) if match else None
