"""A single value where the config holds a list or a section: taken as what it can only mean."""

from __future__ import annotations

import re
import typing
from difflib import get_close_matches

from qat import trust
from qat.cli.explain import key_type
from qat.cli.sweeps.resume import quoted
from qat.errors import ConfigError

_OPTIMIZERS = {
    name.rpartition(".")[2].lower(): name
    for name in sorted(trust.HARMLESS)
    if name.startswith("tf_keras.") and ".schedules." not in name
}
_NEEDS_DECAY = "adamw"  # the one optimizer that refuses to have none
_PLAIN = re.compile(r"[\w.,-]+")
_FUNCTION = re.compile(r"\w+\(")  # of Hydra's: choice(…), range(…)
_WHOLE = re.compile(r"[+-]?\d*\.?\d+(?:[eE]\+?\d+)?(?:,[+-]?\d*\.?\d+(?:[eE]\+?\d+)?)*")  # or several, in a sweep
_NO_SCALAR = ("[", "{", "${", "null")


def plainly(override: str, schema: type, sweep: bool = False) -> str:
    """An override as Hydra takes it.

    >>> from qat.config import Config
    >>> plainly("export.io=int8", Config), plainly("data.image_size=96", Config)
    ('export.io=[int8]', 'data.image_size=[96,96]')
    >>> plainly("train.optimizer=sgd", Config)
    'train.optimizer={_target_:tf_keras.optimizers.SGD,weight_decay:null}'

    Raises:
        ConfigError: several values that are no list, an optimizer that does not exist.
    """
    key, _, value = override.partition("=")
    kind = key_type(schema, key)
    if not value or value.startswith(_NO_SCALAR) or kind is None or (sweep and _FUNCTION.match(value)):
        return override
    if key.endswith(".optimizer") and _PLAIN.fullmatch(value):
        return f"{key}={','.join(_optimizer(key, each) for each in _each(key, value, sweep, 'one optimizer'))}"
    if int in (kind, *typing.get_args(kind)) and _WHOLE.fullmatch(value):
        return f"{key}={','.join(map(_whole, value.split(',')))}"
    if float in (kind, *typing.get_args(kind)) and not sweep and re.fullmatch(r"[+-]?\d+,\d+", value):
        point = value.replace(",", ".")
        raise ConfigError(f"{key}={value}: a fraction has a point: {key}={point}; a job for each value wants -m.")
    if _is_list_of_numbers(kind) and value.startswith("("):
        raise ConfigError(f"{key}={value}: a list has square brackets: {key}=[{value.strip('()')}]")
    sides = re.fullmatch(r"(\d+)[xX](\d+)", value)
    if key == "data.image_size" and sides:
        if sides[1] != sides[2]:
            raise ConfigError(f"{key}={value}: expected [height, width], as {key}=[{sides[1]},{sides[2]}]")
        value = sides[1]
    if key == "data.image_size" and re.fullmatch(r"[\d,]+", value):
        each = [f"[{side},{side}]" for side in _each(key, value, sweep, f"[height, width] is {key}=[{value}]")]
        return f"{key}={','.join(each)}"
    if _is_list_of_numbers(kind) and re.fullmatch(r"[\d.,+-]*,[\d.,+-]*", value):
        _each(key, value, sweep, f"a list, as {key}=[{value}]")
    if _is_list_of_numbers(kind) and re.fullmatch(r"[+-]?[\d.]+", value):
        return f"{key}=[{value}]"
    if list[str] in (kind, *typing.get_args(kind)):
        return f"{key}={','.join(f'[{each}]' for each in _texts(key, value, sweep))}"
    return override


def _whole(value: str) -> str:
    """
    >>> _whole("1e3"), _whole("10.0"), _whole("2.5"), _whole("007")
    ('1000', '10', '2.5', '007')
    """
    return str(int(float(value))) if not value.lstrip("+-").isdigit() and float(value).is_integer() else value


def _is_list_of_numbers(kind: typing.Any) -> bool:
    return bool({list[int], list[float]} & {kind, *typing.get_args(kind)})


def _each(key: str, value: str, sweep: bool, expected: str) -> list[str]:
    values = value.split(",")
    if len(values) > 1 and not sweep:
        raise ConfigError(f"{key}={value}: expected {expected}; a job for each value wants -m.")
    return values


def _texts(key: str, value: str, sweep: bool) -> list[str]:
    if value[0] in "\"'" or (sweep and not _PLAIN.fullmatch(value)):
        return [value]
    if _PLAIN.fullmatch(value):
        return _each(key, value, sweep, f"a list, as {key}=[{value}]")
    return [quoted(value)]


def _optimizer(key: str, name: str) -> str:
    found = _OPTIMIZERS.get(name.lower())
    if found is None and "." in name:
        return f"{{_target_:{name}}}"
    if found is None:
        near = get_close_matches(name.lower(), _OPTIMIZERS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"{key}={name}: no such optimizer.{hint} Choices: {', '.join(sorted(_OPTIMIZERS))}; another one of "
            f"Keras 2 by its name, as {key}=my_module.MyOptimizer."
        )
    # what the default optimizer decays by is not to go over to another one unseen
    return f"{{_target_:{found}}}" if name.lower() == _NEEDS_DECAY else f"{{_target_:{found},weight_decay:null}}"
