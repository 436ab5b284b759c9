"""The options of `convert`: what each takes, and those that a model or a scheme does not read, which are said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from qat.choices import SIGNATURE_NAME
from qat.config import ExportConfig
from qat.errors import ConfigError
from qat.export.other_rounding import has_int4_kernels
from qat.models.keras_types import KerasModel
from qat.quantization.keras.model import QatModel
from qat.quantization.schedule import quantizers
from qat.setting import is_boolean, settings_of
from qat.warning import warn

SCHEMES = ("float32", "int8", "dynamic_range", "float16", "int16x8")
IO = ("int8", "uint8", "float32")
ENGINES = ("auto", "tflite")
OURS = "ours"  # a model of `quantize_model`, where others have a scheme
TRAINED = "trained"  # a QAT model of others, likewise
FLOAT_WEIGHTS = ("float32", "float16")
WITHOUT_CALIBRATION = (*FLOAT_WEIGHTS, "dynamic_range")
MOST_SAMPLES = int(settings_of(ExportConfig)["batch_size"].high)  # per call, as `export.batch_size` has it


def refuse_unusable_options(given: dict[str, Any]) -> None:
    """Refuse values that an option does not take, and options that contradict each other.

    Args:
        given: the arguments of `convert` but for model and calibration, by name.

    Raises:
        ConfigError: there is one; it is named with what was expected.
    """
    for name, choices in (("engine", ENGINES), ("scheme", (*SCHEMES, None)), ("io", (*IO, "float16"))):
        if not isinstance(given[name], str | None) or given[name] not in choices:
            expected = ", ".join(each for each in choices if each and (name, each) != ("io", "float16"))
            raise ConfigError(f"{name}={given[name]!r}: expected one of {expected}")
    for name in ("allow_float", "per_channel", "check", "low_bit"):
        if not is_boolean(given[name]) and (name, given[name]) != ("low_bit", None):
            raise ConfigError(f"{name}={given[name]!r}: expected True or False")
    _refuse_sizes_and_names(given["batch_size"], given["signature"])
    if given["io"] == "float16":
        raise ConfigError(
            "io='float16': a TFLite file never has float16 inputs or outputs; with scheme='float16' the weights are "
            "stored as float16 and inputs and outputs stay float32. Take io='float32'."
        )
    if given["io"] == "uint8" and given["scheme"] not in (None, "int8"):
        raise ConfigError(f"io='uint8' goes with scheme='int8' only, not with {given['scheme']!r}")


def _refuse_sizes_and_names(batch_size: Any, signature: Any) -> None:
    is_integer = isinstance(batch_size, Integral) and not is_boolean(batch_size)
    if batch_size is not None and not (is_integer and 1 <= batch_size <= MOST_SAMPLES):
        raise ConfigError(
            f"batch_size={batch_size!r}: expected an integer from 1 to {MOST_SAMPLES}, or None for an open batch"
        )
    if not isinstance(signature, str) or not re.fullmatch(SIGNATURE_NAME, signature):
        raise ConfigError(
            f"signature={signature!r}: expected a name of letters, digits and _.:/-, as 'serving_default'"
        )


@dataclass(frozen=True)
class Idle:
    """An option that conversions of some kinds do not read."""

    option: str
    kinds: tuple[str, ...]  # OURS, TRAINED or schemes
    is_asked_for: Callable[[Any, KerasModel], bool]  # by its value and the model: else the file is as it says anyway
    reason: str  # and what to do instead


def _is_given(value: Any, model: KerasModel) -> bool:
    return value is not None


def _is_on(value: Any, model: KerasModel) -> bool:
    return bool(value)


def _is_off(value: Any, model: KerasModel) -> bool:
    return not value


def _is_not_so(value: Any, model: KerasModel) -> bool:
    """Whether one scale for each tensor is asked for, and the model has one for each channel."""
    return not value and any(getattr(each, "per_channel", False) for each in quantizers(model))


def _has_no_int4(value: Any, model: KerasModel) -> bool:
    return bool(value) and not has_int4_kernels(model)


def is_switched_off(model: KerasModel) -> bool:
    """Whether a model of `quantize_model` rounds nothing now, because its quantizers are switched off."""
    found = list(quantizers(model)) if isinstance(model, QatModel) else []
    return bool(found) and not any(each.enabled for each in found)


IDLE = (
    Idle("calibration", (OURS, TRAINED), _is_given, "a QAT model carries its own ranges"),
    Idle(
        "calibration", WITHOUT_CALIBRATION, _is_given, "activations stay in float; scheme='int8' and 'int16x8' take it"
    ),
    Idle(
        "per_channel",
        (OURS,),
        _is_not_so,
        "a QAT model carries its own scales: quantize_model(..., config=QuantConfig(name='qat', per_channel=False))",
    ),
    Idle("per_channel", FLOAT_WEIGHTS, _is_off, "weights stay in float, without scales"),
    Idle("engine", (OURS,), lambda value, model: value == "tflite", "a QAT model carries its own ranges"),
    Idle("low_bit", (OURS,), _has_no_int4, "no weight of the model has 4 bits: QuantConfig(weight_bits=4)"),
    Idle("low_bit", SCHEMES, _is_on, "a float model has no weights of 4 bits: quantize_model makes them"),
)


def warn_of_idle_options(kind: str, model: KerasModel, given: dict[str, Any]) -> None:
    """Warn of each option that is given and not read.

    Args:
        kind: OURS for a model of `quantize_model`, TRAINED for a QAT model of others, else the scheme.
        model: the Keras model.
        given: the arguments of `convert` but for the model, by name.
    """
    for text in describe_idle_options(kind, model, given):
        warn(text)


def describe_idle_options(kind: str, model: KerasModel, given: dict[str, Any]) -> Iterator[str]:
    """Describe each option that is given and not read; the arguments are those of `warn_of_idle_options`.

    Yields:
        One sentence per option.
    """
    for idle in IDLE:
        value = given[idle.option]
        if kind in idle.kinds and idle.is_asked_for(value, model):
            named = idle.option if idle.option == "calibration" else f"{idle.option}={value!r}"
            yield f"{named} is not used: {idle.reason}"
