"""Layers of Keras 2 that do nothing at inference, or something else: what they do in training is kept, in no file.

Keras 3 draws from seed generators, which are variables of the model: there the ops are compared in both modes instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qat.models.keras_types import KerasLayer
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.tracer import Tracer, argument

UNCHANGED = (  # at inference
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
)
AUGMENTING = (  # unchanged, too
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomHeight",
    "RandomRotation",
    "RandomTranslation",
    "RandomWidth",
    "RandomZoom",
)


def in_training(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    """Read a layer that is an identity at inference: it is kept for training, where it acts there.

    Args:
        tracer: the tracer of the model that is being traced.
        layer: a layer whose class is in `UNCHANGED`, such as Dropout.
        original: the layer's call, which is not run.
        args: positional arguments of the call, the layer's input first.
        kwargs: keyword arguments of the call.

    Returns:
        The layer's input, or a placeholder of its shape and dtype for an `in_training` op. The input itself comes back
        where the layer is called for inference while the model trains, or has a rate or a deviation of 0.
    """
    x = argument(args, kwargs)
    return kept_for_training(tracer, layer, x, x) if tracer.in_training_mode and _does_anything(layer) else x


def _does_anything(layer: KerasLayer) -> bool:
    return bool(getattr(layer, "rate", 1.0)) and bool(getattr(layer, "stddev", 1.0))


def kept_for_training(tracer: Tracer, layer: KerasLayer, inferred: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Place an `in_training` op, which is one tensor at inference, and in training what the layer makes of another.

    Args:
        tracer: the tracer of the model that is being traced; the op is kept in it.
        layer: a layer of Keras' own that drops, adds noise or augments, or a subclass with the same call.
        inferred: what the layer gives at inference, of any shape.
        x: what the layer is called on, of any shape; `inferred` itself where inference changes nothing.

    Returns:
        A placeholder of the shape and dtype of `inferred`.

    Raises:
        StopIteration: the layer runs the call of none of those layers.
    """
    path = tracer.current.key[0]
    base = next(each for each in _bases(version_of(layer).layers) if _runs(layer, each))
    config = {"class_name": base.__name__, "config": _plain_config(base, layer, x)}
    inputs = [inferred] if inferred is x else [inferred, x]
    return tracer.keep("in_training", inputs, inferred.shape, layer=config, path=path, call=repr(tracer.current.key))


def _bases(layers: Any) -> list[Any]:
    return [getattr(layers, name) for name in (*UNCHANGED, *AUGMENTING, "RandomCrop") if hasattr(layers, name)]


def _runs(layer: KerasLayer, base: type[KerasLayer]) -> bool:
    return isinstance(layer, base) and type(layer).call is base.call


def _plain_config(base: type[KerasLayer], layer: KerasLayer, x: tf.Tensor) -> dict[str, Any]:
    """The configuration of one of Keras' own layers, as JSON values; of a subclass, what its noise is shaped like."""
    config = {n: value for n, value in base.get_config(layer).items() if n not in ("name", "dtype", "trainable")}
    own = getattr(type(layer), "_get_noise_shape", None)
    if own is not getattr(base, "_get_noise_shape", None):
        shape = own(layer, x)
        sizes = [*shape] if isinstance(shape, (list, tuple)) else tf.unstack(shape)
        config["noise_shape"] = [None if tf.get_static_value(size) is None else int(size) for size in sizes]
    return {name: list(value) if isinstance(value, (tuple, list)) else value for name, value in config.items()}
