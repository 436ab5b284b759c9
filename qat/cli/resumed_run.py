"""`resume=DIR`: the command line of a run that was killed in DIR, and goes on there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from qat import manifest, rundir
from qat.cli.sweeps.resume import key_of_override, quote
from qat.cli.untrusted_settings import accept_overrides, read_yaml
from qat.errors import ConfigError, RunDirError
from qat.plain_text import address_hint

KEY = "resume"
_OVERRIDES = Path(".hydra", "overrides.yaml")  # as Hydra records them


def resume_run_arguments(argv: Sequence[str]) -> list[str]:
    """Turn `resume=DIR` in `argv` into the overrides that DIR was begun with, and `hydra.run.dir=DIR`.

    Those of `argv` win; `refuse_other_settings` refuses the ones that would give another result.

    >>> resume_run_arguments(["seed=1"])
    ['seed=1']

    Raises:
        ConfigError: a sweep, or another folder for the run.
        RunDirError: DIR is no directory of a run, or one of its overrides does more than choose values.
    """
    typed = {key_of_override(part): part for part in argv if "=" in part and not part.startswith("-")}
    directory = resumed_folder(argv)
    if directory is None:
        return [part for part in argv if key_of_override(part) != KEY]
    if {"-m", "--multirun"} & set(argv):
        raise ConfigError(f"{KEY}={directory}: one run goes on; what is missing of a sweep is run by sweep.resume=DIR.")
    other = _value(typed.get("hydra.run.dir", ""))
    if other and Path(other).expanduser().resolve() != directory.resolve():
        raise ConfigError(
            f"{KEY}={directory} hydra.run.dir={other}: a run goes on in its own folder. Leave hydra.run.dir out."
        )
    before = accept_overrides(_read_overrides(directory), argv, str(directory / _OVERRIDES))
    merged = [typed.get(key_of_override(part), part) for part in before]
    added = [part for part in argv if part not in merged and key_of_override(part) not in (KEY, "hydra.run.dir")]
    files = any(key_of_override(part) in ("sweep", "experiment") for part in merged)  # which may ask for a sweep
    one_run = ["hydra.mode=RUN"] if files else []  # as of a job of one, whose record names that file
    return [*merged, *added, *one_run, f"hydra.run.dir={quote(str(directory))}"]


def resumed_folder(argv: Sequence[str]) -> Path | None:
    """The folder that `resume=DIR` names; None where it is not said."""
    values = [_value(part) for part in argv if part.startswith(f"{KEY}=")]
    return Path(values[-1]).expanduser() if values and values[-1] not in ("", "null") else None


def is_finished(run_dir: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (run_dir / rundir.RESULTS).is_file()


def _value(override: str) -> str:
    return override.partition("=")[2].strip("'\"")


def _read_overrides(directory: Path) -> list[str]:
    path = directory / _OVERRIDES
    try:
        overrides: Any = read_yaml(path)
        if not isinstance(overrides, list):
            raise ValueError("it is no list of overrides")
        return [str(part) for part in overrides if key_of_override(str(part)) != KEY]
    except (OSError, yaml.YAMLError, ValueError) as error:
        if not any((directory / name).exists() for name in (manifest.FOLDER, rundir.LOCK)):
            raise RunDirError(
                f"{KEY}={directory}: no directory of a run of qat.train. Give the directory of a run that was killed, "
                f"as {KEY}=outputs/train/DAY/TIME.{address_hint(directory)}"
            ) from error
        raise RunDirError(
            f"{path}: cannot be read ({error}), so that the settings of this run are not known. Give the command that "
            f"began it once more, with hydra.run.dir={directory}: it goes on there."
        ) from error
