"""`sweep.resume=DIR`: the command line of a sweep that goes on where it ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from qat import rundir
from qat.cli.untrusted_settings import accept_overrides, is_harmless, read_yaml
from qat.errors import RunDirError

KEY = "sweep.resume"
RECORD = "multirun.yaml"  # Hydra's, in the directory of every sweep
_NOT_RESUMED = (KEY, "hydra.sweep.dir", "hydra.mode")


def resume_arguments(argv: Sequence[str]) -> list[str]:
    """Add to `argv`, if sweep.resume=DIR is in it, the overrides that DIR was started with; those of `argv` win.

    >>> resume_arguments(["-m", "seed=0,1"])
    ['-m', 'seed=0,1']

    Raises:
        RunDirError: DIR is no directory of a sweep, holds links, or one of its overrides does more than choose values.
    """
    typed = {key_of_override(part): part for part in argv if "=" in part and not part.startswith("-")}
    directory = typed.get(KEY, "").partition("=")[2].strip("'\"")
    if directory in ("null", ""):
        return list(argv)
    rundir.refuse_links(Path(directory))
    record = Path(directory) / RECORD
    before = [part for part in read_overrides(Path(directory)) if key_of_override(part) not in _NOT_RESUMED]
    # replaced in place, so that the jobs keep their order
    merged = [typed.get(key_of_override(part), part) for part in before]
    merged = accept_overrides(merged, argv, str(record))
    added = [part for part in argv if part not in merged]
    return ["-m", *merged, *added, f"hydra.sweep.dir={quote(directory)}"]


def select_untrusted_overrides(overrides: Sequence[str]) -> list[str]:
    """Select the overrides of a sweep that a command must repeat to resume it: a folder alone is not trusted with them.

    >>> select_untrusted_overrides(["seed=0,1", "log.mlflow_uri=http://here", "hydra.sweep.dir=there"])
    ['log.mlflow_uri=http://here']
    """
    return [part for part in overrides if key_of_override(part) not in _NOT_RESUMED and not is_harmless(part)]


def read_overrides(directory: Path) -> list[str]:
    """Read the overrides that a sweep directory was last started with."""
    try:
        record = read_yaml(directory / RECORD)
        overrides = record["hydra"]["overrides"]
        return [str(part) for part in (*(overrides["hydra"] or ()), *(overrides["task"] or ()))]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise RunDirError(
            f"{KEY}={directory}: no directory of a sweep ({RECORD} is missing or broken: {error}). Give the folder "
            "that holds the jobs' folders, as multirun/train/2026-11-23/12-00-00-000000."
        ) from error


def key_of_override(override: str) -> str:
    """The key of an override, without a plus or tilde.

    >>> key_of_override("+sweep=quantizers"), key_of_override("seed=1,2")
    ('sweep', 'seed')
    """
    return override.lstrip("+~").partition("=")[0]


def quote(text: str) -> str:
    """Quote a text as a value of a Hydra override.

    >>> quote("it's 1")
    "'it\\\\'s 1'"
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
