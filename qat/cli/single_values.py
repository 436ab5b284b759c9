"""Turn a single value into a list or section where the config has one, and refuse what could mean several things."""

from __future__ import annotations

import re
import typing
from difflib import get_close_matches

from qat import trust
from qat.cli.explain import explain_wrong_type
from qat.cli.schema_keys import key_type
from qat.cli.sweeps.resume import quote
from qat.errors import ConfigError

_OPTIMIZERS = {
    name.rpartition(".")[2].lower(): name
    for name in sorted(trust.HARMLESS)
    if name.startswith("tf_keras.") and ".schedules." not in name
}
_NEEDS_DECAY = "adamw"  # the one optimizer that refuses to have none
_SEVERAL = re.compile(r"[\w./~-]+(,[\w./~-]+)+")
_QUOTED_KEY = re.compile(r"""(?<=[{,])(["'])([\w/\-+.$%*@?|]+)\1(?=:)""")  # Hydra takes keys in braces without quotes
_PLAIN = re.compile(r"[\w.,-]+")
_FUNCTION = re.compile(r"\w+\(")  # of Hydra's: choice(…), range(…)
_NUMBERS = re.compile(r"[+-]?\d*\.?\d+(?:[eE]\+?\d+)?(?:,[+-]?\d*\.?\d+(?:[eE]\+?\d+)?)*")  # or several, in a sweep
_SIDES = re.compile(r"\[?(\d+) ?[xX] ?(\d+)\]?")  # 96x96
_NUMBER_TYPES = {int, float, list[int], list[float]}
_NOT_SCALAR = ("[", "{", "${", "null")


def normalize_override(override: str, schema: type, sweep: bool = False) -> str:
    """Write an override as Hydra takes it.

    >>> from qat.config import Config
    >>> normalize_override("export.io=int8", Config), normalize_override("data.image_size=96", Config)
    ('export.io=[int8]', 'data.image_size=[96,96]')
    >>> normalize_override("train.optimizer=sgd", Config)
    'train.optimizer={_target_:tf_keras.optimizers.SGD,weight_decay:null}'
    >>> normalize_override("quant.per_layer={'conv.*':{weight_bits:4}}", Config)
    'quant.per_layer={conv.*:{weight_bits:4}}'

    Args:
        override: `key=value`, as typed.
        schema: the dataclass of the whole config.
        sweep: whether the command is a sweep, in which `a,b` are values of several jobs.

    Returns:
        `key=value` in Hydra's grammar.

    Raises:
        ConfigError: several values that are no list, an optimizer that does not exist, a number for true or false.
    """
    key, _, value = override.partition("=")
    kind = key_type(schema, key)
    if _NUMBER_TYPES & {kind, *typing.get_args(kind)} and any(each.isdigit() and not each.isascii() for each in value):
        raise ConfigError(explain_wrong_type(key, value, schema))  # Python would take digits of any script
    if value.startswith("{"):
        return f"{key}=" + _QUOTED_KEY.sub(r"\2", value)
    sized = key == "data.image_size" and _SIDES.fullmatch(value)
    if not value or (value.startswith(_NOT_SCALAR) and not sized) or kind is None or (sweep and _FUNCTION.match(value)):
        return override
    if key.endswith(".optimizer") and _PLAIN.fullmatch(value):
        names = _split_values(key, value, sweep, "one optimizer")
        return f"{key}={','.join(_optimizer_section(key, name) for name in names)}"
    if bool in (kind, *typing.get_args(kind)):
        _refuse_numbers(key, value, schema)
    if int in (kind, *typing.get_args(kind)) and not sweep and re.fullmatch(r"\d{1,3}(,\d{3})+", value):
        whole = value.replace(",", "")
        raise ConfigError(f"{key}={value}: a number has no comma: {key}={whole}; a job for each value wants -m.")
    if int in (kind, *typing.get_args(kind)) and _NUMBERS.fullmatch(value):
        return f"{key}={','.join(map(_to_integer, value.split(',')))}"
    if float in (kind, *typing.get_args(kind)) and not sweep and re.fullmatch(r"[+-]?\d+,\d+", value):
        point = value.replace(",", ".")
        raise ConfigError(f"{key}={value}: a fraction has a point: {key}={point}; a job for each value wants -m.")
    if _is_list_of_numbers(kind) and value.startswith("("):
        raise ConfigError(f"{key}={value}: a list has square brackets: {key}=[{value.strip('()')}]")
    sides = _SIDES.fullmatch(value)
    if key == "data.image_size" and sides:
        if sides[1] != sides[2]:
            raise ConfigError(f"{key}={value}: expected [height, width], as {key}=[{sides[1]},{sides[2]}]")
        value = sides[1]
    if key == "data.image_size" and re.fullmatch(r"[\d,]+", value):
        expected = f"[height, width], as {key}=[{','.join(value.split(',')[:2])}]"
        each = [f"[{side},{side}]" for side in _split_values(key, value, sweep, expected)]
        return f"{key}={','.join(each)}"
    if _is_list_of_numbers(kind) and re.fullmatch(r"[\d.,+-]*,[\d.,+-]*", value):
        _split_values(key, value, sweep, f"a list, as {key}=[{value}]")
    if _is_list_of_numbers(kind) and re.fullmatch(r"[+-]?[\d.]+", value):
        return f"{key}=[{value}]"
    if list[str] in (kind, *typing.get_args(kind)):
        return f"{key}={','.join(f'[{each}]' for each in _split_texts(key, value, sweep))}"
    if kind is typing.Any and "." not in key and not sweep and _SEVERAL.fullmatch(value):
        return f"{key}=[{value}]"  # one text or several, as runs
    return override


def _refuse_numbers(key: str, value: str, schema: type) -> None:
    """OmegaConf would take any number but 0 for true."""
    for each in value.split(","):
        if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", each.lower()) and each not in ("0", "1"):
            raise ConfigError(explain_wrong_type(key, each, schema))


def _to_integer(value: str) -> str:
    """
    >>> _to_integer("1e3"), _to_integer("10.0"), _to_integer("2.5"), _to_integer("007")
    ('1000', '10', '2.5', '007')
    """
    return str(int(float(value))) if not value.lstrip("+-").isdigit() and float(value).is_integer() else value


def _is_list_of_numbers(kind: typing.Any) -> bool:
    return bool({list[int], list[float]} & {kind, *typing.get_args(kind)})


def _split_values(key: str, value: str, sweep: bool, expected: str) -> list[str]:
    values = value.split(",")
    if len(values) > 1 and not sweep:
        raise ConfigError(f"{key}={value}: expected {expected}; a job for each value wants -m.")
    return values


def _split_texts(key: str, value: str, sweep: bool) -> list[str]:
    if value[0] in "\"'" or (sweep and not _PLAIN.fullmatch(value)):
        return [value]
    if _PLAIN.fullmatch(value):
        return _split_values(key, value, sweep, f"a list, as {key}=[{value}]")
    return [quote(value)]


def _optimizer_section(key: str, name: str) -> str:
    target = _OPTIMIZERS.get(name.lower())
    if target is None and "." in name:
        return f"{{_target_:{name}}}"
    if target is None:
        near = get_close_matches(name.lower(), _OPTIMIZERS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"{key}={name}: no such optimizer.{hint} Choices: {', '.join(sorted(_OPTIMIZERS))}; another one of "
            f"Keras 2 by its name, as {key}=my_module.MyOptimizer."
        )
    # the weight decay of the default optimizer must not silently apply to another one
    return f"{{_target_:{target}}}" if name.lower() == _NEEDS_DECAY else f"{{_target_:{target},weight_decay:null}}"
