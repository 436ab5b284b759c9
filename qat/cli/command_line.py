"""A command line as a user may write it, turned into Hydra's; what is no `key=value` is answered by what is meant."""

from __future__ import annotations

import difflib
import re
import shlex
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from qat.cli.compose import conf_dir
from qat.cli.explain import all_keys, key_type, keys_meant, wrong_type
from qat.cli.single_values import plainly
from qat.cli.sweeps.resume import quoted
from qat.errors import ConfigError

_SWEEPS = ("+sweep=", "sweep=", "sweep.resume=")  # without a flag, too
_STRAY_COMMA = re.compile(r"^,|,(?=,)|,(?=\]?$)")  # no value stands before or behind it
_FILES = {".tflite": "tflite", ".keras": "keras", ".npz": "data", ".h5": "keras"}


def understood(argv: Sequence[str], primary: str, schema: type) -> list[str]:
    """`argv` with single values where Hydra wants lists and sections.

    >>> from qat.config import Config
    >>> understood(["-m", "export.io=int8", "seed=0,1"], "train", Config)
    ['-m', 'export.io=[int8]', 'seed=0,1']

    Raises:
        ConfigError: a part that is neither a flag nor an override; the message has what to write.
    """
    flags = {name: action.nargs != 0 for action in get_args_parser()._actions for name in action.option_strings}
    _refuse_show_and_sweep(argv)
    sweep = any(part in ("-m", "--multirun") or part.startswith(_SWEEPS) for part in argv)
    parts, left = [], list(enumerate(argv))
    while left:
        place, part = left.pop(0)
        part = part.strip()
        name, has_value, _ = part.partition("=")
        if part.startswith("-"):
            if name not in flags:
                raise ConfigError(_foreign_flag(part, argv[place + 1 : place + 2], list(flags), schema))
            parts.append(part)
            if flags[name] and not has_value and left and "=" not in left[0][1]:
                parts.append(left.pop(0)[1])
        elif part.startswith("~"):
            parts.append(part)
        elif refused := _stray_comma(part, schema) or _refused_option(part, schema):
            raise ConfigError(refused)
        elif part == "hydra.run.dir=":
            raise ConfigError(f"{part} expected a folder, as {part}runs/first; without it one is made by day and time.")
        elif part.startswith("+") and name.lstrip("+") in _defaults(primary):
            raise ConfigError(_plus(part.lstrip("+")))
        elif name.partition(".")[0].lstrip("+") in _without_section(schema) and "." in name:
            raise ConfigError(_no_section(part, schema))
        elif not has_value or not name or (part.endswith("=") and left and "=" not in left[0][1]):
            raise ConfigError(_no_override(argv, place, schema))
        else:
            parts.append(_readable(plainly(_at_home(part, schema), schema, sweep), schema))
    return parts


def by_path(argument: str) -> list[str]:
    """`data=my.npz`, `data=a/folder` and `model=my.keras` as the options that read them; names pass as they are.

    >>> by_path("data=my.npz"), by_path("data=digits")
    (['data=npz', 'data.path=my.npz'], ['data=digits'])
    """
    key, _, value = argument.partition("=")
    if key == "model" and value.endswith((".keras", ".h5", ".hdf5")):
        return ["model=saved", f"model.path={value}"]
    if key != "data" or not (value.endswith(".npz") or "/" in value):
        return [argument]
    return [f"data={'npz' if value.endswith('.npz') else 'image_folder'}", f"data.path={value}"]


def _at_home(override: str, schema: type) -> str:
    """A path behind `=` with the home folder for its `~`: shells put it only where a word begins."""
    key, _, value = override.partition("=")
    is_text = key.startswith("hydra.") or key_type(schema, key) in (str, str | None)
    return f"{key}={Path(value).expanduser()}" if is_text and value.startswith("~/") else override


def _refuse_show_and_sweep(argv: Sequence[str]) -> None:
    shown = [part for part in argv if part.partition("=")[0] in ("--cfg", "-c", "--info", "-i")]
    if shown and {"-m", "--multirun"} & set(argv):
        raise ConfigError(f"{shown[0]} shows the config of one job: leave out -m, and give each key one value.")


