"""A command line as users write it, turned into Hydra's overrides; a refusal says what to write instead."""

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
from qat.cli.explain import all_keys, explain_wrong_type, key_type, suggest_keys
from qat.cli.single_values import normalize_override
from qat.cli.sweeps.resume import quote
from qat.errors import ConfigError

_SWEEP_OVERRIDES = ("+sweep=", "sweep=", "sweep.resume=")  # these start a sweep without -m
_STRAY_COMMA = re.compile(r"^,|,(?=,)|,(?=\]?$)")  # no value stands before or behind it
_KEY_OF_SUFFIX = {".tflite": "tflite", ".keras": "keras", ".npz": "data", ".h5": "keras"}


def normalize_arguments(argv: Sequence[str], primary: str, schema: type) -> list[str]:
    """Turn single values into the lists and sections that Hydra expects, and refuse what Hydra cannot read.

    >>> from qat.config import Config
    >>> normalize_arguments(["-m", "export.io=int8", "seed=0,1"], "train", Config)
    ['-m', 'export.io=[int8]', 'seed=0,1']

    Args:
        argv: the command line without the program, as the shell splits it.
        primary: the command, which is the name of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.

    Returns:
        Flags and overrides for Hydra, in the order of `argv`.

    Raises:
        ConfigError: a part that is neither a flag nor an override; the message has what to write.
    """
    flags = {name: action.nargs != 0 for action in get_args_parser()._actions for name in action.option_strings}
    _refuse_show_and_sweep(argv)
    sweep = any(part in ("-m", "--multirun") or part.startswith(_SWEEP_OVERRIDES) for part in argv)
    parts, remaining = [], list(enumerate(argv))
    while remaining:
        index, part = remaining.pop(0)
        part = part.strip()
        name, has_value, _ = part.partition("=")
        if part.startswith("-"):
            if name not in flags:
                raise ConfigError(_explain_unknown_flag(part, argv[index + 1 : index + 2], list(flags), schema))
            parts.append(part)
            if flags[name] and not has_value and remaining and "=" not in remaining[0][1]:
                parts.append(remaining.pop(0)[1])
        elif part.startswith("~"):
            parts.append(part)
        elif refusal := _explain_stray_comma(part, schema) or _explain_refused_option(part, schema):
            raise ConfigError(refusal)
        elif part == "hydra.run.dir=":
            raise ConfigError(f"{part} expected a folder, as {part}runs/first; without it one is made by day and time.")
        elif part.startswith("+") and name.lstrip("+") in _defaults(primary):
            raise ConfigError(_explain_needless_plus(part.lstrip("+")))
        elif name.partition(".")[0].lstrip("+") in set(_groups(schema)) - set(all_keys(schema)) and "." in name:
            raise ConfigError(_explain_missing_section(part, schema))
        elif not has_value or not name or (part.endswith("=") and remaining and "=" not in remaining[0][1]):
            raise ConfigError(_explain_non_override(argv, index, schema))
        else:
            parts.append(_quote_unreadable(normalize_override(_expand_home(part, schema), schema, sweep), schema))
    return parts


def expand_path_argument(argument: str) -> list[str]:
    """Turn `data=my.npz`, `data=a/folder` and `model=my.keras` into the options that read them; others stay unchanged.

    >>> expand_path_argument("data=my.npz"), expand_path_argument("data=digits")
    (['data=npz', 'data.path=my.npz'], ['data=digits'])
    """
    key, _, value = argument.partition("=")
    if key == "model" and value.endswith((".keras", ".h5", ".hdf5")):
        return ["model=saved", f"model.path={value}"]
    if key != "data" or not (value.endswith(".npz") or "/" in value):
        return [argument]
    return [f"data={'npz' if value.endswith('.npz') else 'image_folder'}", f"data.path={value}"]


def _expand_home(override: str, schema: type) -> str:
    """Expand `~` behind `=` to the home folder: shells expand it only at the beginning of a word."""
    key, _, value = override.partition("=")
    is_text = key.startswith("hydra.") or key_type(schema, key) in (str, str | None)
    return f"{key}={Path(value).expanduser()}" if is_text and value.startswith("~/") else override


