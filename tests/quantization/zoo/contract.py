"""What every case must keep beside its function: nesting, names, dtypes, the float model, training, saving."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model
from qat.quantization.importing.model_inputs import input_tensors, nest_inputs
from qat.tflite import convert, verify

from .drawing import draw


def broken_promises(model, seed: int, folder) -> list[str]:
    """One line for each promise that the case breaks; `folder` is a path for the saved model."""
    calibration = draw(model, 32, seed + 1)
    weights, answers = model.get_weights(), _answers(model, calibration)
    quantized = quantize_model(model, calibration)
    found = [*_structure(model, quantized, calibration), *_dtypes(model, quantized)]
    found += _saving(quantized, calibration, folder)
    found += _training(model, quantized, calibration)
    same = all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    if not same or not all(map(np.array_equal, answers, _answers(model, calibration))):
        found.append("the float model changed")
    return found


def _answers(model, inputs) -> list[np.ndarray]:
    outputs = model(nest_inputs(model, [tf.constant(x) for x in inputs]), training=False)
    return [np.asarray(a) for a in tf.nest.flatten(outputs)]


def _structure(model, quantized, inputs):
    expected = model(nest_inputs(model, [tf.constant(x) for x in inputs]), training=False)
    found = quantized(nest_inputs(model, [tf.constant(x) for x in inputs]), training=False)
    try:
        tf.nest.assert_same_structure(expected, found)
    except (TypeError, ValueError) as error:
        yield f"outputs nest differently: {str(error)[:200]}"
    for a, b in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=False):
        if a.shape != b.shape:
            yield f"output shape {b.shape}, expected {a.shape}"
    names = [tensor.name for tensor in input_tensors(model)]
    if [tensor.name for tensor in quantized.inputs] != names:
        yield f"input names {[tensor.name for tensor in quantized.inputs]}, expected {names}"
    wanted = getattr(model, "output_names", None)
    if wanted and len(set(wanted)) == len(quantized.output_names):
        renamed = [f"{name}_output" if name in {t.name for t in quantized.inputs} else name for name in wanted]
        if quantized.output_names != renamed:
            yield f"output names {quantized.output_names}, expected {renamed}"


def _dtypes(model, quantized):
    found = verify(convert(quantized, allow_float=True))
    for tensor, dtype in zip(input_tensors(model), found.input_dtypes, strict=True):
        wanted = "int8" if tensor.dtype.is_floating else tensor.dtype.name
        if dtype != wanted:
            yield f"input {tensor.name} is {dtype} in the file, expected {wanted}"
    for tensor, dtype in zip(tf.nest.flatten(quantized.outputs), found.output_dtypes, strict=True):
        wanted = "int8" if tensor.dtype.is_floating else tensor.dtype.name
        if dtype != wanted:
            yield f"output {tensor.name} is {dtype} in the file, expected {wanted}"


def _saving(quantized, inputs, folder):
    path = folder / "model.keras"
    quantized.save(path)
    again = tf_keras.models.load_model(path)
    nested = nest_inputs(quantized, inputs)
    expected, found = (tf.nest.flatten(each.predict(nested, verbose=0)) for each in (quantized, again))
    if not all(map(np.array_equal, expected, found)):
        yield "a saved and loaded model predicts something else"


def _training(model, quantized, inputs):
    nested = nest_inputs(quantized, inputs)
    targets = tf.nest.map_structure(np.zeros_like, quantized.predict(nested, verbose=0))
    if not all(np.asarray(each).dtype.kind == "f" for each in tf.nest.flatten(targets)):
        return
    if len(quantized.trainable_variables) == 0 and model.trainable_variables:
        yield "nothing left to train"
    expected = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    held = sum(int(np.prod(v.shape)) for v in quantized.trainable_variables)
    if held > expected:
        yield f"{held} trainable numbers, the float model has {expected}"
    if not quantized.trainable_variables:
        return
    before = [v.numpy() for v in quantized.trainable_variables]
    quantized.compile(tf_keras.optimizers.SGD(0.01), "mse")
    loss = quantized.fit(nested, targets, batch_size=16, epochs=1, verbose=0).history["loss"][-1]
    if not np.isfinite(loss):
        yield f"the loss is {loss}"
    still = [v.name for v, b in zip(quantized.trainable_variables, before, strict=True) if np.array_equal(b, v.numpy())]
    if len(still) == len(before):
        yield "no weight moved in a step of training"
