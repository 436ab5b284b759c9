"""How the layers that are kept whole are read: one small function a layer, found by the `call` that it runs.

Looking up `type(layer).call` takes subclasses that only add a constructor, and leaves those that change the arithmetic
to be traced like any other code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from qat.errors import ModelError
from qat.models.keras_types import KerasLayer
from qat.quantization.importing import lookup_layers, recurrent_layers
from qat.quantization.importing.keras_version import KerasVersion
from qat.quantization.importing.tracer import Reader, Tracer, argument, is_variable_or_constant


def _dense(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = argument(args, kwargs)
    if x.shape.rank is None or not x.dtype.is_floating or getattr(layer, "lora_enabled", False):
        return original(layer, *args, **kwargs)
    shape = [*x.shape[:-1], layer.units]
    y = tracer.keep("dense", [x], shape, {"kernel": layer.kernel, "bias": layer.bias})
    return y if layer.activation is None else layer.activation(y)


def _batch_norm(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = argument(args, kwargs)
    if getattr(layer, "virtual_batch_size", None):
        raise ModelError(
            f"layer {layer.name!r}: BatchNormalization with virtual_batch_size={layer.virtual_batch_size} is not read: "
            "build the model without it, and give it the weights of this one (virtual batches act in training alone)"
        )
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) and len(layer.axis) == 1 else layer.axis
    has_mask = kwargs.get("mask") is not None or bool(tracer.current.masks)
    masked = has_mask and tracer.in_training_mode and not getattr(layer, "fused", False)
    if not isinstance(axis, int) or (masked and tracer.training):
        return original(layer, *args, **kwargs)
    keep = partial(_kept_batch_norm, masked=masked)
    if axis not in (-1, x.shape.rank - 1):
        return _with_channels_last(keep, tracer, layer, x, axis)
    return keep(tracer, layer, x)


def _with_channels_last(keep: Callable, tracer: Tracer, layer: KerasLayer, x: tf.Tensor, axis: int) -> tf.Tensor:
    """The channels stand elsewhere: bring them to the end and back."""
    order = [a for a in range(x.shape.rank) if a != axis % x.shape.rank] + [axis % x.shape.rank]
    y = keep(tracer, layer, tf.transpose(x, order))
    return tf.transpose(y, [order.index(a) for a in range(x.shape.rank)])


def _kept_batch_norm(tracer: Tracer, layer: KerasLayer, x: tf.Tensor, masked: bool) -> tf.Tensor:
    """`masked`: in training, it normalizes by what a mask keeps, which its ops say."""
    weights = {
        "gamma": layer.gamma,
        "beta": layer.beta,
        "mean": layer.moving_mean,
        "variance": layer.moving_variance,
    }
    return tracer.keep(
        "batch_norm",
        [x],
        x.shape,
        weights,
        epsilon=float(layer.epsilon),
        momentum=float(layer.momentum),
        acts=tracer.in_training_mode and not masked,
        fused=bool(getattr(layer, "fused", False)),
        masked=masked,
        call=tracer.current.start,
    )


def _layer_norm(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = argument(args, kwargs)
    axes = sorted(axis % x.shape.rank for axis in layer.axis)
    last = axes == list(range(x.shape.rank - len(axes), x.shape.rank))
    fused = getattr(layer, "_fused", None)  # Keras 2 only: an op that cannot be computed, else tf.nn.moments
    if not last or getattr(layer, "rms_scaling", False) or (is_variable_or_constant(x) and not fused):
        return original(layer, *args, **kwargs)
    weights, stopped = {"gamma": layer.gamma, "beta": layer.beta}, fused is False
    return tracer.keep("layer_norm", [x], x.shape, weights, axes=axes, epsilon=float(layer.epsilon), stopped=stopped)


def _group_norm(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = argument(args, kwargs)
    if layer.axis not in (-1, x.shape.rank - 1):
        return _with_channels_last(_kept_group_norm, tracer, layer, x, layer.axis)
    return _kept_group_norm(tracer, layer, x)


def _kept_group_norm(tracer: Tracer, layer: KerasLayer, x: tf.Tensor) -> tf.Tensor:
    weights = {"gamma": layer.gamma, "beta": layer.beta}
    groups = int(x.shape[-1]) if layer.groups == -1 else int(layer.groups)
    return tracer.keep("group_norm", [x], x.shape, weights, groups=groups, epsilon=float(layer.epsilon))


def _einsum_dense(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = argument(args, kwargs)
    split = _contraction(layer.equation)
    if split is None or getattr(layer, "lora_enabled", False):
        return original(layer, *args, **kwargs)
    contracted, free = split
    rank = x.shape.rank
    shape = [*x.shape[: rank - contracted], *layer.kernel.shape[contracted:]]
    if layer.bias is not None and tuple(layer.bias.shape) != tuple(layer.kernel.shape[contracted:]):
        bias_sizes = tuple(layer.bias.shape)
        if bias_sizes != tuple(shape[len(shape) - len(bias_sizes) :]) or len(bias_sizes) > free:
            return original(layer, *args, **kwargs)
    y = tracer.keep("einsum_dense", [x], shape, {"kernel": layer.kernel, "bias": layer.bias}, contracted=contracted)
    return y if layer.activation is None else layer.activation(y)


def _contraction(equation: str) -> tuple[int, int] | None:
    """How many trailing axes of x meet the leading axes of the kernel, and how many new ones come out.

    >>> _contraction("abc,cde->abde"), _contraction("abcd,cde->abe"), _contraction("abc,bd->adc")
    ((1, 2), (2, 1), None)
    """
    left, output = equation.replace(" ", "").replace("...", "~").split("->")
    x, kernel = left.split(",")
    contracted = [label for label in kernel if label in x]
    free = [label for label in kernel if label not in x]
    count = len(contracted)
    kept = x[: len(x) - count]
    matches = (
        x.endswith("".join(contracted)) and kernel == "".join(contracted + free) and output == kept + "".join(free)
    )
    return (count, len(free)) if matches and count else None


def _spectral_normalization(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    """The kernel is divided by its largest singular value, which power iteration finds, before each training step
    (Miyato et al. 2018); what runs then is the layer inside."""
    if tracer.in_training_mode:
        iterations = int(layer.power_iterations)
        tracer.updates.append({"kernel": layer.kernel, "vector": layer.vector_u, "iterations": iterations})
    return layer.layer(argument(args, kwargs))


def readers(version: KerasVersion) -> dict[Any, Reader]:
    """The table `call function -> reader`, for the layers of one Keras."""
    layers = version.layers
    table: dict[Any, Reader] = {
        layers.Dense.call: _dense,
        layers.EinsumDense.call: _einsum_dense,
        layers.BatchNormalization.call: _batch_norm,
        layers.LayerNormalization.call: _layer_norm,
        layers.GroupNormalization.call: _group_norm,
        layers.SpectralNormalization.call: _spectral_normalization,
    }
    for module in (recurrent_layers, lookup_layers):
        table |= module.readers(layers)
    return table | version.own_readers()
