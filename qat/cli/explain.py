"""What Hydra and OmegaConf refuse, in messages that help: the key, the value, what was expected, the choices."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import MissingConfigException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
    ValidationError,
)

from qat.cli.conf_folder import choices_of
from qat.cli.extras import check_engine
from qat.cli.options import COMMAND_LINE_NAMES, describe_type, find_meaning
from qat.cli.other_names import find_derived, suggest_foreign, suggest_keys
from qat.cli.schema_keys import all_keys, hints_of, key_type, section_type
from qat.plain_text import first_line
from qat.setting import settings_of
from qat.variants import quantizers_called

_FILES_OF_OPTIONS = {  # what else a group takes
    "model": " A constructor of keras.applications: model=keras_app model.app=NAME; a file: model=my_model.keras",
    "data": " Files: data=my_data.npz, or data=FOLDER/ with a folder for each class",
    "experiment": " A file of your own, DIR/experiment/NAME.yaml: --config-dir DIR experiment=NAME",
}


def explain(error: Exception, schema: type) -> str:
    """Write one message for an error of composition.

    Args:
        error: the exception that Hydra or OmegaConf raised while composing.
        schema: the dataclass of the whole config.

    Returns:
        One line of plain text: the key, its value, what was expected; without Hydra's links.
    """
    if isinstance(error, MissingConfigException) and "/" in str(error.missing_cfg_file):
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return explain_unknown_option(group, option, list(error.options or choices_of(group)))
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is None:
        return f"--config-path: no such folder; a relative one is not looked for here.{_FILES_OF_OPTIONS['experiment']}"
    if isinstance(error, MissingConfigException):
        return f"--config-name {error.missing_cfg_file}: no such file.{_FILES_OF_OPTIONS['experiment']}"
    if module := re.match(r"Primary config module '[\w.]*\.(\w+)' not found", str(error)):
        return f"--config-path {module[1]}: no such folder.{_FILES_OF_OPTIONS['experiment']}"
    if folder := re.match(r"Additional config directory '(.+)' not found", str(error)):
        return f"--config-dir {folder[1]}: no such folder. It holds files of options, as experiment/mine.yaml."
    if isinstance(error, OverflowError) and (key := re.search(r"full_key: ([\w.]+)", str(error))):
        return f"{key[1]}: expected a number of fewer digits; this one is larger than any that is calculated with."
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause.full_key:
        return explain_unknown_key(str(cause.full_key), schema)
    if isinstance(cause, ValidationError) and str(cause.full_key).startswith("hydra."):
        return f"{cause.full_key}={_as_typed(cause.value)}: expected {_hydra_type(str(cause))}."
    if isinstance(cause, ValidationError) and cause.full_key:
        return explain_wrong_type(str(cause.full_key), cause.value, schema)
    if isinstance(cause, InterpolationResolutionError) and cause.full_key:
        return (
            f"{cause.full_key}: its ${{…}} stands for nothing ({first_line(cause)}). Expected another key, as "
            "${train.epochs}, or a variable of the environment that is set, as ${oc.env:HOME}."
        )
    if foreign := re.match(r"Could not override '([\w.]+)'\. No match in the defaults list", str(error)):
        return explain_unknown_key(foreign[1], schema)
    if left_out := re.match(r"Could not delete '([\w./]+)=(.+)'\. No match in the defaults list", str(error)):
        return f"~{left_out[1]}={left_out[2]}: not what is chosen. Choose another option by {left_out[1]}=NAME."
    if merged := re.match(r"Error merging override \+*([\w.]+)=(.*)", str(error), re.DOTALL):
        return explain_wrong_type(merged[1], merged[2], schema)
    return _without_links(error)


def explain_unknown_option(group: str, option: str, choices: list[str]) -> str:
    """Write the message for an option that a group does not have.

    >>> explain_unknown_option("quant", "qta", ["ptq", "qat"])
    'quant=qta: no such option. Did you mean quant=qat? Choices of quant: ptq, qat.'

    Args:
        group: a folder of conf/, such as "model".
        option: the option's name, as typed.
        choices: names of the group's files; empty where there is no such group.

    Returns:
        One line: what was typed, the nearest option, and all choices.

    Raises:
        ConfigError: the option exists, and belongs to an extra that is not installed.
    """
    check_engine(group, option)
    if "/" in group and not group.startswith("hydra/"):  # a path, which Hydra takes for a group in a group
        group, _, folder = group.partition("/")
        option = f"{folder}/{option}"
    near = difflib.get_close_matches(option.lower(), choices, n=1)
    if group == "quant":
        near = quantizers_called(option.lower())[:3] or near
    if group in ("data", "model") and Path(option).is_dir():
        near = [f"{option}/"]
    hint = f" Did you mean {' or '.join(f'{group}={each}' for each in near)}?" if near else ""
    if not choices:
        return f"{group}={option}: there is no such group of options. Run with --help for the groups."
    files = _FILES_OF_OPTIONS.get(group, "")
    return f"{group}={option}: no such option.{hint} Choices of {group}: {', '.join(sorted(choices))}.{files}"


def explain_unknown_key(key: str, schema: type, value: str = "") -> str:
    """Write the message for a key that the config does not have: the nearest real key, and the keys of its section.

    Args:
        key: dotted, as typed, such as "train.lr".
        schema: the dataclass of the whole config.
        value: what was typed for it, for what is suggested; "" where it is not known.

    Returns:
        One line: the key, up to 3 near ones, and the keys of its section.
    """
    if key.startswith(("hydra.launcher.", "hydra.sweeper.")):
        engine = key.split(".")[1]
        return f"{key}: the {engine} of this command has no such key. Choose one first, by hydra/{engine}=… and -m."
    if key.startswith("hydra."):
        return f"{key}: Hydra has no such key. --cfg hydra shows those it has; a new one takes a plus, as +{key}=…"
    section, _, name = key.rpartition(".")
    while section and section_type(schema, section) is None:
        section, _, name = section.rpartition(".")
    siblings = [field.name for field in dataclasses.fields(section_type(schema, section) or schema)]
    prefix = f"{section}." if section else ""
    derived = find_derived(name)
    if derived is not None and section in ("", "data", "model", "train"):
        return f"{prefix}{name}: no such key; {derived}."
    near = [each for each in all_keys(schema) if not section and "." in each and each.replace(".", "_") == name]
    near = near or suggest_foreign(name, value, [field.name for field in dataclasses.fields(schema)])
    near = near or ([] if section or name == key else suggest_keys(key.rpartition(".")[2], schema))
    near = near or [prefix + match for match in difflib.get_close_matches(name.lower(), siblings, n=1, cutoff=0.75)]
    near = near or suggest_keys(name, schema) or _find_similar(key, prefix, siblings, schema)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    keys = ", ".join(COMMAND_LINE_NAMES.get(each, each) for each in siblings)
    return f"{prefix}{name}: no such key.{hint} Keys of {section or 'the config'}: {keys}."


def _find_similar(key: str, prefix: str, siblings: list[str], schema: type) -> list[str]:
    """The key that is spelled most alike, where nothing better is known."""
    matches = difflib.get_close_matches(key.rpartition(".")[2], siblings, n=1)
    return [prefix + matches[0]] if matches else difflib.get_close_matches(key, list(all_keys(schema)), n=1, cutoff=0.8)


def explain_wrong_type(key: str, value: object, schema: type) -> str:
    """Write the message for a value of a wrong type: the expected type in plain words, and what the key means.

    Args:
        key: dotted, perhaps with an index of a list, such as "data.range[0]".
        value: the value, as typed or as OmegaConf read it.
        schema: the dataclass of the whole config.

    Returns:
        One line: the key, its value, the expected type in words, what the key means, and what to write where that is
        known.
    """
    name = key.partition("[")[0]
    kind = key_type(schema, name)
    value = _as_typed(value)
    if dataclasses.is_dataclass(kind):
        keys = [field.name for field in dataclasses.fields(kind)]
        return f"{name}={value}: it has keys of its own, as {name}.{keys[0]}=…: {', '.join(keys)}."
    meaning = re.sub(r"\bNone\b", "null", find_meaning(name, schema)).rstrip(".")
    note = f" ({meaning})" if meaning else ""
    entry = f"{value} in {name}" if "[" in key else f"{name}={value}"
    suggestion = _suggest_section_value(name, str(value)) + (
        "" if kind in (list[int], list[float]) else _suggest_sweep(name, value)
    )
    suggestion = suggestion or _suggest_share(name, str(value), schema)
    return f"{entry}: expected {describe_type(kind, name)}{note}.{suggestion}"


def _as_typed(value: object) -> object:
    """A value as it is written on a command line.

    >>> _as_typed(None), _as_typed(True), _as_typed("a"), _as_typed([1])
    ('null', 'true', 'a', [1])
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return value


