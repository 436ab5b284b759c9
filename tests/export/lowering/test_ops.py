"""One operator of each module of `ops/` in one model: each is in the file, and every code is the model's."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.export.lowering import lower
from qat.export.lowering.lowering import Lowering
from qat.export.lowering.network import read_network
from qat.export.lowering.op_writer import OpWriter
from qat.export.lowering.operators import OPERATORS
from qat.export.lowering.ops import division, elementwise, joining, linear, lstm, moves
from qat.export.lowering.planned_ops import OPERATOR, PlannedOp, Value
from qat.export.lowering.scales import Grid
from qat.export.lowering.weights import channels_last, read_weights
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read

SERIES = np.random.default_rng(0).normal(0, 1, (64, 6, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    tf_keras.utils.set_random_seed(3)
    series = tf_keras.Input((6, 4), name="series")
    x = layers.Dense(4, name="dense")(layers.LSTM(4, return_sequences=True, name="lstm")(series))
    x = layers.Permute((2, 1))(x)
    x = layers.Concatenate(name="joined")([x, tf.tanh(x)])
    x = tf.reduce_sum(x, axis=1, keepdims=True) / tf.abs(x)
    return quantize_model(tf_keras.Model(series, layers.Softmax()(layers.Flatten()(x))), SERIES)


@pytest.mark.medium
def test_each_module_writes_its_operators_and_the_codes_are_the_models(model):
    content = convert(model)
    named = {op.name for op in read(content).ops}
    by_module = {division: "DIV", elementwise: "SOFTMAX", joining: "CONCATENATION", linear: "FULLY_CONNECTED"}
    by_module |= {lstm: "UNIDIRECTIONAL_SEQUENCE_LSTM", moves: "TRANSPOSE"}
    assert {module.__name__: name in named for module, name in by_module.items()} == {
        module.__name__: True for module in by_module
    }
    output = Interpreter(content).outputs[0].quantization.scale[0]
    codes = [
        np.rint(each / output) for each in (Interpreter(content).predict(SERIES), model.predict(SERIES, verbose=0))
    ]
    np.testing.assert_array_equal(*codes)


def test_the_table_of_operators_is_made_of_these_modules():
    assert OPERATORS["div"] is division.div
    assert OPERATORS["transpose"] is moves.transpose
    assert all(callable(function) for function in OPERATORS.values())


def test_lowering_gives_values_names_of_their_own_and_sizes_of_the_batch(model):
    network = read_network(model)
    lowering = Lowering(network, read_weights(network), 3)
    assert [lowering.unique("a") for _ in range(3)] == ["a", "a_1", "a_2"]
    entry = lowering.add_input(network.inputs[0])
    assert (entry.shape, entry.sizes) == ((None, 6, 4), (3, 6, 4))
    assert lower(model, batch_size=3).subgraphs[0].tensors[0].shape == [3, 6, 4]


@pytest.mark.parametrize(("io", "operators"), [("int8", ["ABS"]), ("float32", ["QUANTIZE", "ABS", "DEQUANTIZE"])])
def test_the_writer_puts_conversions_around_codes_where_floats_are_asked_for(io, operators):
    grid = Grid(0.5, 0, -64.0, 63.5)
    x, y = (Value([name], (None, 2), (1, 2), "float32") for name in "xy")
    x.representation.grid = y.representation.grid = grid
    written = OpWriter([PlannedOp(OPERATOR.ABS, [x], [y])], is_open=True, low_bit=False).write_model([x], [y], io)
    graph = written.subgraphs[0]
    names = {code: name for name, code in vars(OPERATOR).items() if isinstance(code, int)}
    assert [names[written.operatorCodes[op.opcodeIndex].builtinCode] for op in graph.operators] == operators
    assert list(graph.tensors[graph.inputs[0]].shapeSignature) == [-1, 2]


@pytest.mark.parametrize(
    ("kind", "shape", "last"),
    [("depthwise_conv2d", (3, 3, 4, 2), 8), ("conv2d_transpose", (3, 3, 5, 4), 5), ("dense", (4, 7), 7)],
)
def test_output_channels_of_a_kernel_stand_last(kind, shape, last):
    assert channels_last(kind, tf.zeros(shape)).shape[-1] == last
