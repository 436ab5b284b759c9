"""Values that no setting may accept, made from the schema: each field x wrong type, out of its limits, NaN, null, …"""

import copy
import dataclasses
import math
import types
import typing

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qat.cli.command_line import normalize_arguments
from qat.cli.compose import compose_node, to_config
from qat.cli.explain import explain
from qat.cli.schema_keys import all_keys, key_type
from qat.config import (
    BenchmarkConfig,
    CompareConfig,
    Config,
    DiagnoseConfig,
    EvaluateConfig,
    VerifyConfig,
)
from qat.errors import ConfigError
from qat.setting import settings_of

COMMANDS = {
    "train": (Config, ()),
    "evaluate": (EvaluateConfig, ("tflite=a.tflite", "data=digits")),
    "verify": (VerifyConfig, ("tflite=a.tflite",)),
    "diagnose": (DiagnoseConfig, ("tflite=a.tflite",)),
    "benchmark": (BenchmarkConfig, ("tflite=a.tflite",)),
    "compare": (CompareConfig, ("runs=.",)),
}
OF_TYPE = {
    bool: ("5", "-1", "maybe", "nan", "[true]"),
    int: ("word", "1.5", "true", "nan", "1e300", "[1]"),
    float: ("word", "true", "nan", "inf", "[1.0]"),
    str: ("' '", "[a]", "{a: 1}"),
    list: ("{a: 1}",),
    dict: ("word", "5", "[1]"),
}
OF_ELEMENTS = {int: ("[word]", "[1.5]", "[nan]"), float: ("[word]", "[nan]", "[inf,0]", "[0,-inf]"), str: ("['']",)}


def fields(command):
    """Dotted keys of a command's settings, with their types."""
    schema = COMMANDS[command][0]
    for key in all_keys(schema):
        kind = key_type(schema, key)
        if not dataclasses.is_dataclass(kind) and (command == "train" or not key.startswith(("data.", "limits."))):
            yield key, kind


def alternatives(kind):
    """The types of a field: (int, None) of `int | None`."""
    is_union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return typing.get_args(kind) if is_union else (kind,)


def main_type(kind):
    """The type of a field that may be null, without null; of `list[int]`, that."""
    return next(each for each in alternatives(kind) if each is not type(None))


def is_optional(kind):
    return type(None) in alternatives(kind) or kind is typing.Any


def wrong_values(command, key, kind):
    """Values as they are typed."""
    main, limits = main_type(kind), settings_of(COMMANDS[command][0])[key]
    origin = typing.get_origin(main) or main
    yield from () if is_optional(kind) else ("null",)
    yield from OF_TYPE.get(origin, ())
    if origin is list and (elements := typing.get_args(main)[0]) is not typing.Any:
        yield from (*OF_ELEMENTS.get(elements, ()), "[[1]]", "[{a: 1}]")
    if main in (int, float):
        ends = (limits.low, -1), (limits.high, 1), (limits.above, 0), (limits.below, 0)
        yield from (str(end + step) for end, step in ends if math.isfinite(end))
    if limits.choices and main is str:
        yield "no_such_choice"


def composed(command):
    """The node that every try begins with: Hydra composes it once."""
    schema, overrides = COMMANDS[command]
    return compose_node(overrides, command, schema)


def answer(node, command, override):
    """The config with one override more, as the command line makes it, without composing all of it again."""
    schema, key = COMMANDS[command][0], override.partition("=")[0]
    parent, _, name = key.rpartition(".")
    section = OmegaConf.select(node, parent) if parent else node
    before = copy.deepcopy(section._get_node(name))
    try:
        parsed = OverridesParser.create().parse_overrides(normalize_arguments([override], command, schema))
        ConfigLoaderImpl._apply_overrides_to_config(parsed, node)
        return to_config(node, schema)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, schema)) from error
    finally:
        section.__dict__["_content"][name] = before
