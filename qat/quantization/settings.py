"""A layer's own settings, read from the config by regular expressions over Keras layer names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

from qat.calibration_data import InputSpec
from qat.config import LAYER_SETTINGS, METHODS, MISSING, SCHEDULED, QuantConfig
from qat.errors import ConfigError
from qat.quantization.ir.graph import Graph
from qat.schedule_point import training_step
from qat.setting import describe_refused_values, describe_wrong_types, is_boolean
from qat.variants import MADE_BY_US, QUANTIZERS
from qat.warning import warn

BITS = range(2, 9)  # accepted for weights; a command line takes those that a file stores as such
_EXPECTED_BITS = "expected an integer from 2 to 8"


def config_or_default(config: QuantConfig | None) -> QuantConfig:
    """The config, looked at; `QuantConfig(name="qat")` for None.

    Raises:
        ConfigError: it is no `QuantConfig`, or has values that are not accepted.
    """
    if config is not None and not isinstance(config, QuantConfig):
        raise ConfigError(
            f"config is a {type(config).__name__}: expected a QuantConfig, as "
            "QuantConfig(name='qat_w4a8', weight_bits=4)"
        )
    config = QuantConfig(name="qat") if config is None else config
    refuse_unusable(config)
    return config


def refuse_unusable(config: QuantConfig) -> None:
    """Refuse values that the command line refuses too, but for weights of other bits.

    Raises:
        ConfigError: there are some; each is named with what was expected.
    """
    refused = list(describe_wrong_types(config, "config.")) or list(_unusable_values(config))
    if refused:
        raise ConfigError("\n".join(refused))


def _unusable_values(config: QuantConfig) -> Iterator[str]:
    """Values of the right type that nothing can be made of."""
    yield from describe_refused_values(replace(config, name=_name_of(config), weight_bits=8), "config.")
    if config.weight_bits not in BITS:
        yield f"config.weight_bits={config.weight_bits!r}: {_EXPECTED_BITS}."
    for pattern, settings in config.per_layer.items():
        yield from _unusable_layer_settings(f"config.per_layer.{pattern}", settings)
    for key in SCHEDULED:
        value = getattr(config, key)
        try:
            training_step(0 if value is None else value, steps=1, steps_per_epoch=1, key=f"config.{key}")
        except ConfigError as error:
            yield str(error)


def _unusable_layer_settings(key: str, settings: Any) -> Iterator[str]:
    if not isinstance(settings, Mapping) or not settings:
        yield f"{key}={settings!r}: expected a layer's settings, as {{'weight_bits': 4}}."
        return
    for name, value in settings.items():
        if name not in LAYER_SETTINGS:
            yield f"{key}: {name} is no setting of a layer; expected one of {', '.join(LAYER_SETTINGS)}."
        elif name == "weight_bits" and (value not in BITS or not isinstance(value, Integral) or is_boolean(value)):
            yield f"{key}.{name}={value!r}: {_EXPECTED_BITS}."
        elif name == "per_channel" and not is_boolean(value):
            yield f"{key}.{name}={value!r}: expected True or False."
        elif name == "method" and value not in METHODS:
            yield f"{key}.{name}={value!r}: expected one of {', '.join(METHODS)}."


def refuse_other_quantizers(config: QuantConfig) -> None:
    """Refuse names of files that `quantize_model` does not make, with the call that makes them.

    Raises:
        ConfigError: `config.name` is one of them.
    """
    quantizer = QUANTIZERS[_name_of(config)]
    if quantizer.is_ours:
        return
    samples = "calibration=samples, " if quantizer.needs_calibration else ""
    call = f"qat.convert(float_model, {samples}scheme={quantizer.scheme!r})"
    if quantizer.stock:
        call = "qat.quantization.stock.quantize_by_tfmot(float_model)"
    raise ConfigError(
        f"config.name={config.name!r}: quantize_model makes {', '.join(MADE_BY_US)}; for {config.name}, call {call}"
    )


def warn_of_bits(config: QuantConfig) -> None:
    """Warn where the bits of the weights belie the name."""
    name = _name_of(config)
    bits = QUANTIZERS[name].weight_bits
    if bits < config.weight_bits:
        warn(
            f"QuantConfig(name={name!r}) has weights of {config.weight_bits} bits; of {bits}, as the name says: "
            f"QuantConfig(name={name!r}, weight_bits={bits})",
        )


def _name_of(config: QuantConfig) -> str:
    return "qat" if config.name == MISSING else config.name


def calibration_specs(graph: Graph) -> tuple[InputSpec, ...]:
    """What calibration data must look like, in `model.inputs` order."""
    return tuple(InputSpec(node.name, node.output.shape[1:], node.output.dtype) for node in graph.inputs)


def override(config: QuantConfig, layer: str) -> dict[str, Any]:
    """The entry of `quant.per_layer` whose pattern is the first to match a layer's name.

    Args:
        config: settings with regular expressions over Keras layer names in `per_layer`.
        layer: name of a Keras layer.

    Returns:
        The layer's settings, keys of `LAYER_SETTINGS`; empty where no pattern matches.

    Raises:
        ConfigError: a pattern is no regular expression, or a setting is unknown.

    >>> override(QuantConfig(name="qat", per_layer={"^conv": {"weight_bits": 4}}), "conv_1")
    {'weight_bits': 4}
    """
    for pattern, settings in config.per_layer.items():
        if _matches(pattern, layer, "quant.per_layer"):
            refused = list(_unusable_layer_settings(f"quant.per_layer.{pattern}", settings))
            if refused:
                raise ConfigError("\n".join(refused))
            return dict(settings)
    return {}


def weight_scheme(config: QuantConfig, layer: str) -> dict[str, Any]:
    """Bits and granularity of one layer's weights.

    Args:
        config: settings of the whole model.
        layer: name of a Keras layer.

    Returns:
        `bits` (2 to 8) and `per_channel` (a boolean), arguments of `LinearScheme`.
    """
    settings_of_layer = override(config, layer)
    return {
        "bits": settings_of_layer.get("weight_bits", config.weight_bits),
        "per_channel": settings_of_layer.get("per_channel", config.per_channel),
    }


def is_low_bit(config: QuantConfig) -> bool:
    """Whether any kernel has fewer than 8 bits, for `convert(low_bit=...)`.

    >>> is_low_bit(QuantConfig(name="qat", per_layer={"^conv": {"weight_bits": 4}}))
    True
    """
    weight_bits = (settings.get("weight_bits", 8) for settings in config.per_layer.values())
    return min([config.weight_bits, *weight_bits]) < 8


def refuse_unmatched(config: QuantConfig, graph: Graph) -> None:
    """Refuse patterns of `quant.per_layer` that match no layer.

    Args:
        config: settings with regular expressions over Keras layer names in `per_layer`.
        graph: the canonical graph, whose nodes have the layers' names.

    Raises:
        ConfigError: a pattern matches none; the message names it, and the model's layers.
    """
    names = list(dict.fromkeys(node.layer for node in graph.nodes if node.layer))
    for pattern in config.per_layer:
        if not any(_matches(pattern, name, "quant.per_layer") for name in names):
            raise _no_match("quant.per_layer", pattern, names)


def _no_match(key: str, pattern: str, names: list[str]) -> ConfigError:
    more = ", …" if len(names) > 40 else ""
    return ConfigError(
        f"{key}: {pattern!r} matches no layer; the model's layers are {', '.join(names[:40])}{more}"
        f"{_explain_nested(pattern, names)}"
    )


def _explain_nested(pattern: str, names: list[str]) -> str:
    """How a layer inside of another is meant, where a pattern matches the end of its name."""
    inner = next((name for name in names if "/" in name and re.search(pattern, name.rpartition("/")[2])), None)
    if inner is None:
        return ""
    return f". Layers inside of a model or layer have its name before theirs: '^{re.escape(inner)}$'"


def refuse_low_bit(config: QuantConfig, graph: Graph) -> None:
    """Refuse layers that no file with 4-bit weights can hold.

    Args:
        config: settings of the whole model; nothing is refused where all weights have 8 bits.
        graph: the canonical graph with its ranges placed.

    Raises:
        ConfigError: there are some; each is named.
    """
    if not is_low_bit(config):
        return
    nodes = [node for node in graph.nodes_of("conv2d_transpose", "embedding") if not node.in_float]
    refused = {node.layer or node.name: node.op for node in nodes if _has_few_bits(config, node.layer or node.name)}
    if refused:
        named = ", ".join(f"{layer} ({op})" for layer, op in refused.items())
        kept = {f"^{re.escape(layer)}$": {"weight_bits": 8} for layer in refused}
        pairs = ",".join(f"{layer}:{{weight_bits:8}}" for layer in refused)
        raise ConfigError(
            "quant.weight_bits=4 (or in quant.per_layer): LiteRT runs no transposed convolution and no embedding of 4 "
            f"bits: {named}. Leave these in 8 bits: 'quant.per_layer={{{pairs}}}' on a command line, in Python "
            f"QuantConfig(..., per_layer={kept!r})"
        )


def _has_few_bits(config: QuantConfig, layer: str) -> bool:
    return weight_scheme(config, layer)["bits"] < 8


def skipped_layers(config: QuantConfig, graph: Graph) -> frozenset[str]:
    """The Keras layers that `quant.skip` leaves in float; for one that is fused into another, that other.

    Args:
        config: settings with regular expressions over Keras layer names in `skip`.
        graph: the canonical graph, whose nodes have the layers' names.

    Returns:
        Names of Keras layers; empty where `skip` is.

    Raises:
        ConfigError: a pattern is no regular expression, or matches no layer.
    """
    layers = {node.layer for node in graph.nodes if node.layer}
    names = list(dict.fromkeys(name for node in graph.nodes for name in (node.layer, *node.fused_layers) if name))
    selected: set[str] = set()
    for pattern in config.skip:
        matching = {name for name in names if _matches(pattern, name, "quant.skip")}
        if not matching:
            raise _no_match("quant.skip", pattern, names)
        selected |= matching & layers
        selected |= {node.layer for node in graph.nodes if (matching - layers).intersection(node.fused_layers)}
    return frozenset(selected)


def skip_pattern(config: QuantConfig, layer: str) -> str | None:
    """The first pattern of `quant.skip` that matches a layer's name; None where none does.

    Args:
        config: settings with regular expressions over Keras layer names in `skip`.
        layer: name of a Keras layer.

    Returns:
        The pattern; None where no pattern matches.

    >>> skip_pattern(QuantConfig(name="qat", skip=["^stem", "head"]), "head_dense")
    'head'
    """
    return next((pattern for pattern in config.skip if _matches(pattern, layer, "quant.skip")), None)


def _matches(pattern: str, layer: str, key: str) -> bool:
    """Whether a pattern is found in a layer's name, or in that of a layer or model that holds it."""
    parts = layer.split("/")
    try:
        return any(re.search(pattern, "/".join(parts[:end])) for end in range(1, len(parts) + 1))
    except re.error as error:
        raise ConfigError(
            f"{key}: {pattern!r} is no regular expression ({error}); write a Python regular expression over layer names"
        ) from error
