"""How the layers that are kept whole are read: one small function a layer, found by the `call` that it runs.

Looking up `type(layer).call` takes subclasses that only add a constructor, and leaves those that change the arithmetic
to be traced like any other code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src.layers.rnn.dropout_rnn_cell_mixin import DropoutRNNCellMixin

from qat.errors import ModelError
from qat.quantization.importing import lookup_layers
from qat.quantization.importing.trace import Reader, Tracer
from qat.quantization.importing.unrolling import LongLoop, written_out


def _argument(args: tuple, kwargs: dict) -> Any:
    return args[0] if args else kwargs["inputs"]


def _dense(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = _argument(args, kwargs)
    if x.shape.rank is None or not x.dtype.is_floating:
        return original(layer, *args, **kwargs)
    shape = [*x.shape[:-1], layer.units]
    y = tracer.keep("dense", [x], shape, {"kernel": layer.kernel, "bias": layer.bias})
    return y if layer.activation is None else layer.activation(y)


def _batch_norm(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = _argument(args, kwargs)
    if layer.virtual_batch_size:
        raise ModelError(
            f"layer {layer.name!r}: BatchNormalization with virtual_batch_size={layer.virtual_batch_size} is not read: "
            "build the model without it, and give it the weights of this one (virtual batches act in training alone)"
        )
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) and len(layer.axis) == 1 else layer.axis
    if not isinstance(axis, int):
        return original(layer, *args, **kwargs)
    if axis not in (-1, x.shape.rank - 1):
        return _with_channels_last(_kept_batch_norm, tracer, layer, x, axis)
    return _kept_batch_norm(tracer, layer, x)


def _with_channels_last(keep: Callable, tracer: Tracer, layer: Any, x: tf.Tensor, axis: int) -> tf.Tensor:
    """The channels stand elsewhere: bring them to the end and back."""
    order = [a for a in range(x.shape.rank) if a != axis % x.shape.rank] + [axis % x.shape.rank]
    y = keep(tracer, layer, tf.transpose(x, order))
    return tf.transpose(y, [order.index(a) for a in range(x.shape.rank)])


def _kept_batch_norm(tracer: Tracer, layer: Any, x: tf.Tensor) -> tf.Tensor:
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
        acts=tracer.acts,
        fused=bool(layer.fused),
    )


def _layer_norm(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = _argument(args, kwargs)
    axes = sorted(axis % x.shape.rank for axis in layer.axis)
    if axes != list(range(x.shape.rank - len(axes), x.shape.rank)):
        return original(layer, *args, **kwargs)
    weights = {"gamma": layer.gamma, "beta": layer.beta}
    return tracer.keep("layer_norm", [x], x.shape, weights, axes=axes, epsilon=float(layer.epsilon))


def _group_norm(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = _argument(args, kwargs)
    if layer.axis not in (-1, x.shape.rank - 1):
        return _with_channels_last(_kept_group_norm, tracer, layer, x, layer.axis)
    return _kept_group_norm(tracer, layer, x)


def _kept_group_norm(tracer: Tracer, layer: Any, x: tf.Tensor) -> tf.Tensor:
    weights = {"gamma": layer.gamma, "beta": layer.beta}
    groups = int(x.shape[-1]) if layer.groups == -1 else int(layer.groups)
    return tracer.keep("group_norm", [x], x.shape, weights, groups=groups, epsilon=float(layer.epsilon))


def _einsum_dense(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = _argument(args, kwargs)
    split = _contraction(layer.equation)
    if split is None:
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


def _recurrent(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = _argument(args, kwargs)
    if layer.stateful:
        return _kept_apart(tracer, layer, x, "tf:recurrent state")
    if _has_kernel(
        layer, x, (*args[1:], *(value for name, value in kwargs.items() if name not in ("inputs", "training")))
    ):
        return _lstm(tracer, layer, x)
    try:
        with (
            written_out(layer, tracer.budget, outermost=not tracer.unrolling),
            _dropout_masks(tracer),
            tracer.writing_out_steps(),
        ):
            return original(layer, *args, **kwargs)
    except LongLoop as loop:
        return _kept_apart(tracer, layer, x, "tf:recurrence", advice=loop.told(type(layer).__name__))


def _kept_apart(tracer: Tracer, layer: Any, x: Any, op: str, **attrs: Any) -> Any:
    """What the pre-flight refuses, in place of a recurrent layer: one op for each tensor that it gives."""
    first = tf.nest.flatten(x)[0]
    made = tf.nest.flatten(layer.compute_output_shape(first.shape))  # of shapes, which `nest` does not enter
    place = tracer.current.key[0]  # two layers that do the same to one input are one op
    kept = [tracer.keep(op, [first], [None, *shape[1:]], place=place, **attrs) for shape in made]
    return kept if len(kept) > 1 else kept[0]


@contextlib.contextmanager
def _dropout_masks(tracer: Tracer) -> Iterator[None]:
    """Inside, recurrent cells that drop while the model trains multiply by marks, which the importer knows again."""
    mixin, acts, call = DropoutRNNCellMixin, tracer.acts, tracer.current.key
    names = {"get_dropout_mask_for_cell": "dropout", "get_recurrent_dropout_mask_for_cell": "recurrent_dropout"}
    held = {name: getattr(mixin, name) for name in names}

    def marked(name: str) -> Callable:
        def masks(cell: Any, inputs: tf.Tensor, training: Any, count: int = 1) -> Any:
            rate = getattr(cell, names[name])
            if not rate:
                return None
            key = (id(cell), name, call)
            if key not in tracer.masks:
                shared = {"rate": float(rate), "seed": getattr(cell, "seed", None), "kind": names[name]}
                shared |= {"owner": f"{call[0]}#{call[1]}/{cell.name}", "sizes": inputs.shape[1:].as_list()}
                # As many rows as the layer's input has: the first state may be a constant of one row
                rows = tracer.current.arguments[0]
                shared["batch_axis"] = int(getattr(tracer.current.layer, "time_major", False))
                tracer.masks[key] = [
                    tracer.keep("dropout_mask", [rows], inputs.shape, index=index, **shared) for index in range(count)
                ]
            made = tracer.masks[key]
            return made if count > 1 else made[0]

        return masks if acts else held[name]

    try:
        for name in names:
            setattr(mixin, name, marked(name))
        yield
    finally:
        for name, function in held.items():
            setattr(mixin, name, function)


def _has_kernel(layer: Any, x: Any, others: tuple) -> bool:
    """Whether the layer is what UNIDIRECTIONAL_SEQUENCE_LSTM computes: an LSTM as Keras makes it by default, which
    starts from nothing and hands over no cell. `others` are the call's other arguments."""
    cell, activations = getattr(layer, "cell", None), tf_keras.activations
    if type(cell).__dict__.get("call", getattr(type(cell), "call", None)) is not tf_keras.layers.LSTMCell.call:
        return False
    if cell.activation is not activations.tanh or cell.recurrent_activation is not activations.sigmoid:
        return False
    if layer.return_state or layer.time_major or any(value is not None for value in others):
        return False
    if not tf.is_tensor(x) or getattr(x, "_keras_mask", None) is not None:
        return False
    return x.shape.rank == 3 and None not in x.shape[1:]


