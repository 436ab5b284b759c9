"""Every way of post-training quantization by its option: what the file is then, and what is refused before training."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat import data, rundir
from qat.cli import compose
from qat.errors import CalibrationError, ConfigError, UnsupportedLayerError
from qat.models import load
from qat.stages.dry_run import try_conversion
from qat.stages.float_model import FloatModel
from qat.stages.main_job import main_job
from qat.stages.ptq import quantize_after_training
from qat.stages.run import begin
from qat.tflite import convert, read, verify
from qat.tflite.scheme import scheme_of
from qat.variants import QUANTIZERS

from .conftest import TINY


def ranges(path):
    """The real range of every activation of a file."""
    found = [tensor for tensor in read(path).tensors if not tensor.is_constant and tensor.quantization is not None]
    return [tuple(map(float, tensor.quantization.real_limits)) for tensor in found]


@pytest.fixture(scope="module")
def quantized(finished, tmp_path_factory):
    """The PTQ file of the finished run's float model with these options."""
    float_model = FloatModel(load(str(finished / "float" / "model.keras")), "classification", (), "another run")

    @cache
    def run(*options):
        overrides = ["debug=tiny", "model=simple_cnn", "quant=ptq", "log.tensorboard=false", "log.progress=off"]
        with begin(compose([*overrides, *options]), tmp_path_factory.mktemp("ptq") / "run") as started:
            quantize_after_training(started, float_model)
        return started.file("ptq_int8", "model.tflite")

    return run


@pytest.mark.slow
def test_percentile_and_mse_leave_out_what_minmax_takes_in(quantized):
    whole = ranges(quantized("quant.calibration.method=minmax"))
    for options in (
        ["quant.calibration.method=percentile", "quant.calibration.percentile=95"],
        ["quant.calibration.method=mse"],
    ):
        path = quantized(*options)
        assert verify(path).integer_only
        narrower = [high for (_, high) in ranges(path) if high not in [h for _, h in whole]]
        assert max(high for _, high in ranges(path)) < max(high for _, high in whole)
        assert narrower


@pytest.mark.slow
@pytest.mark.parametrize("option", ["quant.equalization=true", "quant.bias_correction=true"])
def test_corrections_change_the_constants_and_leave_the_file_integer_only(option, quantized):
    plain, corrected = quantized("quant.calibration.method=mse"), quantized("quant.calibration.method=mse", option)
    assert verify(corrected).integer_only
    constants = [
        [tensor.data for tensor in read(path).tensors if tensor.is_constant and tensor.dtype in ("int8", "int32")]
        for path in (plain, corrected)
    ]
    assert any(a.shape != b.shape or not np.array_equal(a, b) for a, b in zip(*constants, strict=True))


@pytest.mark.medium
@pytest.mark.parametrize("method", ["minmax", pytest.param("mse", marks=pytest.mark.slow)])
def test_one_scale_for_all_channels_where_it_is_asked_for(method, quantized):
    path = quantized("quant.per_channel=false", f"quant.calibration.method={method}")
    assert len(verify(path).per_tensor_weights) == sum(
        count for name, count in verify(path).op_counts.items() if "CONV" in name
    )


@pytest.mark.medium
def test_a_quantizer_that_is_one_record_gets_a_file_of_its_own_bits(finished, tmp_path, monkeypatch):
    narrow = replace(QUANTIZERS["ptq"], name="ptq_w4a8", variant="ptq_w4a8", precision="int4", weight_bits=4)
    monkeypatch.setitem(QUANTIZERS, narrow.name, narrow)
    model = load(str(finished / "float" / "model.keras"))
    config = compose([*TINY, "quant=ptq", "log.tensorboard=false"])
    config.quant.name, config.quant.weight_bits = narrow.name, narrow.weight_bits
    with begin(config, tmp_path / "run") as started:
        try_conversion(started, model)
        quantize_after_training(started, FloatModel(model, "classification", (), "another run"))
    assert scheme_of(read(started.file("ptq_w4a8", "model.tflite"))) == "int4"
    assert scheme_of(read(finished / "ptq_int8" / "model.tflite")) == "int8"