def _refuse_show_and_sweep(argv: Sequence[str]) -> None:
    show_flags = [part for part in argv if part.partition("=")[0] in ("--cfg", "-c", "--info", "-i")]
    if show_flags and {"-m", "--multirun"} & set(argv):
        raise ConfigError(f"{show_flags[0]} shows the config of one job: leave out -m, and give each key one value.")


def _explain_unknown_flag(part: str, following: Sequence[str], flags: list[str], schema: type) -> str:
    name, has_value, value = part.partition("=")
    if not has_value and following and not following[0].startswith("-") and "=" not in following[0]:
        value, part = following[0], f"{part} {following[0]}"
    near = difflib.get_close_matches(name, flags, n=1, cutoff=0.8)
    if near:
        return f"{part}: no such flag. Did you mean {near[0]}?"
    suggestions = [f"{key}={value or '…'}" for key in _suggest_options(name.lstrip("-").replace("-", "_"), schema)]
    if not suggestions:
        return f"{part}: no such flag. Options are written without dashes, as key=value; --help lists the keys."
    return f"{part}: options are written without dashes, as key=value: {' or '.join(suggestions)}"


def _explain_non_override(argv: Sequence[str], index: int, schema: type) -> str:
    part, following = argv[index], list(argv[index + 1 : index + 3])
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
    return f"{part}: expected key=value.{_suggest_for_word(part, schema)} --help lists the keys."


def _suggest_for_word(word: str, schema: type) -> str:
    keys = list(all_keys(schema))
    file_key = _KEY_OF_SUFFIX.get(Path(word).suffix)
    suggestions = [f"{file_key}={word}"] if file_key in keys or file_key == "data" else []
    key, _, value = word.partition(":")
    if value and key in (*keys, *_groups(schema)):
        suggestions = [f"{key}={value.strip()}"]
    suggestions = suggestions or [f"{key}=…" for key in (*keys, *_groups(schema)) if key == word]
    suggestions = suggestions or [
        f"{group}={word}" for group in _groups(schema) if (conf_dir() / group / f"{word}.yaml").is_file()
    ]
    return f" Did you mean {' or '.join(suggestions[:3])}?" if suggestions else ""


def _suggest_options(name: str, schema: type) -> list[str]:
    return [name] if name in _groups(schema) else suggest_keys(name, schema)


def _groups(schema: type) -> Iterator[str]:
    across = ("experiment", "debug", "logger")
    keys = set(all_keys(schema))
    return (each.name for each in sorted(conf_dir().iterdir()) if each.is_dir() and each.name in (*keys, *across))


def _explain_refused_option(part: str, schema: type) -> str | None:
    """The refusal of a value that a group of options cannot have, as `quant=8` or `quant=[ptq,qat]`."""
    name, has_value, value = part.partition("=")
    if not has_value or part.startswith("+"):
        return None
    if name == "sweep":
        return f"{part}: written with a plus: +{part}"
    if name in _named_sections(schema):
        return f"{part}: written {name.removesuffix('.name')}={value}, which brings the settings that go with it"
    if name in _groups(schema) and value == "null":
        return f"{part}: {name} is left out by ~{name}. {_list_choices(name)}"
    if _is_scalar_option(part, schema):
        return f"{part}: expected the name of an option. {_list_choices(name)}"
    if f"{name}.name" in _named_sections(schema) and value.startswith("["):
        return f"{part}: expected one option; a job for each is asked for by -m {name}={value.strip('[]')}"
    return None


def _explain_stray_comma(part: str, schema: type) -> str | None:
    """The refusal of `train.epochs=3,`, as it is copied from a call in Python."""
    key, _, value = part.partition("=")
    kind = key_type(schema, key.lstrip("+"))
    clean = _STRAY_COMMA.sub("", value)
    if key.startswith("hydra.") or kind in (str, str | None) or set("\"'") & set(value) or clean == value:
        return None
    where = "at the end" if value.endswith((",", ",]")) else "without a value next to it"
    effect = "would make it a list of values, each for a job of a sweep" if value[0] not in "[{" else "is one too many"
    return f"{part}: the comma {where} {effect}. Without it: {key}={clean}"


