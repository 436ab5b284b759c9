"""A Keras model read as the TensorFlow ops that it computes at inference, with a few layers kept whole.

Every model is read the same way, whatever it is made of: nested models, shared layers, `Lambda`, TFOpLambda, custom
and subclassed layers all become ops. Kept whole are the layers whose meaning is lost in ops (BatchNormalization, which
must stay trainable) or whose ops say it badly (Dense on three axes, normalizations); recurrent layers are unrolled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import func_graph as func_graph_lib
from tensorflow.python.util.nest import flatten_with_joined_string_paths

from qat.errors import ModelError, QatError
from qat.models.keras_patches import PATCHING
from qat.models.keras_types import KerasModel, TensorNest
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.layer_calls import Key, Trace
from qat.quantization.importing.metric_calls import updates_read
from qat.quantization.importing.model_inputs import nest_inputs, specs_of
from qat.quantization.importing.tracer import Reader, Tracer


@contextlib.contextmanager
def _functions_inline() -> Iterator[None]:
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextlib.contextmanager
def _symbolically(model: KerasModel) -> Iterator[None]:
    """Code of the model that wants numbers where tensors are only described fails in many ways; here, in one."""
    try:
        yield
    except QatError:
        raise
    except (
        AttributeError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        TypeError,
        ValueError,
        tf.errors.OpError,
    ) as error:
        raise ModelError(
            f"model {model.name!r} cannot be run on tensors without values, as a file's graph is made: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:400]}. Code in its layers must be TensorFlow ops "
            "that work with an open batch size"
        ) from error


def _refuse_no_tensors(model: KerasModel, outputs: TensorNest) -> None:
    """Outputs that are None, or texts: Keras' own classes let them pass."""
    named = flatten_with_joined_string_paths(outputs)
    found = {path: each for path, each in named if each is None or isinstance(each, (str, bytes))}
    if found:
        rest = [repr(path) for path, each in named if path not in found]
        missing = [f"output {path!r}" if path else "its output" for path in found]
        kinds = {"None" if each is None else "a text" for each in found.values()}
        raise ModelError(
            f"model {model.name!r}: {' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} "
            f"{' or '.join(sorted(kinds))}, and an output of a file is a tensor. Let call return tensors alone"
            + (f", {' and '.join(rest)}, and quantize that model" if rest else "")
        )


def _mask_of(output: tf.Tensor) -> tf.Tensor | None:
    """The mask that Keras has put on an output, as a tensor of the graph."""
    mask = getattr(output, "_keras_mask", None)
    return None if mask is None else tf.identity(mask)


def trace(
    model: KerasModel,
    readers: dict[Any, Reader],
    *,
    training: bool = False,
    training_modes: dict[Key, bool] | None = None,
    regions: dict[Key, Any] | None = None,
    written_out: frozenset[Key] = frozenset(),
) -> Trace:
    """Trace `model` with the batch size open.

    Args:
        model: the Keras model; it stays as it is.
        readers: function that reads a layer that is kept whole, by the `call` function of the layer's class.
        training: whether to trace in training mode, else at inference.
        training_modes: whether a layer call is in training mode while the model trains, by the call's key; None where
            only this trace can tell.
        regions: what training computes in another way, by the call's key, as `Tracer` takes it; None for nothing.
        written_out: keys of the layer calls that no reader reads, as `Tracer` takes them.

    Returns:
        The trace: a graph with a placeholder [None, ...] per input, and what it computes. Outputs are a flat list,
        their structure is the trace's `nest`.

    Raises:
        ModelError: the model's input sizes are not known, or it cannot be run symbolically.
    """
    specs, names = specs_of(model)
    graph = func_graph_lib.FuncGraph("canonical")
    graph.seed = None  # random ops are read with the seeds of their own alone
    with PATCHING, graph.as_default(), _functions_inline():
        inputs = [tf.compat.v1.placeholder(s.dtype, s.shape, name=f"input_{i}") for i, s in enumerate(specs)]
        tracer = Tracer(graph, training, training_modes, regions, written_out)
        tracer._seen = len(graph.get_operations())
        with version_of(model).reading(tracer, readers), updates_read(tracer, model), _symbolically(model):
            outputs = model(nest_inputs(model, inputs), training=training)
        _refuse_no_tensors(model, outputs)
        given = tf.nest.flatten(outputs)
        flat, masks = [tf.identity(each) for each in given], [_mask_of(each) for each in given]
    graph.variables = graph._watched_variables  # also those that the model does not list
    nest = tf.nest.pack_sequence_as(outputs, list(range(len(flat))))
    traced = {
        name: getattr(tracer, name) for name in ("whole", "layer_of", "step_of", "added", "updates", "forced", "drawn")
    }
    return Trace(graph, inputs, flat, names, nest, masks, **traced, call=tracer.root)
