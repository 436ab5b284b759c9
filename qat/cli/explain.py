"""What Hydra and OmegaConf refuse, in messages that help: the key, the value, what was expected, the choices."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import MissingConfigException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

from qat.cli.extras import check_engine
from qat.cli.options import describe_type, find_meaning
from qat.variants import quantizers_called

_ABBREVIATIONS = {
    "lr": "learning_rate",
    "bs": "batch_size",
    "batch": "batch_size",
    "opt": "optimizer",
    "skip_layers": "skip",
}
_FOREIGN_NAMES = {  # names that other tools have, and what is written here
    **dict.fromkeys(
        ("output_dir", "out_dir", "outdir", "out", "output", "save_dir", "run_dir"), "hydra.run.dir=FOLDER"
    ),
    **dict.fromkeys(("verbose", "verbosity", "quiet"), "log.progress=off"),
    **dict.fromkeys(("gpu", "gpus", "device", "devices"), "CUDA_VISIBLE_DEVICES=0 before the command"),
    **dict.fromkeys(("bits", "num_bits"), "quant=qat for 8 bits, quant=qat_w4a8 for weights of 4"),
}
_DERIVED = {  # names of what is no setting, and where it comes from
    **dict.fromkeys(("classes", "num_classes", "n_classes"), "their number is read from the labels"),
    **dict.fromkeys(("loss", "metrics", "metric"), "it follows from the task"),
    "input_shape": "it is read from the data",
}


def explain(error: Exception, schema: type) -> str:
    """Write one message for an error of composition.

    Args:
        error: what Hydra or OmegaConf raised.
        schema: the dataclass of the whole config.

    Returns:
        The message: the key, its value, what was expected.
    """
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return explain_unknown_option(group, option, list(error.options))
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause.full_key:
        return explain_unknown_key(str(cause.full_key), schema)
    if isinstance(cause, ValidationError) and cause.full_key:
        return explain_wrong_type(str(cause.full_key), cause.value, schema)
    foreign = re.match(r"Could not override '([\w.]+)'\. No match in the defaults list", str(error))
    return explain_unknown_key(foreign[1], schema) if foreign else _without_links(error)


def explain_unknown_option(group: str, option: str, choices: list[str]) -> str:
    """Write the message for an option that a group does not have.

    >>> explain_unknown_option("model", "mobilnet", ["mobilenet", "resnet8"])
    'model=mobilnet: no such option. Did you mean model=mobilenet? Choices of model: mobilenet, resnet8.'

    Args:
        group: a folder of conf/, such as "model".
        option: as typed.
        choices: names of the group's files; empty where there is no such group.

    Returns:
        The message, with the nearest option and all choices.

    Raises:
        ConfigError: the option exists, and belongs to an extra that is not installed.
    """
    check_engine(group, option)
    near = difflib.get_close_matches(option.lower(), choices, n=1)
    if group == "quant":
        near = quantizers_called(option.lower())[:3] or near
    hint = f" Did you mean {' or '.join(f'{group}={each}' for each in near)}?" if near else ""
    if not choices:
        return f"{group}={option}: there is no such group of options. Run with --help for the groups."
    return f"{group}={option}: no such option.{hint} Choices of {group}: {', '.join(sorted(choices))}."


def explain_unknown_key(key: str, schema: type) -> str:
    """Write the message for a key that the config does not have: the nearest real key, and the keys of its section.

    Args:
        key: dotted, as typed, such as "train.lr".
        schema: the dataclass of the whole config.

    Returns:
        The message.
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
    if name in _DERIVED and section in ("", "data", "model", "train"):
        return f"{prefix}{name}: no such key; {_DERIVED[name]}."
    near = [_FOREIGN_NAMES[name]] if name in _FOREIGN_NAMES else []
    near = near or [prefix + match for match in difflib.get_close_matches(name, siblings, n=1, cutoff=0.75)]
    near = near or suggest_keys(name, schema) or _find_similar(key, prefix, siblings, schema)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{prefix}{name}: no such key.{hint} Keys of {section or 'the config'}: {', '.join(siblings)}."


def _find_similar(key: str, prefix: str, siblings: list[str], schema: type) -> list[str]:
    """The key that is spelled most alike, where nothing better is known."""
    matches = difflib.get_close_matches(key.rpartition(".")[2], siblings, n=1)
    return [prefix + matches[0]] if matches else difflib.get_close_matches(key, list(all_keys(schema)), n=1, cutoff=0.8)


