"""The verifier: each fault that makes a file less than integer-only is planted and found by name."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import TfliteFileError
from qat.tflite import convert, read, verify

from . import planting


def converted(model, **settings):
    """The stock converter with settings a user might have written."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        target = converter.target_spec if name.startswith("supported") else converter
        setattr(target, name, value)
    return converter.convert()


@pytest.mark.medium
def test_an_int8_file_is_integer_only_whichever_way_it_was_made(files, qat_model):
    for content in (files.int8, files.uint8, convert(qat_model)):
        verification = verify(content)
        assert (verification.integer_only, verification.body_integer_only) == (True, True)
        assert (
            verification.float_ops
            == verification.float_islands
            == verification.inner_conversions
            == verification.unknown_ops
            == ()
        )


def test_counts_and_sizes_are_those_of_the_file(files):
    verification = verify(files.int8)
    assert verification.op_counts == {
        "CONV_2D": 1,
        "DEPTHWISE_CONV_2D": 1,
        "MEAN": 1,
        "FULLY_CONNECTED": 1,
        "SOFTMAX": 1,
    }
    assert verification.size_bytes == len(files.int8)
    assert (verification.input_dtypes, verification.output_dtypes) == (("int8",), ("int8",))


def test_float_borders_are_not_integer_only_though_the_body_is(files):
    verification = verify(files.float_io)
    assert not verification.integer_only
    assert verification.body_integer_only
    assert [report.op for report in verification.float_ops] == ["QUANTIZE", "DEQUANTIZE"]
    assert verification.inner_conversions == verification.float_islands == ()


def test_one_float_output_is_enough_to_fail(files):
    verification = verify(planting.with_float_output(files.int8))
    assert not verification.integer_only
    assert verification.output_dtypes == ("float32",)
    assert [(report.op, report.tensor) for report in verification.float_ops] == [("DEQUANTIZE", "extra/Dequantize")]


def test_every_op_of_a_float_file_is_named_with_its_layer(files):
    verification = verify(files.float32)
    assert {report.layer for report in verification.float_ops} >= {"depthwise", "pool", "head"}
    assert len(verification.float_islands) == 1
    assert "layer 'depthwise'" in verification.text()


def test_int8_ops_without_default_optimization_give_a_float_file_and_that_is_seen(cnn, calibration):
    content = converted(
        cnn,
        representative_dataset=lambda: ([image[None]] for image in calibration),
        supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8],
    )
    assert not verify(content).integer_only
    assert not verify(content).body_integer_only


def test_an_empty_calibration_behind_the_converters_back_is_seen(cnn):
    content = converted(
        cnn,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: iter([]),
        supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8],
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
    )
    verification = verify(content)
    assert not verification.integer_only
    assert verification.input_dtypes == ("float32",)


@pytest.mark.medium
def test_a_qat_model_converted_without_default_shows_its_float_islands(qat_model):
    verification = verify(converted(qat_model))
    assert not verification.body_integer_only
    assert len(verification.float_islands) >= 2
    assert verification.inner_conversions


def test_dynamic_range_weights_are_no_integer_arithmetic(cnn):
    assert not verify(convert(cnn, scheme="dynamic_range")).integer_only


def test_a_float_island_is_named_with_its_keras_layer():
    image = tf_keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="before")(image)
    x = layers.Lambda(tf.sin, name="wave")(x)
    model = tf_keras.Model(image, layers.Conv2D(2, 3, name="after")(x))
    samples = np.random.default_rng(0).normal(size=(100, 8, 8, 3)).astype(np.float32)
    verification = verify(convert(model, calibration=samples, allow_float=True))
    assert [[(r.op, r.layer) for r in island] for island in verification.float_islands] == [[("SIN", "wave")]]
    assert sorted(report.op for report in verification.inner_conversions) == ["DEQUANTIZE", "QUANTIZE"]


@pytest.mark.parametrize("name", ["FlexErf", "TFLite_Detection_PostProcess"])
def test_flex_and_custom_ops_are_unknown_arithmetic(name, files):
    verification = verify(planting.with_custom_op(files.int8, name))
    assert not verification.integer_only
    assert [report.op for report in verification.unknown_ops] == [name]
    assert name in verification.text()


def test_a_float_op_in_a_loop_body_counts():
    steps = tf_keras.Input((6, 4))
    model = tf_keras.Model(steps, layers.SimpleRNN(4)(steps))
    with pytest.warns(UserWarning, match="one sample at a time"):
        content = convert(model, scheme="float32")
    assert len(read(content).subgraphs) > 1
    assert any(report.subgraph > 0 for report in verify(content).float_ops)


def test_one_scale_for_all_channels_is_reported(cnn, calibration):
    verification = verify(convert(cnn, calibration=calibration, per_channel=False))
    assert verification.integer_only
    assert [report.layer for report in verification.per_tensor_weights][-1] == "depthwise"


def test_what_is_no_file_raises(tmp_path):
    with pytest.raises(TfliteFileError, match="cannot be read"):
        verify(tmp_path / "absent.tflite")


def run_verify(*arguments, cwd):
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-X", "importtime", "-m", "qat.verify", *arguments]
    return subprocess.run(command, cwd=cwd, env=where, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("verify")
    (path / "int8.tflite").write_bytes(files.int8)
    (path / "float.tflite").write_bytes(files.float32)
    (path / "broken.tflite").write_bytes(files.int8[:500])
    return path


@pytest.mark.medium
@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["tflite=int8.tflite"], 0, "integer-only: yes"),
        (["tflite=float.tflite"], 1, "DEPTHWISE_CONV_2D (float32) of layer 'depthwise'"),
        (["tflite=broken.tflite"], 2, "damaged TFLite file of 500 bytes"),
        (["tflite=absent.tflite"], 2, "absent.tflite: cannot be read"),
        ([], 2, "tflite: has no value and needs one"),
        (["tflit=int8.tflite"], 2, "Did you mean tflite?"),
    ],
)
def test_the_command_answers_by_its_exit_code_and_leaves_nothing(arguments, exit_code, message, folder):
    before = sorted(folder.iterdir())
    done = run_verify(*arguments, cwd=folder)
    assert done.returncode == exit_code
    assert message in done.stdout + done.stderr
    assert not re.search(r"\| +tensorflow$", done.stderr, re.MULTILINE)
    assert sorted(folder.iterdir()) == before
