"""How recurrent layers are read: an LSTM with an integer kernel as one op, all others with their steps written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qat.models.keras_types import KerasLayer, Shape, TensorNest
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.layer_calls import Drawn, Key
from qat.quantization.importing.tracer import Reader, Tracer, argument, is_variable_or_constant
from qat.quantization.importing.unrolling import LongLoop, written_out

RECURRENT = ("RNN", "LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D")


def readers(layers: Any) -> dict[Any, Reader]:
    """The table `call function -> reader`, for those of Keras' own `layers`."""
    return {getattr(layers, name).call: _recurrent for name in RECURRENT}


def _recurrent(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    x = argument(args, kwargs)
    if layer.stateful:
        return _kept_apart(tracer, layer, x, "tf:recurrent state")
    others = (*args[1:], *(kwargs.get(name) for name in ("initial_state", "constants", "mask")))
    if _has_kernel(layer, x, others):
        return _lstm(tracer, layer, x)
    try:
        with (
            written_out(layer, tracer.budget, outermost=not tracer.unrolling),
            version_of(layer).dropping(layer, _marks(tracer) if tracer.in_training_mode else None) as dropout,
            tracer.writing_out_steps(),
        ):
            return original(layer, *args, **kwargs | dropout)
    except LongLoop as loop:
        return _kept_apart(tracer, layer, x, "tf:recurrence", advice=loop.advice(type(layer).__name__))


def _kept_apart(tracer: Tracer, layer: KerasLayer, x: TensorNest, op: str, **attrs: Any) -> Any:
    """What the pre-flight refuses, in place of a recurrent layer: one op for each tensor that it gives."""
    first = tf.nest.flatten(x)[0]
    made = _shapes(layer.compute_output_shape(first.shape))
    place = tracer.current.key[0]  # two layers that do the same to one input are one op
    kept = [tracer.keep(op, [first], [None, *shape[1:]], place=place, **attrs) for shape in made]
    return kept if len(kept) > 1 else kept[0]


def _shapes(made: Shape) -> list[Any]:
    """Shapes of one tensor or several, as a list: TensorShapes in Keras 2, which `nest` does not enter, else tuples."""
    if isinstance(made, tuple) and not any(isinstance(each, (tuple, list, tf.TensorShape)) for each in made):
        return [made]
    return [shape for each in made for shape in _shapes(each)] if isinstance(made, (tuple, list)) else [made]


def _marks(tracer: Tracer) -> Callable:
    """What makes the marks by which recurrent cells that drop multiply while the model trains: the importer knows them
    again."""
    call = tracer.current.key

    def masks(cell: KerasLayer, kind: str, inputs: tf.Tensor, count: int = 1) -> list[tf.Tensor]:
        key = (id(cell), kind, call)
        if key not in tracer.masks:
            shared = {"rate": float(getattr(cell, kind)), "seed": getattr(cell, "seed", None), "kind": kind}
            shared |= {"owner": _owner(call, cell), "sizes": inputs.shape[1:].as_list()}
            # As many rows as the layer's input has: the first state may be a constant of one row
            rows = tracer.current.arguments[0]
            shared["batch_axis"] = int(getattr(tracer.current.layer, "time_major", False))
            tracer.masks[key] = [
                tracer.keep("dropout_mask", [rows], inputs.shape, index=index, **shared) for index in range(count)
            ]
            _draw(tracer, cell, kind, rows, shared["owner"], shared["sizes"], count)
        return tracer.masks[key]

    return masks


def _owner(call: Key, cell: KerasLayer) -> str:
    return f"{call[0]}#{call[1]}/{cell.name}"


def _draw(
    tracer: Tracer, cell: KerasLayer, kind: str, rows: tf.Tensor, owner: str, sizes: list[int], count: int
) -> None:
    """In training, the masks as the cell itself draws them, where its random numbers are a variable of the model."""
    draw = version_of(cell).dropout_of(cell)
    for index in range(count if tracer.training and draw is not None else 0):
        ones = tf.ones([tf.shape(rows)[0], *sizes], rows.dtype)
        tracer.drawn[f"{owner}/{kind}/{index}"] = Drawn(rows, draw(ones, float(getattr(cell, kind))))


def _has_kernel(layer: KerasLayer, x: tf.Tensor | list[tf.Tensor], others: tuple) -> bool:
    """Whether the layer is what UNIDIRECTIONAL_SEQUENCE_LSTM computes: an LSTM as Keras makes it by default, which
    starts from nothing and hands over no cell. `others` are the call's other arguments."""
    version, cell = version_of(layer), getattr(layer, "cell", None)
    activations = version.activations
    if type(cell).__dict__.get("call", getattr(type(cell), "call", None)) is not version.layers.LSTMCell.call:
        return False
    if cell.activation is not activations.tanh or cell.recurrent_activation is not activations.sigmoid:
        return False
    if layer.return_state or getattr(layer, "time_major", False) or any(value is not None for value in others):
        return False
    if not tf.is_tensor(x) or is_variable_or_constant(x) or getattr(x, "_keras_mask", None) is not None:
        return False
    return x.shape.rank == 3 and None not in x.shape[1:]


def _lstm(tracer: Tracer, layer: KerasLayer, x: tf.Tensor) -> tf.Tensor:
    cell = layer.cell
    weights = {"kernel": cell.kernel, "recurrent": cell.recurrent_kernel, "bias": cell.bias}
    x = tf.reverse(x, [1]) if layer.go_backwards else x
    dropped: dict[str, Any] = {}
    if tracer.in_training_mode and (cell.dropout or cell.recurrent_dropout):
        dropped = {
            "dropout": float(cell.dropout),
            "recurrent_dropout": float(cell.recurrent_dropout),
            "per_gate": cell.implementation == 1,
            "per_step": bool(getattr(layer, "_could_use_gpu_kernel", False)),
            "seed": getattr(cell, "seed", None),
            "owner": _owner(tracer.current.key, cell),
        }
        for kind, size in (("dropout", x.shape[2]), ("recurrent_dropout", cell.units)):
            if dropped[kind]:
                _draw(tracer, cell, kind, x, dropped["owner"], [size], 4 if dropped["per_gate"] else 1)
    y = tracer.keep("lstm", [x], [*x.shape[:2], cell.units], weights, units=int(cell.units), **dropped)
    return y if layer.return_sequences else y[:, -1]
