"""What an accelerator would reject is found, by op and by reason, and a file without such faults is ready."""

import numpy as np
import tf_keras
from tf_keras import layers

from qat.tflite import convert, readiness
from qat.tflite.readiness import EDGE_TPU, FULL_INT8, MICRO

from . import planting


def reasons(content, target):
    return {r.reason for r in readiness(content).rejections if target in r.targets}


def test_an_int8_cnn_of_batch_one_is_ready_everywhere(cnn, calibration):
    found = readiness(convert(cnn, calibration=calibration, batch_size=1))
    assert found.rejections == ()
    assert all(found.ready_for(target) for target in (FULL_INT8, EDGE_TPU, MICRO))


def test_an_open_batch_is_nothing_for_an_edge_tpu_alone(files):
    found = readiness(files.int8)
    assert (found.ready_for(FULL_INT8), found.ready_for(EDGE_TPU), found.ready_for(MICRO)) == (True, False, True)
    assert "Convert with batch_size=1" in found.text()


def test_a_float_file_is_rejected_op_by_op(files):
    found = readiness(files.float32)
    assert not found.ready_for(FULL_INT8)
    assert found.ready_for(MICRO)
    assert "layer 'depthwise'" in found.text()


def test_sixteen_bit_activations_are_named(cnn, calibration):
    content = convert(cnn, scheme="int16x8", calibration=calibration)
    assert "has 16-bit activations" in reasons(content, FULL_INT8)


def test_a_custom_op_is_nothing_for_anybody(files):
    content = planting.with_custom_op(files.int8, "MyOp")
    assert "is no builtin op" in reasons(content, FULL_INT8) & reasons(content, EDGE_TPU) & reasons(content, MICRO)


def test_an_op_without_a_kernel_there_is_named_with_its_layer():
    image = tf_keras.Input((4, 4, 2))
    model = tf_keras.Model(image, layers.Activation("gelu", name="bend")(layers.Conv2D(3, 1)(image)))
    samples = np.random.default_rng(0).normal(size=(100, 4, 4, 2)).astype(np.float32)
    found = readiness(convert(model, calibration=samples, batch_size=1))
    rejected = [r for r in found.rejections if "bend" in r.where]
    assert {target for r in rejected for target in r.targets} == {EDGE_TPU, MICRO}
    assert found.ready_for(FULL_INT8)


def test_a_computed_matrix_product_and_token_ids_are_named():
    tokens = tf_keras.Input((8,), dtype="int32")
    x = layers.Embedding(20, 4)(tokens)
    model = tf_keras.Model(tokens, layers.Dot(axes=(2, 2))([x, x]))
    ids = np.random.default_rng(0).integers(0, 20, (100, 8)).astype(np.int32)
    found = reasons(convert(model, calibration=ids, batch_size=1), EDGE_TPU)
    assert {"computes on 32 or 64-bit integers", "is not among its ops"} <= found
