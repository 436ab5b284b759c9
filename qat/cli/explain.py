"""What Hydra and OmegaConf refuse, in words to mend it by: the key, the value, what was expected, the choices."""

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
from qat.cli.options import meaning_of, type_words
from qat.variants import quantizers_called

_SHORT = {"lr": "learning_rate", "bs": "batch_size", "batch": "batch_size", "opt": "optimizer", "skip_layers": "skip"}
_OTHERWISE = {  # names that other tools have, and what is written here
    **dict.fromkeys(
        ("output_dir", "out_dir", "outdir", "out", "output", "save_dir", "run_dir"), "hydra.run.dir=FOLDER"
    ),
    **dict.fromkeys(("verbose", "verbosity", "quiet"), "log.progress=off"),
    **dict.fromkeys(("gpu", "gpus", "device", "devices"), "CUDA_VISIBLE_DEVICES=0 before the command"),
    **dict.fromkeys(("bits", "num_bits"), "quant=qat for 8 bits, quant=qat_w4a8 for weights of 4"),
}
_GIVEN = {  # names of what nobody sets, and where it comes from
    **dict.fromkeys(("classes", "num_classes", "n_classes"), "their number is read from the labels"),
    **dict.fromkeys(("loss", "metrics", "metric"), "it follows from the task"),
    "input_shape": "it is read from the data",
}


def explain(error: Exception, schema: type) -> str:
    """One message for an error of composition; `schema` is the dataclass of the whole config."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return unknown_option(group, option, list(error.options))
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause.full_key:
        return unknown_key(str(cause.full_key), schema)
    if isinstance(cause, ValidationError) and cause.full_key:
        return wrong_type(str(cause.full_key), cause.value, schema)
    foreign = re.match(r"Could not override '([\w.]+)'\. No match in the defaults list", str(error))
    return unknown_key(foreign[1], schema) if foreign else _without_links(error)


def unknown_option(group: str, option: str, choices: list[str]) -> str:
    """
    >>> unknown_option("model", "mobilnet", ["mobilenet", "resnet8"])
    'model=mobilnet: no such option. Did you mean model=mobilenet? Choices of model: mobilenet, resnet8.'
    """
    check_engine(group, option)
    near = difflib.get_close_matches(option.lower(), choices, n=1)
    if group == "quant":
        near = quantizers_called(option.lower())[:3] or near
    hint = f" Did you mean {' or '.join(f'{group}={each}' for each in near)}?" if near else ""
    if not choices:
        return f"{group}={option}: there is no such group of options. Run with --help for the groups."
    return f"{group}={option}: no such option.{hint} Choices of {group}: {', '.join(sorted(choices))}."


def unknown_key(key: str, schema: type) -> str:
    """The key, the nearest real one, and the keys of its section."""
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
    if name in _GIVEN and section in ("", "data", "model", "train"):
        return f"{prefix}{name}: no such key; {_GIVEN[name]}."
    near = [_OTHERWISE[name]] if name in _OTHERWISE else []
    near = near or [prefix + match for match in difflib.get_close_matches(name, siblings, n=1, cutoff=0.75)]
    near = near or keys_meant(name, schema) or _similar(key, prefix, siblings, schema)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{prefix}{name}: no such key.{hint} Keys of {section or 'the config'}: {', '.join(siblings)}."


def _similar(key: str, prefix: str, siblings: list[str], schema: type) -> list[str]:
    """The last resort: what is spelled alike at all."""
    found = difflib.get_close_matches(key.rpartition(".")[2], siblings, n=1)
    return [prefix + found[0]] if found else difflib.get_close_matches(key, list(all_keys(schema)), n=1, cutoff=0.8)


def keys_meant(name: str, schema: type) -> list[str]:
    """Keys of any section that a name without one can mean.

    >>> from qat.config import Config
    >>> keys_meant("lr", Config), keys_meant("batchsize", Config)
    (['train.learning_rate', 'quant.learning_rate'], ['train.batch_size', 'quant.batch_size', 'export.batch_size'])
    """
    by_name: dict[str, list[str]] = {}
    for key in all_keys(schema):
        by_name.setdefault(key.rpartition(".")[2], []).append(key)
    near = difflib.get_close_matches(_SHORT.get(name, name), by_name, n=1, cutoff=0.85)
    shown = [key for key in by_name[near[0]] if key.count(".") < 2] or by_name[near[0]] if near else []
    return shown[:3]


def wrong_type(key: str, value: Any, schema: type) -> str:
    """The key, the value, the type in plain words, and what the key means."""
    name = key.partition("[")[0]
    kind = key_type(schema, name)
    if dataclasses.is_dataclass(kind):
        keys = [field.name for field in dataclasses.fields(kind)]
        return f"{name}={value}: it has keys of its own, as {name}.{keys[0]}=…: {', '.join(keys)}."
    meaning = re.sub(r"\bNone\b", "null", meaning_of(name, schema)).rstrip(".")
    told = f" ({meaning})" if meaning else ""
    return f"{name}={value}: expected {type_words(kind, name)}{told}.{_named_by(name, str(value))}{_swept(name, value)}"


def _swept(name: str, value: Any) -> str:
    """How a list is meant where one value is expected.

    >>> _swept("seed", [0, 1])
    ' A job for each value: -m seed=0,1'
    """
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return f" A job for each value: -m {name}={','.join(map(str, value))}" if is_list else ""


def _named_by(name: str, value: str) -> str:
    """How a section is asked for by one word."""
    if name.endswith(".optimizer"):
        rate = f"{name.partition('.')[0]}.learning_rate"
        return f" Its arguments are keys, as {name}=sgd {name}.momentum=0.9; the rate is {rate}."
    if name.endswith(".target") and re.fullmatch(r"[\w.:]+", value):
        return f" A function is named by {name}._target_={value.replace(':', '.')}."
    return ""


def unknown_keys(values: Mapping[str, Any], schema: type, prefix: str = "") -> Iterator[str]:
    """Keys that the command line added with `+` and that no section of the schema knows.

    Sections of type `dict` are open: what stands in them is theirs.
    """
    hints = typing.get_type_hints(schema)
    for name, value in values.items():
        if name not in hints:
            yield prefix + name
        elif dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping):
            yield from unknown_keys(value, hints[name], f"{prefix}{name}.")


def open_sections(schema: type) -> Iterator[str]:
    """Dotted keys of the sections whose own keys nobody can know beforehand: those of type `dict`."""
    return (key for key in all_keys(schema) if typing.get_origin(key_type(schema, key)) is dict)


def section_type(schema: type, section: str) -> type | None:
    """The dataclass that a dotted section has in the schema; None where there is no such section."""
    found = schema if not section else key_type(schema, section)
    return found if dataclasses.is_dataclass(found) else None


def key_type(schema: type, key: str) -> Any:
    """The annotation of a dotted key; None where the schema does not know it."""
    found: Any = schema
    for name in key.split("."):
        if not dataclasses.is_dataclass(found):
            return None
        found = typing.get_type_hints(found).get(name)
    return found


def all_keys(schema: type, prefix: str = "") -> Iterator[str]:
    for name, kind in typing.get_type_hints(schema).items():
        yield prefix + name
        if dataclasses.is_dataclass(kind):
            yield from all_keys(kind, f"{prefix}{name}.")


def _without_links(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("See http")]
    return "\n".join(lines) or type(error).__name__
