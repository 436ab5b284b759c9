"""Overrides and configs from a folder are untrusted: what would run code, or lead out of the folder, is refused."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from qat import limits, trust
from qat.cli.swept_values import list_swept_values
from qat.errors import ConfigError, RunDirError
from qat.plain_text import writable

_TRUST_KEYS = ("trust", "model.trust_custom_objects", "limits")
_OPTION = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_GROUPS = ("data", "model", "train", "quant", "logger", "debug", "experiment", "sweep")
_PLAIN_SETTINGS = ("hydra.sweeper.", "hydra.launcher.")
_PLAIN_TEXTS = dict.fromkeys(("study_name", "sampler", "partition", "qos", "account", "constraint"), r"[\w.-]+")
_PLAIN_TEXTS["storage"] = r"sqlite:///[\w.-]+"  # a file in the folder that the command is called in
_PARAMS = "hydra.sweeper.params."
MOST_PROCESSES = 64  # that a folder may start at once
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def accept_overrides(overrides: Sequence[str], argv: Sequence[str], where: str) -> list[str]:
    """Select the overrides of a folder that may be used; settings of trust are dropped.

    Args:
        overrides: `key=value` parts, as the folder's file has them.
        argv: the command line, which is trusted: an override that stands there too is accepted, and with `trust=true`
            every one.
        where: path of the folder's file, for messages.

    Returns:
        The accepted overrides, in their order.

    Raises:
        RunDirError: one of them would do more than choose values; the message names it.
    """
    typed_overrides = [part for part in argv if not part.startswith("-")]
    if "trust=true" in (part.lower() for part in typed_overrides):
        return list(overrides)
    remaining = [part for part in overrides if not _lifts_limits(part)]
    trusted = trust.HARMLESS | {name for part in typed_overrides for name in _names_in(part)}
    for part in remaining:
        if part not in typed_overrides:
            for complaint in _complaints(part, trusted):
                raise RunDirError(
                    f"{where}: {part[:200]!r} {complaint}, and what comes from a folder is not run unasked. If you "
                    "know it, say it on the command line as well, or trust=true for all that the folder brings"
                )
    return [part for part in remaining if part in typed_overrides or not _writes_elsewhere(part, where)]


def _lifts_limits(override: str) -> bool:
    """Whether an override would trust the folder that it comes from, or lift limits."""
    key = _inner_key(override)
    return key in _TRUST_KEYS or key.split(".")[0] in _TRUST_KEYS


def _inner_key(override: str) -> str:
    """The key that an override sets for each job, also by the values of a sweeper."""
    key = _key(override).strip()
    while key.startswith(_PARAMS):
        key = _key(key.removeprefix(_PARAMS))
    return key


def _names_in(typed: str) -> set[str]:
    """The functions that an override on the command line names: by a `_target_`, or as trusted."""
    try:
        override = OverridesParser.create().parse_override(typed)
        value = None if override.is_sweep_override() else override.value()
    except (HydraException, ValueError, RecursionError, AttributeError):
        return set()
    names = {str(name) for _, name in trust.targets_of({_key(typed): value})}
    return names | set(map(str, value)) if _key(typed) == "trust" and isinstance(value, list) else names


def _writes_elsewhere(override: str, where: str) -> bool:
    """Whether an override of a folder gives float models a place that is no cache of them, which is said."""
    key, folder = _inner_key(override), override.partition("=")[2].strip("'\" ")
    path = Path(folder).expanduser()
    if (
        key != "float_cache"
        or folder.lower() in ("", "null")
        or (path.is_dir() and any(map(_is_entry, path.iterdir())))
    ):
        return False
    message = f"qat: warning: {where}: {override}: no cache of float models is there, so the usual one is taken"
    print(writable(f"{message}. Say it on the command line to take that folder"), file=sys.stderr, flush=True)
    return True


def _is_entry(path: Path) -> bool:
    return re.fullmatch(r"\.?[0-9a-f]{24}(\..*)?", path.name) is not None


def is_harmless(override: str) -> bool:
    """Whether an override may be taken from a folder without being repeated on the command line."""
    return _inner_key(override) != "float_cache" and not any(_complaints(override, trust.HARMLESS))


def read_yaml(path: Path) -> Any:
    """Read a small YAML file of a folder; aliases, by which a small file can expand without end, are refused.

    Raises:
        OSError, yaml.YAMLError: it cannot be read.
        RunDirError: it is too large, no regular file, or has aliases.
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


def _complaints(text: str, trusted: Set[str]) -> Iterator[str]:
    key = text.partition("=")[0]
    if "${" in text or "@" in key or len(text) > 100_000:
        yield "refers to other settings, or to functions that make them"
        return
    try:
        overrides = [OverridesParser.create().parse_override(text)]
        if overrides[0].is_discrete_sweep():
            each = list_swept_values(overrides[0])
            overrides = [OverridesParser.create().parse_override(f"{key}={one}") for one in each]
    except ConfigError:
        yield "asks for too many jobs"
        return
    except (HydraException, ValueError, RecursionError, AttributeError):
        yield "cannot be understood"
        return
    for override in overrides:
        yield from _complaints_of_override(_key(text), override, trusted)


def _complaints_of_override(key: str, override: Override, trusted: Set[str]) -> Iterator[str]:
    value = override.value() if not override.is_sweep_override() else None
    if any("${" in text for text in _texts(value)):  # also where it was written as $\\{
        yield "refers to other settings, or to functions that make them"
        return
    for key_path, name in trust.targets_of({key: value}):
        if not isinstance(name, str) or name not in trusted:
            yield f"names a function to call ({key_path})"
    if key.startswith(_PARAMS):
        yield from _complaints(f"{key.removeprefix(_PARAMS)}={value}", trusted)
    elif (key == "log.mlflow_uri" and value is not None) or (key == "log" and value):
        yield "names where results are sent"  # a section is merged into the one that there is
    elif key in _GROUPS or key.startswith("hydra/") or "/" in key:
        if value is not None and not all(_OPTION.fullmatch(str(each)) for each in _to_list(value)):
            yield "chooses a file that is none of the configuration's own"
    elif key.startswith(_PLAIN_SETTINGS):
        name = key.rpartition(".")[2]
        plain = re.fullmatch(_PLAIN_TEXTS.get(name, r"(?!)"), str(value))
        is_large = name == "n_jobs" and isinstance(value, int | float) and value > MOST_PROCESSES
        if is_large or (not isinstance(value, bool | int | float | None) and not plain):
            yield "sets how jobs are started"
    elif key == "hydra" or key.startswith("hydra."):
        yield "changes Hydra itself"


def _texts(value: object) -> Iterator[str]:
    """Every text in nested lists and dictionaries, keys among them."""
    if isinstance(value, dict):
        for each in (*value.keys(), *value.values()):
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield str(value)


def _to_list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