def suggest_keys(name: str, schema: type) -> list[str]:
    """Suggest keys of any section for a name without a section.

    >>> from qat.config import Config
    >>> suggest_keys("lr", Config), suggest_keys("batchsize", Config)
    (['train.learning_rate', 'quant.learning_rate'], ['train.batch_size', 'quant.batch_size', 'export.batch_size'])

    Args:
        name: as typed, without dots.
        schema: the dataclass of the whole config.

    Returns:
        Dotted keys, at most 3; empty where none is near.
    """
    by_name: dict[str, list[str]] = {}
    for key in all_keys(schema):
        by_name.setdefault(key.rpartition(".")[2], []).append(key)
    near = difflib.get_close_matches(_ABBREVIATIONS.get(name, name), by_name, n=1, cutoff=0.85)
    suggestions = [key for key in by_name[near[0]] if key.count(".") < 2] or by_name[near[0]] if near else []
    return suggestions[:3]


def explain_wrong_type(key: str, value: object, schema: type) -> str:
    """Write the message for a value of a wrong type: the expected type in plain words, and what the key means.

    Args:
        key: dotted, perhaps with an index of a list, such as "data.range[0]".
        value: as typed, or as OmegaConf read it.
        schema: the dataclass of the whole config.

    Returns:
        The message.
    """
    name = key.partition("[")[0]
    kind = key_type(schema, name)
    if dataclasses.is_dataclass(kind):
        keys = [field.name for field in dataclasses.fields(kind)]
        return f"{name}={value}: it has keys of its own, as {name}.{keys[0]}=…: {', '.join(keys)}."
    meaning = re.sub(r"\bNone\b", "null", find_meaning(name, schema)).rstrip(".")
    note = f" ({meaning})" if meaning else ""
    suggestion = _suggest_section_value(name, str(value)) + _suggest_sweep(name, value)
    return f"{name}={value}: expected {describe_type(kind, name)}{note}.{suggestion}"


def _suggest_sweep(name: str, value: object) -> str:
    """What to write for a list where one value is expected.

    >>> _suggest_sweep("seed", [0, 1])
    ' A job for each value: -m seed=0,1'
    """
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return f" A job for each value: -m {name}={','.join(map(str, value))}" if is_list else ""


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
        values: the composed config, or one section of it.
        schema: its dataclass; sections of type `dict` take any key.
        prefix: dotted key of the section with a dot at its end; "" for the whole config.

    Returns:
        Dotted keys, in the order of `values`.
    """
    hints = typing.get_type_hints(schema)
    for name, value in values.items():
        if name not in hints:
            yield prefix + name
        elif dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping):
            yield from find_unknown_keys(value, hints[name], f"{prefix}{name}.")


def list_open_sections(schema: type) -> Iterator[str]:
    """Dotted keys of the sections of type `dict`, which take any key."""
    return (key for key in all_keys(schema) if typing.get_origin(key_type(schema, key)) is dict)


def section_type(schema: type, section: str) -> type | None:
    """The dataclass of a section.

    Args:
        schema: the dataclass of the whole config.
        section: dotted key, such as "quant.calibration"; "" for `schema` itself.

    Returns:
        The dataclass; None where there is no such section.
    """
    kind = schema if not section else key_type(schema, section)
    return kind if dataclasses.is_dataclass(kind) else None


def key_type(schema: type, key: str) -> Any:
    """The type of a setting.

    Args:
        schema: the dataclass of the whole config.
        key: dotted, such as "train.epochs".

    Returns:
        The annotation in its dataclass, such as `int | None`; None where there is no such key.
    """
    kind: Any = schema
    for name in key.split("."):
        if not dataclasses.is_dataclass(kind):
            return None
        kind = typing.get_type_hints(kind).get(name)
    return kind


def all_keys(schema: type, prefix: str = "") -> Iterator[str]:
    """All keys of a config, sections included, each section before what is in it.

    Args:
        schema: the dataclass of the config.
        prefix: what stands before each key, with a dot at its end; "" for the whole config.

    Returns:
        Dotted keys, such as "train" and "train.epochs".
    """
    for name, kind in typing.get_type_hints(schema).items():
        yield prefix + name
        if dataclasses.is_dataclass(kind):
            yield from all_keys(kind, f"{prefix}{name}.")


def _without_links(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("See http")]
    return "\n".join(lines) or type(error).__name__