def _hydra_type(message: str) -> str:
    """What a setting of Hydra's own expects, from what OmegaConf says of it.

    >>> _hydra_type("Value 'x' of type 'str' could not be converted to Integer"), _hydra_type("non-optional")
    ('an integer', 'a value, and not null')
    """
    kind = re.search(r"could not be converted to (\w+)", message)
    words = {"Integer": "an integer", "Float": "a number", "Boolean": "true or false", "String": "text"}
    return words.get(kind[1], "another kind of value") if kind else "a value, and not null"


def _suggest_share(name: str, value: str, schema: type) -> str:
    """What to write for a percentage.

    >>> from qat.config import Config
    >>> _suggest_share("data.val_fraction", "10%", Config), _suggest_share("quant.auto_skip.max_drop", "1 %", Config)
    (' Without %: data.val_fraction=0.1', ' Without %: quant.auto_skip.max_drop=1')
    """
    per_cent = re.fullmatch(r"([\d.]+) ?%", value)
    kinds = {key_type(schema, name), *typing.get_args(key_type(schema, name))}
    if not per_cent or float not in kinds or per_cent[1].count(".") > 1:
        return ""
    number = float(per_cent[1]) / (1 if settings_of(schema)[name].high == 100 else 100)
    return f" Without %: {name}={number:g}"