def _named_sections(schema: type) -> set[str]:
    """`quant.name` and its like, which a file of options sets together with the settings that belong to it."""
    return {f"{group}.name" for group in _groups(schema)} & set(all_keys(schema))


def _is_scalar_option(override: str, schema: type) -> bool:
    """Whether the value is a number, true or false where the name of a file of options is expected."""
    group, _, value = override.partition("=")
    return bool(group in _groups(schema) and re.fullmatch(r"(?i)true|false|[+-]?[\d.]+(e[+-]?\d+)?", value))


def _defaults(primary: str) -> set[str]:
    """The groups in a command's list of defaults: these are chosen without a plus."""
    defaults = OmegaConf.load(conf_dir() / f"{primary}.yaml").get("defaults") or []
    return {str(group) for each in defaults if isinstance(each, Mapping) for group in each}


def _explain_needless_plus(part: str) -> str:
    group, _, option = part.partition("=")
    both = f", or {group}=[tensorboard,{option}] to have both" if group == "logger" and option.isalnum() else ""
    return f"+{part}: written without a plus: {part}{both}"


def _explain_missing_section(part: str, schema: type) -> str:
    group, _, rest = part.lstrip("+").partition(".")
    name, _, value = rest.partition("=")
    value = value if re.fullmatch(r"[\w.-]+", value) else "…"  # an address may have a password
    suggestions = [f"{key}={value}" for key in all_keys(schema) if key.partition(".")[2] == name][:3]
    hint = f" Did you mean {' or '.join(suggestions)}?" if suggestions else ""
    explanation = f"{group} names files of options, and has no keys of its own.{hint} {_list_choices(group)}"
    return f"{group}.{name}={value}: {explanation}"


def _list_choices(group: str) -> str:
    return f"Choices of {group}: {', '.join(sorted(file.stem for file in (conf_dir() / group).glob('*.yaml')))}."


def _quote_value(value: str) -> str:
    """
    >>> _quote_value("sweep/seed=0"), _quote_value("[a/seed=0,b]")
    ("'sweep/seed=0'", "['a/seed=0','b']")
    """
    listed = re.fullmatch(r"\[([^\[\]]+)\]", value)
    return f"[{','.join(quote(each.strip()) for each in listed[1].split(','))}]" if listed else quote(value)


def _quote_unreadable(override: str, schema: type) -> str:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        key, _, value = override.partition("=")
        kind = key_type(schema, key)
        if kind is Any or key.startswith("hydra.") or str in (kind, *typing.get_args(kind)):
            return f"{key}={_quote_value(value)}"  # whatever it holds: a path with brackets, a job's folder
        if re.fullmatch(r"[+~]{0,2}[\w./@:-]+", key) is None:
            raise ConfigError(f"{override}: {key} is no key; --help lists the keys.") from error
        if ":" in key and key.replace(":", ".") in all_keys(schema):
            raise ConfigError(f"{override}: written with a point: {key.replace(':', '.')}={value}") from error
        if value.startswith("="):
            raise ConfigError(f"{override}: written with one =, as {key}={value.lstrip('=')}") from error
        if value[0] in "[{" and value.count("[") + value.count("{") > value.count("]") + value.count("}"):
            raise ConfigError(f"{override}: the value cannot be read: a bracket is not closed.") from error
        if {int, float, bool, list[int], list[float]} & {kind, *typing.get_args(kind)}:
            raise ConfigError(explain_wrong_type(key, value, schema)) from error
        quoted_override = '{}="{}"'.format(key, value.replace("\\", "\\\\").replace('"', '\\"'))
        raise ConfigError(
            f"{override}: the value cannot be read. One with brackets, spaces or signs is quoted, for the shell and "
            f"once more inside:\n  {shlex.quote(quoted_override)}"
        ) from error
    return override
