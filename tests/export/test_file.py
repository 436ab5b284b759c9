"""What stands in a written file besides what it computes."""

import numpy as np
import pytest
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as Runtime
from tf_keras import layers

from qat.quantization import quantize_model
from qat.tflite import convert, read

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
