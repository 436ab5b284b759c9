"""What stands in a written file besides what it computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as Runtime
from tf_keras import layers

from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read

SERIES = np.random.default_rng(0).normal(0, 1, (128, 6, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def content():
    """Matrices that are moved to the batch axis and back, a constant that two ops share, a new axis, a product."""
    tf_keras.utils.set_random_seed(4)
    series = tf_keras.Input((6, 4), name="series")
    x = layers.TimeDistributed(layers.Dense(5, activation="relu"))(series)
    x = x[:, :, None, :] * 0.5
    y = layers.Reshape((6, 5))(x) * 0.5
    scores = layers.Softmax()(layers.Dot((2, 2))([y, y]))
    model = tf_keras.Model(series, layers.Flatten()(layers.Dot((2, 1))([scores, y])))
    return convert(quantize_model(model, SERIES))


def test_constants_are_aligned_read_and_there_once(content):
    unpacked, packed = schema.ModelT.InitFromPackedBuf(content, 0), schema.Model.GetRootAs(content, 0)
    graph = unpacked.subgraphs[0]
    read_by_ops = {int(index) for op in graph.operators for index in (*op.inputs, *op.outputs)}
    assert read_by_ops == set(range(len(graph.tensors)))
    held = [bytes(buffer.data) for buffer in unpacked.buffers if buffer.data is not None]
    assert len(held) == len(set(held)) > 3
    used = {tensor.buffer for tensor in graph.tensors} | {0}
    assert used == set(range(len(unpacked.buffers)))
    for at in range(packed.BuffersLength()):
        buffer = packed.Buffers(at)
        if buffer.DataLength():
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            assert start % 16 == 0


def test_the_shapes_in_the_file_are_those_of_one_sample(content):
    written = [tensor.shape for tensor in read(content).tensors]
    runtime = Runtime(model_content=content, experimental_preserve_all_tensors=True)
    runtime.allocate_tensors()
    known = {detail["index"]: tuple(detail["shape"]) for detail in runtime.get_tensor_details()}
    assert [known[at] for at in range(len(written))] == written


def test_operators_have_the_version_that_int8_needs_and_no_later_one(content):
    versions = {op.name: op.version for op in read(content).ops}
    assert versions["SOFTMAX"] == versions["BATCH_MATMUL"] == versions["MUL"] == 2
    assert versions["RESHAPE"] == 1
    assert versions["FULLY_CONNECTED"] <= 5
    assert "TRANSPOSE" not in versions  # it is the product's own


@pytest.mark.parametrize("library", [tf_keras, keras], ids=["Keras 2", "Keras 3"])
@pytest.mark.parametrize(("nest", "names"), [
    (lambda a, b: {"z": a, "w": [a, b]}, ("w_0", "w_1", "z")),
    (lambda a, b: {"z": [a], "w": {"q": b, "p": a}}, ("w_p", "w_q", "z")),
])  # fmt: skip
def test_several_outputs_under_one_key_are_named_by_their_places(library, nest, names):
    entry = library.Input((5,), name="_in")
    model = library.Model(entry, nest(library.layers.Dense(2)(entry), library.layers.Dense(3)(entry)))
    rows = np.random.default_rng(0).normal(size=(128, 5)).astype(np.float32)
    quantized = quantize_model(model, rows)
    found = Interpreter(convert(quantized)).predict(rows)
    assert tuple(sorted(found)) == names
    expected = tf.nest.flatten(quantized.predict(rows, verbose=0))
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


def test_no_two_tensors_have_one_name():
    entry = tf_keras.Input((8, 8, 3))
    twice = layers.Conv2D(3, 3, padding="same", activation="relu")
    x = twice(layers.Conv2DTranspose(3, 3, strides=1, padding="same")(twice(entry)))
    rows = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)
    file = read(convert(quantize_model(tf_keras.Model(entry, [x, x]), rows), io="uint8"))
    names = [tensor.name for tensor in file.subgraphs[0].tensors]
    assert len(names) == len(set(names))


def test_an_input_that_is_an_output_may_have_any_name():
    entry = tf_keras.Input((5,), name="_in")
    rows = np.random.default_rng(0).normal(size=(128, 5)).astype(np.float32)
    quantized = quantize_model(tf_keras.Model(entry, [layers.Dense(2)(entry), entry]), rows)
    assert len(Interpreter(convert(quantized)).predict(rows)) == 2