def _foreign_flag(part: str, following: Sequence[str], flags: list[str], schema: type) -> str:
    name, has_value, value = part.partition("=")
    if not has_value and following and not following[0].startswith("-") and "=" not in following[0]:
        value, part = following[0], f"{part} {following[0]}"
    near = difflib.get_close_matches(name, flags, n=1, cutoff=0.8)
    if near:
        return f"{part}: no such flag. Did you mean {near[0]}?"
    meant = [f"{key}={value or '…'}" for key in _keys(name.lstrip("-").replace("-", "_"), schema)]
    if not meant:
        return f"{part}: no such flag. Options are written without dashes, as key=value; --help lists the keys."
    return f"{part}: options are written without dashes, as key=value: {' or '.join(meant)}"


def _no_override(argv: Sequence[str], place: int, schema: type) -> str:
    part, following = argv[place], list(argv[place + 1 : place + 3])
    if following[:1] == ["="] and len(following) == 2:
        return f"{part} = {following[1]}: written without spaces: {part}={following[1]}"
    if following and (following[0].startswith("=") or part.endswith("=")):
        return f"{part} {following[0]}: written without spaces: {part}{following[0]}"
    if (
        part.endswith(":")
        and following
        and "=" not in following[0]
        and part[:-1] in (*all_keys(schema), *_groups(schema))
    ):
        return f"{part} {following[0]}: options are written key=value: {part[:-1]}={following[0]}"
    if part == "help":
        return "help: the options are listed by --help"
    return f"{part}: expected key=value.{_meant_by_word(part, schema)} --help lists the keys."


def _meant_by_word(word: str, schema: type) -> str:
    keys = list(all_keys(schema))
    wanted = _FILES.get(Path(word).suffix)
    meant = [f"{wanted}={word}"] if wanted in keys or wanted == "data" else []
    key, _, value = word.partition(":")
    if value and key in (*keys, *_groups(schema)):
        meant = [f"{key}={value.strip()}"]
    meant = meant or [f"{key}=…" for key in (*keys, *_groups(schema)) if key == word]
    meant = meant or [f"{group}={word}" for group in _groups(schema) if (conf_dir() / group / f"{word}.yaml").is_file()]
    return f" Did you mean {' or '.join(meant[:3])}?" if meant else ""


def _keys(name: str, schema: type) -> list[str]:
    return [name] if name in _groups(schema) else keys_meant(name, schema)


def _groups(schema: type) -> Iterator[str]:
    across = ("experiment", "debug", "logger")
    keys = set(all_keys(schema))
    return (each.name for each in sorted(conf_dir().iterdir()) if each.is_dir() and each.name in (*keys, *across))


def _refused_option(part: str, schema: type) -> str | None:
    """What is said of a value that a group of options cannot have, as `quant=8` or `quant=[ptq,qat]`."""
    name, has_value, value = part.partition("=")
    if not has_value or part.startswith("+"):
        return None
    if name == "sweep":
        return f"{part}: written with a plus: +{part}"
    if name in _named_sections(schema):
        return f"{part}: written {name.removesuffix('.name')}={value}, which brings the settings that go with it"
    if name in _groups(schema) and value == "null":
        return f"{part}: {name} is left out by ~{name}. {_choices(name)}"
    if _is_no_name(part, schema):
        return f"{part}: expected the name of an option. {_choices(name)}"
    if f"{name}.name" in _named_sections(schema) and value.startswith("["):
        return f"{part}: expected one option; a job for each is asked for by -m {name}={value.strip('[]')}"
    return None


def _stray_comma(part: str, schema: type) -> str | None:
    """What is said of `train.epochs=3,`, as it is copied from a call in Python."""
    key, _, value = part.partition("=")
    kind = key_type(schema, key.lstrip("+"))
    clean = _STRAY_COMMA.sub("", value)
    if key.startswith("hydra.") or kind in (str, str | None) or set("\"'") & set(value) or clean == value:
        return None
    place = "at the end" if value.endswith((",", ",]")) else "without a value beside it"
    makes = "would make it a list of values, each for a job of a sweep" if value[0] not in "[{" else "is one too many"
    return f"{part}: the comma {place} {makes}. Without it: {key}={clean}"


