"""Overrides and configs that a folder brings are data: what would run code, or lead out of the folder, is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from qat import limits, trust
from qat.errors import RunDirError

_OF_TRUST = ("trust", "model.trust_custom_objects", "limits")
_OPTION = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_GROUPS = ("data", "model", "train", "quant", "logger", "debug", "experiment", "sweep")
_PLAIN_SETTINGS = ("hydra.sweeper.", "hydra.launcher.")
_PLAIN_TEXTS = dict.fromkeys(("study_name", "sampler", "partition", "qos", "account", "constraint"), r"[\w.-]+")
_PLAIN_TEXTS["storage"] = r"sqlite:///[\w.-]+"  # a file in the folder that the command is called in
_PARAMS = "hydra.sweeper.params."
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def accepted(recorded: Sequence[str], argv: Sequence[str], where: str) -> list[str]:
    """Those overrides of a folder that are taken, in their order; what it says about trust is passed over.

    Args:
        recorded: overrides as the folder has them.
        argv: the command line; what is said there is trusted.
        where: the folder's file, for messages.

    Raises:
        RunDirError: one of them would do more than choose values; named.
    """
    said = [part for part in argv if not part.startswith("-")]
    if "trust=true" in (part.lower() for part in said):
        return list(recorded)
    kept = [part for part in recorded if _key(part).split(".")[0] not in _OF_TRUST and _key(part) not in _OF_TRUST]
    for part in kept:
        if part not in said:
            for complaint in _complaints(part, said):
                raise RunDirError(
                    f"{where}: {part[:200]!r} {complaint}, and what comes from a folder is not run unasked. If you "
                    "know it, say it on the command line as well, or trust=true for all that the folder brings"
                )
    return kept


def taken_unasked(override: str) -> bool:
    """Whether a folder may bring it."""
    return not any(_complaints(override, ()))


def read_yaml(path: Path) -> Any:
    """A small YAML file of a folder, without aliases, which can grow without end.

    Raises:
        OSError, yaml.YAMLError: it cannot be read. RunDirError: too large, no regular file, or with aliases.
    """
    content = limits.read_file(path, "text_mb", RunDirError)
    try:
        if b"*" in content and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, _LOADER)):
            raise RunDirError(
                f"{path}: YAML with aliases (*name), which can grow without end; no run of qat writes them"
            )
        return yaml.load(content, _LOADER)
    except (RecursionError, ValueError, MemoryError) as error:
        raise yaml.YAMLError(f"{type(error).__name__}: {str(error)[:100]}") from error


def _complaints(text: str, said: Sequence[str]) -> Iterator[str]:
    key = text.partition("=")[0]
    if "${" in text or "@" in key or len(text) > 100_000:
        yield "refers to other settings, or to functions that make them"
        return
    try:
        overrides = [OverridesParser.create().parse_override(text)]
        if overrides[0].is_discrete_sweep():
            each = overrides[0].sweep_string_iterator()
            overrides = [OverridesParser.create().parse_override(f"{key}={one}") for one in each]
    except (HydraException, ValueError, RecursionError, AttributeError):
        yield "cannot be understood"
        return
    for override in overrides:
        yield from _complaints_of_one(_key(text), override, said)


def _complaints_of_one(key: str, override: Override, said: Sequence[str]) -> Iterator[str]:
    value = override.value() if not override.is_sweep_override() else None
    for place, name in trust.targets_of({key: value}):
        if name not in trust.HARMLESS and not any(str(name) in part for part in said):
            yield f"names a function to call ({place})"
    if key.startswith(_PARAMS):
        yield from _complaints(f"{key.removeprefix(_PARAMS)}={value}", said)
    elif key == "log.mlflow_uri" and value is not None:
        yield "names where results are sent"
    elif key in _GROUPS or key.startswith("hydra/") or "/" in key:
        if value is not None and not all(_OPTION.fullmatch(str(each)) for each in _listed(value)):
            yield "chooses a file that is none of the configuration's own"
    elif key.startswith(_PLAIN_SETTINGS):
        name = key.rpartition(".")[2]
        plain = re.fullmatch(_PLAIN_TEXTS.get(name, r"(?!)"), str(value))
        if not isinstance(value, bool | int | float | None) and not plain:
            yield "sets how jobs are started"
    elif key == "hydra" or key.startswith("hydra."):
        yield "changes Hydra itself"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
