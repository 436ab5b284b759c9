"""What the file alone says of its conversion, and of what it was meant to be."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qat.diagnosis import diagnose
from qat.tflite import convert, read
from qat.tflite.editing import apply_edit


def ids(found):
    return [cause.id for cause in found.causes]


def dense(units):
    import tf_keras

    entry = tf_keras.Input((12,))
    hidden = tf_keras.layers.Dense(units, activation="relu")(entry)
    return tf_keras.Model(entry, tf_keras.layers.Dense(3)(hidden))


@pytest.mark.parametrize(("units", "causes"), [(16, []), (128, ["C01"])])
def test_kernels_that_are_too_small_for_dynamic_range_are_rightly_float(units, causes):
    content = convert(dense(units), scheme="float32")
    assert ids(diagnose(content, expect="dynamic_range")) == causes
    assert (diagnose(content, expect="dynamic_range").blame == "none") == (not causes)


@pytest.mark.parametrize("expect", ["float32", "float16"])
@pytest.mark.parametrize("known", ["file", "everything"])
def test_rounded_weights_where_none_were_meant_are_named(files, measured, expect, known):
    given = measured if known == "everything" else {}
    (cause,) = diagnose(files.dynamic_range, **given, expect=expect).causes
    assert (cause.id, cause.certainty) == ("C03", "certain")


@pytest.mark.parametrize("expect", ["float32", "int16x8"])
def test_a_file_of_another_kind_than_was_meant_is_not_sound(files, measured, expect):
    for given in ({}, measured):
        found = diagnose(files.int8, **given, expect=expect)
        assert (found.blame, found.exit_code) == ("undetermined", 3)
        assert f"expect={expect}, and the file is int8" in found.notes[0]


def test_a_file_whose_op_no_runtime_has_is_not_sound():
    import tensorflow as tf

    def edge(x):
        return tf.raw_ops.Betainc(a=x, b=x, x=x)

    concrete = tf.function(edge).get_concrete_function(tf.TensorSpec([1, 4]))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.allow_custom_ops = True
    found = diagnose(converter.convert(), inputs=np.full((8, 4), 0.5, np.float32))
    assert (found.blame, found.exit_code, ids(found)) == ("undetermined", 3, [])
    assert "no kernels for Betainc" in found.notes[0]


def as_uint8(content):
    """The file as TF1 wrote it: uint8 for int8, all codes and zero points 128 higher."""

    def edit(model):
        for tensor in model.subgraphs[0].tensors:
            if tensor.type != schema.TensorType.INT8:
                continue
            tensor.type = schema.TensorType.UINT8
            tensor.quantization.zeroPoint = np.asarray(tensor.quantization.zeroPoint, np.int64) + 128
            buffer = model.buffers[tensor.buffer]
            if buffer.data is not None and len(buffer.data):
                buffer.data = np.asarray(buffer.data, np.uint8) ^ np.uint8(128)

    return apply_edit(content, edit)


@pytest.mark.medium
@pytest.mark.parametrize("known", ["file", "keras", "samples", "everything"])
def test_a_file_in_uint8_with_one_scale_per_tensor_is_sound(network, digits, measured, known):
    content = as_uint8(convert(network, calibration=measured["preprocess"](digits.x[:150]), per_channel=False))
    assert {tensor.dtype for tensor in read(content).tensors} == {"uint8", "int32"}
    names = {"file": (), "keras": ("keras_model",), "samples": ("inputs", "labels"), "everything": tuple(measured)}
    found = diagnose(content, **{name: measured[name] for name in names[known]}, expect="int8")
    assert (found.blame, ids(found)) == ("none", [])


@pytest.mark.parametrize(("tf1", "causes"), [(False, ["C06"]), (True, [])])
def test_small_channels_on_one_scale_are_no_proof_in_a_file_of_tf1(network, digits, measured, tf1, causes):
    content = convert(network, calibration=measured["preprocess"](digits.x[:150]), per_channel=False)
    weight = [op.inputs[1] for op in read(content).ops if op.name == "CONV_2D"][-1]

    def edit(model):
        tensor = model.subgraphs[0].tensors[weight]
        codes = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8).reshape(tensor.shape).copy()
        codes[1:] //= 32
        model.buffers[tensor.buffer].data = codes.reshape(-1).view(np.uint8)

    content = apply_edit(content, edit)
    assert ids(diagnose(as_uint8(content) if tf1 else content)) == causes


def test_a_mean_over_the_samples_of_a_call_is_training_mode():
    import tensorflow as tf

    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32))

    def convert_with(axes):
        def function(x):
            y = tf.nn.conv2d(x, kernel, 1, "SAME")
            mean = tf.reduce_mean(y, axes, keepdims=True)
            variance = tf.reduce_mean(tf.math.squared_difference(y, mean), axes, keepdims=True)
            return (y - mean) * tf.math.rsqrt(variance + 1e-3)

        concrete = tf.function(function).get_concrete_function(tf.TensorSpec([None, 8, 8, 3]))
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()

    assert ids(diagnose(convert_with([0, 1, 2]))) == ["C08"]
    assert ids(diagnose(convert_with([1, 2]))) == []
