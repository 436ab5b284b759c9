"""`sweep.resume=DIR`: the command line of a sweep that goes on where it was left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from qat.cli.untrusted_settings import accepted, read_yaml, taken_unasked
from qat.errors import RunDirError

KEY = "sweep.resume"
RECORD = "multirun.yaml"  # Hydra's, in the directory of every sweep
_OF_ONE_COMMAND = (KEY, "hydra.sweep.dir", "hydra.mode")


def resumed(argv: Sequence[str]) -> list[str]:
    """`argv`, or, with sweep.resume=DIR in it, what DIR was started with and `argv` on top, to run in DIR.

    >>> resumed(["-m", "seed=0,1"])
    ['-m', 'seed=0,1']

    Raises:
        RunDirError: DIR is no directory of a sweep, or asks for more than to choose values.
    """
    given = {key_of(part): part for part in argv if "=" in part and not part.startswith("-")}
    directory = given.get(KEY, "").partition("=")[2].strip("'\"")
    if directory in ("null", ""):
        return list(argv)
    record = Path(directory) / RECORD
    before = [part for part in recorded(Path(directory)) if key_of(part) not in _OF_ONE_COMMAND]
    merged = [given.get(key_of(part), part) for part in before]  # in place: the jobs keep their order
    merged = accepted(merged, argv, str(record))
    added = [part for part in argv if part not in merged]
    return ["-m", *merged, *added, f"hydra.sweep.dir={quoted(directory)}"]


def said_again(overrides: Sequence[str]) -> list[str]:
    """Those of a sweep's overrides that a resuming command has to say, for they are not taken from a folder alone.

    >>> said_again(["seed=0,1", "log.mlflow_uri=http://here", "hydra.sweep.dir=there"])
    ['log.mlflow_uri=http://here']
    """
    return [part for part in overrides if key_of(part) not in _OF_ONE_COMMAND and not taken_unasked(part)]


def recorded(directory: Path) -> list[str]:
    """The overrides that a sweep directory was last started with."""
    try:
        record = read_yaml(directory / RECORD)
        overrides = record["hydra"]["overrides"]
        return [str(part) for part in (*(overrides["hydra"] or ()), *(overrides["task"] or ()))]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise RunDirError(
            f"{KEY}={directory}: no directory of a sweep ({RECORD} is missing or broken: {error}). Give the folder "
            "that holds the jobs' folders, as multirun/train/2026-11-23/12-00-00-000000."
        ) from error


def key_of(override: str) -> str:
    """
    >>> key_of("+sweep=quantizers"), key_of("seed=1,2")
    ('sweep', 'seed')
    """
    return override.lstrip("+~").partition("=")[0]


def quoted(text: str) -> str:
    """As a value of a Hydra override, whatever characters it has.

    >>> quoted("it's 1")
    "'it\\\\'s 1'"
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