def _named_sections(schema: type) -> set[str]:
    """`quant.name` and its like, which a file of options sets together with all that goes with it."""
    return {f"{group}.name" for group in _groups(schema)} & set(all_keys(schema))


def _is_no_name(override: str, schema: type) -> bool:
    """A number, true or false where the name of a file of options is expected."""
    group, _, value = override.partition("=")
    return bool(group in _groups(schema) and re.fullmatch(r"(?i)true|false|[+-]?[\d.]+(e[+-]?\d+)?", value))


def _defaults(primary: str) -> set[str]:
    """The groups that stand among a command's defaults: there a plus adds nothing."""
    defaults = OmegaConf.load(conf_dir() / f"{primary}.yaml").get("defaults") or []
    return {str(group) for each in defaults if isinstance(each, Mapping) for group in each}


def _plus(part: str) -> str:
    group, _, option = part.partition("=")
    both = f", or {group}=[tensorboard,{option}] to have both" if group == "logger" and option.isalnum() else ""
    return f"+{part}: written without a plus: {part}{both}"


def _without_section(schema: type) -> set[str]:
    return set(_groups(schema)) - set(all_keys(schema))


def _no_section(part: str, schema: type) -> str:
    group, _, rest = part.lstrip("+").partition(".")
    name, _, value = rest.partition("=")
    value = value if re.fullmatch(r"[\w.-]+", value) else "…"  # an address may have a password
    meant = [f"{key}={value}" for key in all_keys(schema) if key.partition(".")[2] == name][:3]
    hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
    return (
        f"{group}.{name}={value}: {group} names files of options, and has no keys of its own.{hint} {_choices(group)}"
    )


def _choices(group: str) -> str:
    return f"Choices of {group}: {', '.join(sorted(file.stem for file in (conf_dir() / group).glob('*.yaml')))}."


def _as_text(value: str) -> str:
    """
    >>> _as_text("sweep/seed=0"), _as_text("[a/seed=0,b]")
    ("'sweep/seed=0'", "['a/seed=0','b']")
    """
    listed = re.fullmatch(r"\[([^\[\]]+)\]", value)
    return f"[{','.join(quoted(each.strip()) for each in listed[1].split(','))}]" if listed else quoted(value)


def _readable(override: str, schema: type) -> str:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        key, _, value = override.partition("=")
        kind = key_type(schema, key)
        if kind is Any or key.startswith("hydra.") or str in (kind, *typing.get_args(kind)):
            return f"{key}={_as_text(value)}"  # whatever it holds: a path with brackets, a job's folder
        if re.fullmatch(r"[+~]{0,2}[\w./@:-]+", key) is None:
            raise ConfigError(f"{override}: {key} is no key; --help lists the keys.") from error
        if ":" in key and key.replace(":", ".") in all_keys(schema):
            raise ConfigError(f"{override}: written with a point: {key.replace(':', '.')}={value}") from error
        if value.startswith("="):
            raise ConfigError(f"{override}: written with one =, as {key}={value.lstrip('=')}") from error
        if value[0] in "[{" and value.count("[") + value.count("{") > value.count("]") + value.count("}"):
            raise ConfigError(f"{override}: the value cannot be read: a bracket is not closed.") from error
        if {int, float, bool, list[int], list[float]} & {kind, *typing.get_args(kind)}:
            raise ConfigError(wrong_type(key, value, schema)) from error
        whole = '{}="{}"'.format(key, value.replace("\\", "\\\\").replace('"', '\\"'))
        raise ConfigError(
            f"{override}: the value cannot be read. One with brackets, spaces or signs is quoted, for the shell and "
            f"once more inside:\n  {shlex.quote(whole)}"
        ) from error
    return override
