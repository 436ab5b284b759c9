"""What is asked of TensorFlow's converter, and that a batch of calibration it leaves out is noticed."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from qat.export import schemes
from qat.export.tf_conversion import why_batch_is_fixed
from qat.export.tf_converter import Converter


@pytest.fixture
def converter():
    return SimpleNamespace(target_spec=SimpleNamespace())


def test_batches_that_the_converter_takes_are_counted():
    batches = schemes.CountedBatches([[np.zeros((2, 3))], [np.ones((2, 3))]])
    taken = iter(batches())
    next(taken)
    assert not batches.all_taken
    assert next(taken)[0].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert batches.all_taken


def test_each_scheme_asks_for_its_own_kind_of_file(converter):
    batches = schemes.CountedBatches([])
    schemes.int8(converter, batches, "uint8", allow_float=False)
    assert converter.target_spec.supported_ops == [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    assert converter.inference_input_type == converter.inference_output_type == tf.uint8
    schemes.int16x8(converter, batches, "int8", allow_float=True)
    assert converter.inference_input_type == tf.int16
    assert len(converter.target_spec.supported_ops) == 2
    schemes.float16(converter)
    assert converter.target_spec.supported_types == [tf.float16]
    schemes.float32(converter)
    assert converter.optimizations == []


def test_the_frozen_graph_takes_the_weights_as_they_are_now():
    """Our converter freezes once; TensorFlow's own freezes each time."""
    module = tf.Module()
    module.weight = tf.Variable([[1.0, 2.0]])
    module.call = tf.function(lambda x: x @ module.weight, input_signature=[tf.TensorSpec([1, 1])])
    function = module.call.get_concrete_function()
    for value in (1.0, 3.0):
        module.weight.assign([[value, 2.0]])
        content = Converter.from_concrete_functions([function], module).convert()
        interpreter = tf.lite.Interpreter(model_content=content)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, 1), np.float32))
        interpreter.invoke()
        assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist() == [[value, 2.0]]


def test_a_batch_that_can_stay_open_is_told_from_one_that_cannot(files):
    assert why_batch_is_fixed(files.int8) is None
    x = tf.TensorSpec([None, 4])
    function = tf.function(lambda x: tf.reshape(x, [1, 4]), input_signature=[x]).get_concrete_function()
    fixed = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
    assert "num_input_elements" in why_batch_is_fixed(fixed)
