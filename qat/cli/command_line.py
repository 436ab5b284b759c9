"""A command line as users write it, turned into Hydra's overrides; a refusal says what to write instead."""

from __future__ import annotations

import re
import shlex
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from qat.cli.compose import conf_dir
from qat.cli.explain import explain_unknown_key, explain_wrong_type
from qat.cli.flags import refuse_show_and_sweep, take_flag
from qat.cli.groups import (
    explain_deletion,
    explain_missing_section,
    explain_plus,
    explain_refused_option,
    groups,
)
from qat.cli.options import COMMAND_LINE_NAMES
from qat.cli.schema_keys import all_keys, key_type, section_type
from qat.cli.single_values import normalize_override
from qat.cli.sweeps.resume import quote
from qat.errors import ConfigError

_SWEEP_OVERRIDES = ("+sweep=", "sweep=", "sweep.resume=")  # these start a sweep without -m
_OWN_FILES = ("--config-dir", "-cd", "--config-path", "-cp", "hydra.searchpath")
_STRAY_COMMA = re.compile(r"^,|,(?=,)|,(?=\]?$)")  # no value stands before or behind it
_PLAIN_VALUE = re.compile(r"[\w./,+-]{0,80}")  # that may be said again: an address may have a password
_KEYS_OF_SUFFIX = {  # of a file that is named without a key
    ".tflite": ("tflite",),
    ".keras": ("keras", "model"),
    ".h5": ("keras", "model"),
    ".npz": ("data",),
}
_NO_TFLITE = " A .tflite is read by qat verify, qat evaluate, qat diagnose and qat benchmark, as tflite=FILE."


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
    refuse_show_and_sweep(argv)
    sweep = any(part in ("-m", "--multirun") or part.startswith(_SWEEP_OVERRIDES) for part in argv)
    parts, index = [], 0
    while index < len(argv):
        part = argv[index].strip()
        if part.startswith("-"):
            taken = take_flag([part, *argv[index + 1 :]], schema)
        else:
            taken = [_take_override(argv, index, primary, schema, sweep)]
        parts += taken
        index += len(taken)
    return parts


def find_repeated(arguments: Sequence[str]) -> list[str]:
    """A sentence on each key that is given several values, of which Hydra takes the last.

    >>> find_repeated(["-m", "seed=0,1", "quant=ptq", "seed=2", "quant=ptq"])
    ['seed is given several times: seed=0,1, then seed=2; the last one is taken.']
    """
    values: dict[str, list[str]] = {}
    for part in arguments:
        key, _, value = part.lstrip("+").partition("=")
        if not part.startswith(("-", "~")) and value not in values.setdefault(key, [])[-1:]:
            values[key].append(value)
    return [
        f"{key} is given several times: {', then '.join(f'{key}={each}' for each in given)}; the last one is taken."
        for key, given in values.items()
        if len(given) > 1
    ]


def _take_override(argv: Sequence[str], index: int, primary: str, schema: type, sweep: bool) -> str:
    part = argv[index].strip()
    if part.startswith("~"):
        refusal = explain_deletion(part, primary, schema)
    else:
        refusal = (
            (_explain_doubled_command(primary) if part == primary else None)
            or _explain_non_override(argv, index, schema)
            or _explain_open_bracket(argv, index)
            or _explain_several(part, schema)
            or _explain_spaced_values(argv, index)
            or _explain_stray_comma(part, schema)
            or explain_refused_option(part, schema)
            or (explain_plus(part, primary, schema) if part.startswith("+") else None)
            or explain_missing_section(part, schema)
            or (None if _has_own_files(argv) else _explain_unknown(part, schema))
            or _explain_empty(part, schema)
            or _explain_job_name(part)
            or (_explain_single_folder(part) if sweep else None)
        )
    if refusal is not None:
        raise ConfigError(refusal)
    if part.startswith("~"):
        return part
    override = _expand_home(part, schema)
    key, _, value = override.partition("=")
    if "," in value and key_type(schema, key) in (str, str | None, Any) and _is_file(value):
        return f"{key}={quote(value)}"  # and not several
    return _quote_unreadable(normalize_override(override, schema, sweep), schema)


def _expand_home(override: str, schema: type) -> str:
    """Expand `~` behind `=` to the home folder: shells expand it only at the beginning of a word."""
    key, _, value = override.partition("=")
    is_home = value == "~" or value.startswith("~/")
    return f"{key}={Path(value).expanduser()}" if _is_text(key, schema) and is_home else override


def _is_text(key: str, schema: type) -> bool:
    return key.startswith("hydra.") or key_type(schema, key) in (str, str | None)