@pytest.mark.medium
def test_narrow_weights_without_a_form_of_their_own_are_refused_before_anything_is_trained(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(QUANTIZERS, "ptq", replace(QUANTIZERS["ptq"], weight_bits=4))
    config = tiny("model=user", "model.target._target_=tests.stages.test_ptq.user_model", "quant=qat")
    config.quant.name = "ptq"
    with begin(config, tmp_path / "run") as started, pytest.raises(UnsupportedLayerError, match="op Sin"):
        try_conversion(started, user_model((8, 8, 1), 10))


def user_model(input_shape, classes):
    """Has an op that no integer kernel computes."""
    image = tf_keras.Input(input_shape)
    x = tf_keras.layers.Conv2D(4, 3, strides=4, activation="relu", name="stem")(image)
    x = tf_keras.layers.Lambda(lambda values: tf.sin(values), name="wave")(x)
    x = tf_keras.layers.Dense(classes, name="logits")(tf_keras.layers.Flatten()(x))
    return tf_keras.Model(image, tf_keras.layers.Softmax(name="probabilities")(x))


@pytest.mark.medium
def test_float_fallback_is_taken_when_asked_for_and_named(tiny, tmp_path, capsys):
    model = ("model=user", "model.target._target_=tests.stages.test_ptq.user_model", "quant=ptq")
    found = main_job(tiny(*model, "quant.allow_float=true"), tmp_path / "run").variants["ptq_int8"]
    assert not found.integer_only
    assert any("SIN" in op for op in found.float_ops)
    assert "ptq_int8: calibrated by TFLite itself, because" in (capsys.readouterr().out)


def test_what_tflite_cannot_do_is_not_left_out_in_silence(tiny, tmp_path):
    model = ("model=user", "model.target._target_=tests.stages.test_ptq.user_model", "quant=ptq")
    with pytest.raises(UnsupportedLayerError, match="op Sin"):
        main_job(tiny(*model, "quant.allow_float=true", "quant.equalization=true"), tmp_path / "run")


@pytest.mark.medium
def test_our_canonical_form_is_calibrated_unless_tflite_is_asked_to(quantized):
    ours, theirs = quantized(), quantized("quant.calibration.engine=tflite")
    assert verify(ours).integer_only
    assert verify(theirs).integer_only
    assert ours.read_bytes() != theirs.read_bytes()
    with pytest.raises(ConfigError, match=r"engine=tflite: .* knows nothing of quant\.equalization"):
        quantized("quant.calibration.engine=tflite", "quant.equalization=true")


def test_the_library_call_makes_the_file_of_the_entry_point(finished):
    drawn = np.array(rundir.read_json(finished / "results.json")["calibration_indices"])
    samples = data.load(compose(TINY).data, 0, 0).train.take(drawn, name="calibration").inputs()
    by_hand = read(convert(load(str(finished / "float" / "model.keras")), calibration=samples))
    entry = read(finished / "ptq_int8" / "model.tflite")
    assert [(op.name, op.inputs, op.outputs) for op in by_hand.subgraphs[0].ops] == [
        (op.name, op.inputs, op.outputs) for op in entry.subgraphs[0].ops
    ]
    for mine, theirs in zip(by_hand.tensors, entry.tensors, strict=True):
        assert (mine.scales, mine.zero_points) == (theirs.scales, theirs.zero_points)
        assert mine.is_constant == theirs.is_constant
        assert not mine.is_constant or np.array_equal(mine.data, theirs.data)


def test_too_few_samples_are_refused_before_anything_is_trained(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"min_samples=100: quant\.calibration\.samples=32 are fewer"):
        main_job(
            tiny("quant=ptq", "quant.calibration.min_samples=100", "quant.calibration.samples=32"), tmp_path / "run"
        )
    assert not (tmp_path / "run" / "float").exists()
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").glob("*/float.json"))


def one_class_for_calibration():
    found = data.load(compose(["debug=tiny"]).data, 32, 0)
    zeros = np.flatnonzero(found.train.labels == 3)[:10]
    return data.Splits(
        found.train, found.val, found.train.take(zeros, name="calibration"), found.test, found.class_names, zeros
    )


def test_samples_of_one_class_are_refused_before_anything_is_trained(tiny, tmp_path):
    mine = ("data=user", "data.target._target_=tests.stages.test_ptq.one_class_for_calibration")
    config = tiny("quant=ptq")
    other = tiny("quant=ptq", *mine, "data.max_samples=null")
    assert config.quant.calibration.min_samples == 8
    with pytest.raises(CalibrationError, match="all 10 calibration samples are of class 3"):
        main_job(other, tmp_path / "run")
    assert not (tmp_path / "run" / "float").exists()


def test_samples_are_drawn_from_every_class_and_written_down(finished):
    results = rundir.read_json(finished / "results.json")
    train = data.load(compose(["debug=tiny"]).data, 0, 0).train
    drawn = train.labels[np.array(results["calibration_indices"])]
    shares = np.bincount(drawn, minlength=10) / len(drawn) - np.bincount(train.labels, minlength=10) / len(train)
    assert np.abs(shares).max() < 1 / len(drawn) + 1e-9
