"""Whether the canonical form computes what the float model computes, checked on calibration samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.errors import ModelError
from qat.metrics import sqnr_db
from qat.models.keras_types import KerasModel
from qat.quantization.importing.assignments import unchanged
from qat.quantization.importing.model_inputs import input_tensors, nest_inputs
from qat.quantization.ir.graph import Graph, Tensor
from qat.quantization.ir.interpret import run
from qat.quantization.keras.model import QatModel
from qat.warning import warn

ROWS, ODD_ROWS = 8, 7  # with an odd count, few sizes become others unseen
SUSPECT_DB, REFUSED_DB = 60.0, 30.0  # float32 in another order is above 100 dB as a rule


def refuse_disagreement(float_model: KerasModel, graph: Graph, batch: Sequence[NDArray]) -> list[tf.Tensor]:
    """Raise where the outputs of the canonical form are not those of the float model.

    A model that computes in less than float32 may differ down to 30 dB; other models warn below 60 dB.

    Args:
        float_model: the Keras model; it stays as it is.
        graph: its canonical graph, without ranges.
        batch: one array [n, ...] per input, in `model.inputs` order; the first rows are used.

    Returns:
        The float model's outputs for these rows, in the order of `tf.nest.flatten`.

    Raises:
        ModelError: an output's SQNR is below 30 dB: a layer was read as something that it is not. Where masks hide all
            scores of a row, this is a warning.
    """
    rows = [tf.constant(np.resize(values, (_row_count(float_model, values), *values.shape[1:]))) for values in batch]
    inputs = [tf.cast(values, tensor.dtype) for values, tensor in zip(rows, input_tensors(float_model), strict=True)]
    with unchanged(float_model):
        expected = tf.nest.flatten(float_model(nest_inputs(float_model, inputs), training=False))
    made = run(graph, rows)
    _warn_of_mixed_samples(graph, rows, made)
    for output, actual, expected_values in zip(graph.outputs, made, expected, strict=True):
        expected_values = tf.cast(expected_values, actual.dtype).numpy()
        if not np.isfinite(expected_values).all():
            continue  # calibration names the layer
        agreement = sqnr_db(expected_values, actual.numpy())
        layer = output.node.layer or output.node.name
        message = (
            f"the output of layer {layer!r} of the rewritten model is {agreement:.1f} dB SQNR from the float model's, "
            "on the same calibration samples and before any quantization"
        )
        if agreement < REFUSED_DB and _hides_whole_rows(graph, rows):
            warn(
                f"{message}: some rows attend to nothing (left padding, for instance), and their results differ. Do "
                "not read them; or pad on the right, which leaves no such row",
            )
        elif agreement < REFUSED_DB:
            raise ModelError(
                f"{message}: the two should be equal to rounding. qat has read some layer wrongly, or the model is not "
                "the same function at each call (random numbers at inference) or in each kernel (the order that "
                "top_k leaves unsorted). Please report it, with the model's layers; cut the model at its middle "
                "to find which one"
            )
        elif agreement < SUSPECT_DB and _computes_in_float32(float_model):
            warn(f"{message}; float32 alone keeps 100 dB and more")
    return expected


def _warn_of_mixed_samples(graph: Graph, rows: list[tf.Tensor], made: list[tf.Tensor]) -> None:
    """Warn where what the model gives for a sample depends on the other samples of its batch."""
    batched = all(node.output.shape and node.output.shape[0] is None for node in graph.inputs)
    if not batched or len(rows[0]) == 1 or not any(_are_mixed(graph, rows, made, graph.outputs)):
        return
    tensors = [node.output for node in graph.nodes if node.output.shape and node.output.shape[0] is None]
    mixed = _are_mixed(graph, rows, run(graph, rows, tensors), tensors)
    nodes = [tensor.node for tensor, is_mixed in zip(tensors, mixed, strict=True) if is_mixed]
    node = graph.outputs[0].node if not nodes or len(nodes) == len(tensors) else nodes[0]
    warn(
        f"layer {node.layer or node.name!r} computes across the samples of a batch: what the model gives for one of "
        "them depends on which others it comes with, in the file as here. Evaluate both with the batch of the app",
    )


def _are_mixed(graph: Graph, rows: list[tf.Tensor], made: list[tf.Tensor], tensors: list[Tensor]) -> list[bool]:
    """Whether the first of several samples is another one by itself in each tensor, or cannot be computed so."""
    try:
        return list(map(_is_mixed, made, run(graph, [values[:1] for values in rows], tensors)))
    except tf.errors.InvalidArgumentError:  # as of clips of several frames that lie one after another in the batch
        return [True] * len(tensors)


def _is_mixed(together: tf.Tensor, alone: tf.Tensor) -> bool:
    """Whether the first of several samples is another one by itself."""
    if not together.dtype.is_floating or together.shape[1:] != alone.shape[1:] or len(alone) != 1:
        return False
    of_batch, by_itself = together[:1].numpy(), alone.numpy()
    return np.isfinite(of_batch).all() and sqnr_db(of_batch, by_itself) < SUSPECT_DB


def refuse_other_sizes(model: QatModel, graph: Graph) -> None:
    """Raise where training has tensors of other sizes than inference, and the quantized layers hold those of inference.

    Args:
        model: the quantization-aware model of the graph.
        graph: its graph; `resized` says whether sizes differ.

    Raises:
        ModelError: in training the model gives other shapes than the float model; the layer that resizes is named.
    """
    resized = graph.resized
    if resized is None:
        return
    rows = [tf.TensorSpec((ODD_ROWS, *each.shape[1:]), each.dtype) for each in model.inputs]
    train = tf.function(lambda inputs: tf.nest.flatten(model(inputs, training=True)), autograph=False)
    made, reason = [], None
    try:
        made = train.get_concrete_function(tf.nest.pack_sequence_as(model._nested_inputs, rows)).outputs
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        reason = error
    expected = [tf.TensorShape([ODD_ROWS, *shape[1:]]) for shape in resized.outputs]
    if len(made) == len(expected) and all(map(tf.TensorShape.is_compatible_with, expected, (m.shape for m in made))):
        return
    in_training, at_inference = resized.sizes
    raise ModelError(
        f"layer {resized.layer!r} gives {list(in_training)} in training and {list(at_inference)} at inference, and the "
        "layers after it have the sizes of inference, as the file has: they cannot be trained on others. Crop the "
        "samples before they reach the model, as by dataset.map, and build the model without this layer"
    ) from reason


def _hides_whole_rows(graph: Graph, rows: list[tf.Tensor]) -> bool:
    """Whether a mask hides all scores of a softmax: by how much each is hidden decides then, and no code holds that."""
    kept = [node.inputs[0] for node in graph.nodes_of("masked")]
    return any(not np.all(np.any(each, axis=-1)) for each in run(graph, rows, list(dict.fromkeys(kept))))


def _row_count(model: KerasModel, values: NDArray) -> int:
    fixed = next((tensor.shape[0] for tensor in input_tensors(model) if tensor.shape[0] is not None), None)
    return int(fixed) if fixed is not None else min(ROWS, len(values))


def _computes_in_float32(model: KerasModel) -> bool:
    return all(layer.compute_dtype in (None, "float32") for layer in model._flatten_layers())