def _explain_empty(part: str, schema: type) -> str | None:
    """The refusal of `float_run=`: an empty text would be the working folder, or nothing that can be meant."""
    key, _, value = part.partition("=")
    if value.strip("'\"") or not _is_text(key, schema):
        return None
    if key in ("hydra.run.dir", "hydra.sweep.dir"):
        return f"{key}= expected a folder, as {key}=runs/first; without it one is made by day and time."
    return f"{key}= expected a value behind =; a key that is left out keeps its default."


def _explain_job_name(part: str) -> str | None:
    """The refusal of `hydra.job.name=a/b`: Hydra writes its log under that name, into the folder of the run."""
    key, _, value = part.partition("=")
    if key != "hydra.job.name" or "/" not in value:
        return None
    return f"{part}: expected a name without /; the folder of a run is hydra.run.dir=FOLDER"


def _explain_single_folder(part: str) -> str | None:
    """The refusal of `-m hydra.run.dir=DIR`, which Hydra would not look at, and of one folder for all jobs."""
    key, _, value = part.partition("=")
    folder = value or "DIR"
    if key == "hydra.sweep.subdir" and not set("$,(") & set(value):
        return (
            f"{part}: would be the folder of every job. Leave it out, and each is named by its options; the folder of "
            f"the sweep is hydra.sweep.dir={folder}"
        )
    return (
        f"{part}: places one run; the folder of a sweep is hydra.sweep.dir={folder}" if key == "hydra.run.dir" else None
    )


def _explain_open_bracket(argv: Sequence[str], index: int) -> str | None:
    """The refusal of `data.range=[-1, 1]`, which a shell splits behind the comma."""
    part, count = argv[index], 1
    value = part.partition("=")[2]
    while (
        value[:1] in ("[", "{")
        and _open_brackets(part)
        and index + count < len(argv)
        and "=" not in argv[index + count]
    ):
        part, count = f"{part} {argv[index + count]}", count + 1
    if count == 1 or _open_brackets(part):
        return None
    return f"{part}: written without spaces: {part.replace(' ', '')}"


def _open_brackets(text: str) -> int:
    return sum(text.count(each) for each in "[{(") - sum(text.count(each) for each in "]})")


def _explain_several(part: str, schema: type) -> str | None:
    """The refusal of `seed=0,quant=qat`: two options in one word."""
    names = {*all_keys(schema), *groups(schema)}
    value = part.partition("=")[2]
    if part.partition("=")[0] not in names or set("[{\"'") & set(value):
        return None
    pieces = re.split(r"[\s,;]+(?=[\w./]+=)", part)
    is_path = "=" in pieces[0].partition("=")[2]  # as the folder of a sweep's job, which is named by its options
    if len(pieces) == 1 or is_path or any(piece.partition("=")[0] not in names for piece in pieces):
        return None
    return f"{part}: several options in one word; written apart: {' '.join(pieces)}"


def _explain_non_override(argv: Sequence[str], index: int, schema: type) -> str | None:
    part, following = argv[index].strip(), list(argv[index + 1 : index + 3])
    name, has_value, _ = part.partition("=")
    if has_value and name and not (part.endswith("=") and following and "=" not in following[0]):
        return None
    if following[:1] == ["="] and len(following) == 2:
        return f"{part} = {following[1]}: written without spaces: {part}={following[1]}"
    if following and (following[0].startswith("=") or part.endswith("=")):
        return f"{part} {following[0]}: written without spaces: {part}{following[0]}"
    if (
        part.endswith(":")
        and following
        and "=" not in following[0]
        and part[:-1] in (*all_keys(schema), *groups(schema))
    ):
        return f"{part} {following[0]}: options are written key=value: {part[:-1]}={following[0]}"
    if part == "help":
        return "help: the options are listed by --help"
    before = argv[index - 1] if index and "=" in argv[index - 1] else ""
    hint = _suggest_for_word(part, schema)
    if before and (not hint or _is_text(before.partition("=")[0], schema)):
        return f"{part}: expected key=value. If it belongs to what stands before it, quote both: '{before} {part}'"
    return f"{part}: expected key=value.{hint} --help lists the keys."


def _explain_doubled_command(primary: str) -> str:
    return f"{primary}: the command is named already. Options follow it, as key=value; --help lists them."


