"""What an accelerator would reject is found, by op and by reason, and a file without such faults is ready."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.tflite import convert, readiness
from qat.tflite.micro_ops import resolver_calls
from qat.tflite.reader import read
from qat.tflite.readiness import COMPILED_OP, EDGE_TPU, FULL_INT8, MICRO

from . import planting


def reasons(content, target):
    return {r.reason for r in readiness(content).rejections if target in r.targets}


def test_an_int8_cnn_of_batch_one_is_ready_everywhere(cnn, calibration):
    result = readiness(convert(cnn, calibration=calibration, batch_size=1))
    assert result.rejections == ()
    assert all(result.ready_for(target) for target in (FULL_INT8, EDGE_TPU, MICRO))


def test_an_open_batch_is_nothing_for_an_edge_tpu_alone(files):
    result = readiness(files.int8)
    assert (result.ready_for(FULL_INT8), result.ready_for(EDGE_TPU), result.ready_for(MICRO)) == (True, False, True)
    assert "Convert with batch_size=1" in result.text()


def test_a_float_file_is_rejected_op_by_op(files):
    result = readiness(files.float32)
    assert not result.ready_for(FULL_INT8)
    assert result.ready_for(MICRO)
    assert "layer 'depthwise'" in result.text()


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
    result = readiness(convert(model, calibration=samples, batch_size=1))
    rejected = [r for r in result.rejections if "bend" in r.where]
    assert {target for r in rejected for target in r.targets} == {EDGE_TPU, MICRO}
    assert result.ready_for(FULL_INT8)


def test_a_computed_matrix_product_and_token_ids_are_named():
    tokens = tf_keras.Input((8,), dtype="int32")
    x = layers.Embedding(20, 4)(tokens)
    model = tf_keras.Model(tokens, layers.Dot(axes=(2, 2))([x, x]))
    ids = np.random.default_rng(0).integers(0, 20, (100, 8)).astype(np.int32)
    result = reasons(convert(model, calibration=ids, batch_size=1), EDGE_TPU)
    assert {"computes on 32 or 64-bit integers", "is not among its ops"} <= result


@pytest.fixture(scope="module")
def wide():
    """Weights of more than 1024 numbers, which the converter leaves in float if there are fewer."""
    series = tf_keras.Input((4, 32))
    x = layers.LSTM(40, return_sequences=True, name="steps")(layers.Conv1D(32, 2, padding="same", name="conv")(series))
    return tf_keras.Model(series, layers.Dense(40, name="end")(layers.Flatten()(x)))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("dynamic_range", "takes no int8 weights with float32 values there"),
        ("float16", "takes no float16 there"),
        ("float32", None),
    ],
)
def test_weights_narrower_than_what_is_computed_have_no_kernel_on_a_microcontroller(scheme, reason, wide):
    content = convert(wide, scheme=scheme, batch_size=1)
    assert reasons(content, MICRO) == ({reason} if reason else set())
    if scheme == "dynamic_range":
        where = {r.where.split(" ")[0] for r in readiness(content).rejections if r.reason == reason}
        assert where == {"CONV_2D", "UNIDIRECTIONAL_SEQUENCE_LSTM", "FULLY_CONNECTED"}


def test_activations_of_uint8_are_nothing_for_a_microcontroller_but_at_the_border(files):
    assert readiness(files.uint8).ready_for(MICRO)
    result = readiness(planting.with_uint8_activations(files.int8))
    assert {"takes no uint8 there"} == {r.reason for r in result.rejections if MICRO in r.targets}
    assert "Convert the model anew" in result.text()


def from_function(function, *specs):
    traced = tf.function(function, input_signature=specs).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()


def test_sizes_that_are_computed_are_nothing_for_a_microcontroller():
    def filled(x):
        return tf.concat([x, tf.fill([tf.shape(x)[0], 2], 1.0)], 1)

    result = reasons(from_function(filled, tf.TensorSpec((None, 3))), MICRO)
    assert any("takes sizes that are constants, and input 0" in reason for reason in result)
    assert readiness(from_function(lambda x: tf.concat([x, tf.ones((1, 2))], 1), tf.TensorSpec((1, 3)))).ready_for(
        MICRO
    )


def test_more_axes_than_a_kernel_takes_are_named():
    content = from_function(lambda x: x[:, 1:3], tf.TensorSpec((1, 4, 2, 2, 2)))
    assert any("takes at most" in reason and "has 5" in reason for reason in reasons(content, MICRO))


def test_a_compiled_file_is_ready_for_the_edge_tpu_and_for_nothing_else(cnn, calibration):
    content = planting.with_custom_op(convert(cnn, calibration=calibration, io="uint8"), COMPILED_OP)
    result = readiness(content)
    assert [result.ready_for(target) for target in (EDGE_TPU, FULL_INT8, MICRO)] == [True, False, False]
    assert "Edge TPU: ready, compiled for it already" in result.text()
    assert "Take the file from before the Edge TPU compiler" in result.text()


def test_the_boxes_of_a_detector_have_a_kernel_on_a_microcontroller(files):
    content = planting.with_custom_op(files.float32, "TFLite_Detection_PostProcess")
    assert readiness(content).ready_for(MICRO)
    assert not readiness(content).ready_for(FULL_INT8)
    known, missing = resolver_calls(read(content).ops)
    assert "AddDetectionPostprocess" in known
    assert missing == []
