"""Layer by layer, model against file; a file made wrong on purpose departs at the layer that was spoiled."""

import numpy as np
import pytest

from qat.export.layer_parity import first_departure, layer_parity
from qat.quantization import quantize_model
from qat.quantization.keras.arithmetic import fake_quant_arithmetic
from qat.tflite import Interpreter, convert
from qat.tflite.editing import apply_edit
from qat.tflite.reader import read


def with_spoiled_kernel(content, op_name):
    """The file with the sign of one kernel's codes turned."""
    graph = read(content).subgraphs[0]
    index = next(op.inputs[1] for op in graph.ops if op.name == op_name)

    def edit(model):
        buffer = model.buffers[model.subgraphs[0].tensors[index].buffer]
        buffer.data = (-np.asarray(buffer.data, np.uint8).view(np.int8)).view(np.uint8)

    return apply_edit(content, edit)


def test_every_layer_of_an_honest_file_is_its_models(tiny, qat_model, tflite_model, images):
    rows = layer_parity(qat_model, tflite_model, images)
    assert {row.layer for row in rows} <= {layer.name for layer in tiny.layers}
    assert {"stem_relu", "depthwise_relu", "pointwise", "pool", "head"} <= {row.layer for row in rows}
    assert all(row.exact >= 0.999 and row.max_lsb <= 1 and row.sqnr_db > 50 for row in rows), rows
    assert first_departure(rows) is None


def test_the_training_steps_distance_is_that_of_fake_quantization(qat_model, tflite_model, images):
    """The last layer's by hand: the same model called in the arithmetic of a training step, held against the file."""
    rows = layer_parity(qat_model, tflite_model, images)
    output = Interpreter(tflite_model).outputs[0].quantization
    with fake_quant_arithmetic():
        real = qat_model(images, training=False).numpy()
    held = Interpreter(tflite_model).predict(images)
    distance = np.abs(np.round(real / output.scale[0]) - np.round(held / output.scale[0]))
    assert (rows[-1].training_off, rows[-1].training_max_lsb) == (np.mean(distance != 0), distance.max())
    assert all(row.training_off >= 1 - row.exact for row in rows)


def test_the_training_step_parts_from_the_file_where_a_kernel_rounds_otherwise():
    """LEAKY_RELU and ADD round twice: `predict` does so as well, the training step rounds once."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((8,))
    hidden = layers.Dense(32, name="hidden")(entry)
    joined = layers.Add(name="joined")([hidden, layers.LeakyReLU(name="leaky")(hidden)])
    inputs = np.random.default_rng(0).normal(size=(256, 8)).astype(np.float32)
    model = quantize_model(tf_keras.Model(entry, joined), inputs)
    rows = layer_parity(model, convert(model), inputs)
    assert [row.layer for row in rows] == ["hidden", "leaky", "joined"]
    assert all(row.max_lsb == 0 for row in rows)
    assert rows[-1].training_off > 0.001
    assert rows[-1].training_max_lsb >= 1


@pytest.mark.parametrize(("op_name", "layer"), [("DEPTHWISE_CONV_2D", "depthwise_relu"), ("FULLY_CONNECTED", "head")])
def test_the_first_departure_is_the_layer_whose_kernel_was_spoiled(op_name, layer, qat_model, tflite_model, images):
    rows = layer_parity(qat_model, with_spoiled_kernel(tflite_model, op_name), images)
    departed = first_departure(rows)
    assert departed.layer == layer
    assert all(row.exact >= 0.999 for row in rows[: rows.index(departed)])


def test_outputs_that_are_known_by_name_are_compared_as_well():
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((4,))
    hidden = layers.Dense(5, activation="relu", name="hidden")(entry)
    outputs = {"a": layers.Dense(3, name="first")(hidden), "b": layers.Dense(2, name="second")(hidden)}
    rows = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    model = quantize_model(tf_keras.Model(entry, outputs), rows)
    assert [row.layer for row in layer_parity(model, convert(model), rows[:8])] == ["hidden", "first", "second"]