def _lstm(tracer: Tracer, layer: Any, x: tf.Tensor) -> tf.Tensor:
    cell = layer.cell
    weights = {"kernel": cell.kernel, "recurrent": cell.recurrent_kernel, "bias": cell.bias}
    x = tf.reverse(x, [1]) if layer.go_backwards else x
    dropped: dict[str, Any] = {}
    if tracer.acts and (cell.dropout or cell.recurrent_dropout):
        dropped = {
            "dropout": float(cell.dropout),
            "recurrent_dropout": float(cell.recurrent_dropout),
            "per_gate": cell.implementation == 1,
            "per_step": bool(getattr(layer, "_could_use_gpu_kernel", False)),
            "seed": getattr(cell, "seed", None),
        }
    y = tracer.keep("lstm", [x], [*x.shape[:2], cell.units], weights, units=int(cell.units), **dropped)
    return y if layer.return_sequences else y[:, -1]


def _in_training(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    """A layer that is an identity at inference: kept for training, where it acts there."""
    x = _argument(args, kwargs)
    return _kept_for_training(tracer, layer, x, x) if tracer.acts and _does_anything(layer) else x


def _does_anything(layer: Any) -> bool:
    return bool(getattr(layer, "rate", 1.0)) and bool(getattr(layer, "stddev", 1.0))


def _kept_for_training(tracer: Tracer, layer: Any, inferred: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """`inferred` at inference; in training what the layer makes of `x`."""
    path = tracer.current.key[0]
    base = next(getattr(tf_keras.layers, n) for n in (*_UNCHANGED, "RandomCrop") if _runs(layer, n))
    told = {"class_name": base.__name__, "config": _plain_config(base, layer, x)}
    inputs = [inferred] if inferred is x else [inferred, x]
    return tracer.keep("in_training", inputs, inferred.shape, layer=told, path=path, call=repr(tracer.current.key))


def _runs(layer: Any, name: str) -> bool:
    base = getattr(tf_keras.layers, name)
    return isinstance(layer, base) and type(layer).call is base.call


def _plain_config(base: Any, layer: Any, x: tf.Tensor) -> dict[str, Any]:
    """The configuration of one of Keras' own layers, as JSON values; of a subclass, what its noise is shaped like."""
    config = {n: value for n, value in base.get_config(layer).items() if n not in ("name", "dtype", "trainable")}
    own = getattr(type(layer), "_get_noise_shape", None)
    if own is not getattr(base, "_get_noise_shape", None):
        shape = own(layer, x)
        sizes = [*shape] if isinstance(shape, (list, tuple)) else tf.unstack(shape)
        config["noise_shape"] = [None if tf.get_static_value(size) is None else int(size) for size in sizes]
    return {name: list(value) if isinstance(value, (tuple, list)) else value for name, value in config.items()}


def _spectral_normalization(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    """The kernel is divided by its largest singular value, which power iteration finds, before each training step
    (Miyato et al. 2018); what runs then is the layer inside."""
    if tracer.acts:
        iterations = int(layer.power_iterations)
        tracer.updates.append({"kernel": layer.kernel, "vector": layer.vector_u, "iterations": iterations})
    return layer.layer(_argument(args, kwargs))


def _center_crop(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = tf.cast(_argument(args, kwargs), layer.compute_dtype)
    height, width = x.shape[-3] - layer.height, x.shape[-2] - layer.width
    if height < 0 or width < 0:
        return _fitted(x, layer.height, layer.width)
    top, left = height // 2, width // 2
    return x[..., top : top + layer.height, left : left + layer.width, :]


def _random_crop(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = tf.cast(_argument(args, kwargs), layer.compute_dtype)
    fitted = _fitted(x, layer.height, layer.width)
    return _kept_for_training(tracer, layer, fitted, x) if tracer.acts else fitted


def _fitted(x: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """The largest central window of the wanted aspect, resized: what these layers do at inference."""
    rows, columns = x.shape[-3], x.shape[-2]
    if (rows, columns) == (height, width):
        return x
    cut_rows, cut_columns = min(rows, int(columns * height / width)), min(columns, int(rows * width / height))
    top, left = int((rows - cut_rows) / 2), int((columns - cut_columns) / 2)
    return tf.image.resize(x[..., top : top + cut_rows, left : left + cut_columns, :], (height, width))


_UNCHANGED = (  # at inference
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomHeight",
    "RandomRotation",
    "RandomTranslation",
    "RandomWidth",
    "RandomZoom",
)


RECURRENT = ("RNN", "LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D")


def readers() -> dict[Any, Reader]:
    """The table `call function -> reader`."""
    layers = tf_keras.layers
    table: dict[Any, Reader] = {
        layers.Dense.call: _dense,
        layers.EinsumDense.call: _einsum_dense,
        layers.BatchNormalization.call: _batch_norm,
        layers.LayerNormalization.call: _layer_norm,
        layers.GroupNormalization.call: _group_norm,
        layers.CenterCrop.call: _center_crop,
        layers.RandomCrop.call: _random_crop,
        layers.SpectralNormalization.call: _spectral_normalization,
    }
    table |= {getattr(layers, name).call: _recurrent for name in RECURRENT}
    table |= {getattr(layers, name).call: _in_training for name in _UNCHANGED}
    return table | lookup_layers.readers()