def _suggest_sweep(name: str, value: object) -> str:
    """What to write for a list where one value is expected.

    >>> _suggest_sweep("seed", [0, 1]), _suggest_sweep("seed", "0-2")
    (' A job for each value: -m seed=0,1', ' A job for each value: -m seed=range(0,3)')
    """
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    span = re.fullmatch(r"(\d+)(?:-|\.\.+|:)(\d+)", str(value))
    if not is_list and not span:
        return ""
    values = f"range({span[1]},{int(span[2]) + 1})" if span else ",".join(map(str, value))
    return f" A job for each value: -m {name}={values}"


def _suggest_section_value(name: str, value: str) -> str:
    """What to write for one word where a section is expected."""
    if name.endswith(".optimizer"):
        rate = f"{name.partition('.')[0]}.learning_rate"
        return f" Its arguments are keys, as {name}=sgd {name}.momentum=0.9; the rate is {rate}."
    if name.endswith(".target") and re.fullmatch(r"[\w.:]+", value):
        return f" A function is named by {name}._target_={value.replace(':', '.')}."
    return ""


def find_unknown_keys(values: Mapping[str, Any], schema: type, prefix: str = "") -> Iterator[str]:
    """Find keys that the command line added with `+` and that no section of the schema has.

    Args:
        values: the composed config, or one section of it, as nested dictionaries.
        schema: the dataclass of that config or section; sections of type `dict` take any key.
        prefix: dotted key of the section with a dot at its end; "" for the whole config.

    Returns:
        Dotted keys, in the order of `values`.
    """
    hints = hints_of(schema)
    for name, value in values.items():
        if name not in hints:
            yield prefix + name
        elif dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping):
            yield from find_unknown_keys(value, hints[name], f"{prefix}{name}.")


def _without_links(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("See http")]
    return "\n".join(lines) or type(error).__name__