def _suggest_for_word(word: str, schema: type) -> str:
    keys = list(all_keys(schema))
    suffix = Path(word).suffix.lower()
    shown = [COMMAND_LINE_NAMES.get(each, each) for each in keys]
    suggestions = [f"{each}={word}" for each in _KEYS_OF_SUFFIX.get(suffix, ()) if each in shown][:1]
    if suffix == ".tflite" and not suggestions:
        return _NO_TFLITE
    key, _, value = word.partition(":")
    if value and key in (*keys, *groups(schema)):
        suggestions = [f"{key}={value.strip()}"]
    suggestions = suggestions or [f"{key}=…" for key in {*keys, *groups(schema)} if key == word]
    suggestions = suggestions or [
        f"{group}={word}" for group in groups(schema) if (conf_dir() / group / f"{word}.yaml").is_file()
    ]
    if not suggestions and Path(word).is_dir():
        suggestions = [f"{key}={word}" for key in ("runs", "run", "data") if key in keys][:1]
    return f" Did you mean {' or '.join(suggestions[:3])}?" if suggestions else ""


def _has_own_files(argv: Sequence[str]) -> bool:
    """Whether a command line names a folder of the user's, whose files may have groups that we know nothing of."""
    return any(part.strip().partition("=")[0] in _OWN_FILES for part in argv)


def _explain_unknown(part: str, schema: type) -> str | None:
    """The refusal of `trainer.max_epochs=3`, of which Hydra tells `trainer` alone, and of `wd=3`, without the 3."""
    key, _, value = part.lstrip("+").partition("=")
    section, is_nested, _ = key.rpartition(".")
    is_path = re.fullmatch(r"[\w.]+", key) is None
    if is_path or key.startswith("hydra.") or key in (*all_keys(schema), *groups(schema)):
        return None
    if is_nested and section_type(schema, section) is None and key.partition(".")[0] in all_keys(schema):
        return None  # of a section that takes any key, or of a setting
    return explain_unknown_key(key, schema, value if _PLAIN_VALUE.fullmatch(value) else "")


def _explain_spaced_values(argv: Sequence[str], index: int) -> str | None:
    """The refusal of `quant=ptq, qat`, which a shell splits behind the comma."""
    words = [argv[index].strip()]
    while words[-1].endswith(",") and len(words) < len(argv) - index and "=" not in argv[index + len(words)]:
        words.append(argv[index + len(words)])
    return None if len(words) == 1 else f"{' '.join(words)}: written without spaces: {''.join(words)}"


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


def _quote_value(value: str) -> str:
    """
    >>> _quote_value("sweep/seed=0"), _quote_value("[a/seed=0,b]")
    ("'sweep/seed=0'", "['a/seed=0','b']")
    """
    listed = re.fullmatch(r"\[([^\[\]]+)\]", value)
    return f"[{','.join(quote(each.strip()) for each in listed[1].split(','))}]" if listed else quote(value)


def _is_file(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # a name that no file system takes
        return False


def _quote_unreadable(override: str, schema: type) -> str:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        key, _, value = override.partition("=")
        kind = key_type(schema, key)
        if kind is Any or key.startswith("hydra.") or str in (kind, *typing.get_args(kind)):
            return f"{key}={_quote_value(value)}"  # whatever it holds: a path with brackets, a job's folder
        if key != key.rstrip():
            raise ConfigError(f"{override}: written without spaces: {key.rstrip()}={value.strip()}") from error
        if re.fullmatch(r"[+~]{0,2}[\w./@:-]+", key) is None:
            raise ConfigError(f"{override}: {key} is no key; --help lists the keys.") from error
        if ":" in key and key.replace(":", ".") in all_keys(schema):
            raise ConfigError(f"{override}: written with a point: {key.replace(':', '.')}={value}") from error
        if value.startswith("="):
            raise ConfigError(f"{override}: written with one =, as {key}={value.lstrip('=')}") from error
        if value[0] in "[{" and _open_brackets(value) > 0:
            raise ConfigError(f"{override}: the value cannot be read: a bracket is not closed.") from error
        if {int, float, bool, list[int], list[float]} & {kind, *typing.get_args(kind)}:
            raise ConfigError(explain_wrong_type(key, value, schema)) from error
        if kind is None and key.lstrip("+") not in groups(schema) and not key.startswith("+"):
            raise ConfigError(explain_unknown_key(key, schema)) from error
        if ";" in value and key in groups(schema):
            raise ConfigError(
                f"{override}: several values have commas between: {key}={value.replace(';', ',')}"
            ) from error
        quoted_override = '{}="{}"'.format(key, value.replace("\\", "\\\\").replace('"', '\\"'))
        raise ConfigError(
            f"{override}: the value cannot be read. One with brackets, spaces or signs is quoted, for the shell and "
            f"once more inside:\n  {shlex.quote(quoted_override)}"
        ) from error
    return override
