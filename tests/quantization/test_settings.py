"""Layers with settings of their own, layers left in float, and 4-bit weights."""

import pathlib
import re
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hydra.core.override_parser.overrides_parser import OverridesParser
from tf_keras import layers

import qat
from qat.config import QuantConfig
from qat.errors import ConfigError
from qat.quantization import quantize_model
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.wrapper import CanonicalWrapper
from qat.quantization.settings import is_low_bit
from qat.tflite import Interpreter, convert, verify
from qat.tflite.reader import read


def bits(model):
    wrappers = [layer for layer in model.layers if isinstance(layer, CanonicalWrapper)]
    return {w.layer.name: w._weight_vars[0][1].bits for w in wrappers if isinstance(w.layer, Linear)}


def weight_dtypes(content):
    graph = read(content).subgraphs[0]
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return [graph.tensors[op.inputs[1]].dtype for op in graph.ops if op.name in kinds]


def exact_share(model, content, images):
    runtime = Interpreter(content)
    codes = runtime.predict_codes(runtime.quantized(images)).astype(int)
    return np.mean(codes == np.round(model.predict(images, verbose=0) * 256) - 128)


def test_one_layer_takes_4_bits_and_the_rest_keep_8(tiny, images):
    config = QuantConfig(name="qat", per_layer={"^pointwise$": {"weight_bits": 4}})
    model = quantize_model(tiny, images, config=config)
    assert sorted(bits(model).values()) == [4, 8, 8, 8]
    content = convert(model, low_bit=is_low_bit(config))
    assert weight_dtypes(content) == ["int8", "int8", "int4", "int8"]
    assert verify(content).integer_only
    assert exact_share(model, content, images) >= 0.995


def test_4_bit_weights_are_int4_in_the_file_and_compute_what_the_model_computes(tiny, images):
    model = quantize_model(tiny, images, config=QuantConfig(name="qat_w4a8", weight_bits=4))
    content = convert(model, low_bit=True)
    assert set(weight_dtypes(content)) == {"int4"}
    assert verify(content).integer_only
    assert exact_share(model, content, images) >= 0.99


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "qat_w5"}, "config.name=qat_w5: expected one of float, ptq, qat, qat_w4a8"),
        ({"weight_bits": 1}, "config.weight_bits=1: expected an integer from 2 to 8"),
        ({"epochs": -1}, "config.epochs=-1: expected at least 0"),
        ({"skip": "conv"}, r"config.skip='conv': expected a list of texts, as \['conv'\]"),
        ({"per_layer": {"stem": {"weight_bits": 9}}}, "stem.weight_bits=9: expected an integer from 2 to 8"),
        ({"per_layer": {"stem": {"method": "kl"}}}, "stem.method='kl': expected one of minmax, percentile, mse"),
    ],
)
def test_what_a_command_line_would_refuse_is_refused_from_python(tiny, images, settings, message):
    with pytest.raises(ConfigError, match=message):
        quantize_model(tiny, images, config=QuantConfig(**settings))


def test_bits_that_belie_the_name_are_told(tiny, images):
    with pytest.warns(
        UserWarning, match=r"has weights of 8 bits; of 4, .*QuantConfig\(name='qat_w4a8', weight_bits=4\)"
    ):
        quantize_model(tiny, images, config=QuantConfig(name="qat_w4a8"))


def test_a_tflite_is_not_what_save_writes(qat_model, tmp_path):
    with pytest.raises(ConfigError, match=r"write it as pathlib\.Path") as refused:
        qat_model.save(tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())
    eval(str(refused.value).partition("write it as ")[2], {"pathlib": pathlib, "qat": qat, "model": qat_model})
    assert verify(tmp_path / "model.tflite").integer_only


@pytest.mark.parametrize("name", ["model.onnx", "model.PT", "model.pkl", "model.npz"])
def test_a_file_of_another_format_is_not_what_save_writes(qat_model, tmp_path, name):
    with pytest.raises(ConfigError, match=rf"{name}: no file that Keras saves. Expected a name as model.keras"):
        qat_model.save(tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.medium
@pytest.mark.parametrize("name", ["best.ckpt", "best.pb", "best.bin"])
def test_a_checkpoint_of_a_training_is_a_folder_by_any_name_that_may_be_one(tmp_path, name):
    rows = np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32)
    model = quantize_model(tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(2)]), rows)
    model.compile("sgd", "mse")
    checkpoint = tf_keras.callbacks.ModelCheckpoint(str(tmp_path / name))
    model.fit(rows, rows[:, :2], batch_size=128, verbose=0, callbacks=[checkpoint])
    assert (tmp_path / name / "saved_model.pb").is_file()


def test_layers_that_no_4_bit_file_holds_are_named_and_stay_in_8_bits():
    tokens = tf_keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 8, name="words")(tokens)
    x = layers.PReLU(shared_axes=[1])(layers.Conv1DTranspose(4, 3, name="up")(x))
    model = tf_keras.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    rows = np.random.default_rng(0).integers(0, 20, (128, 6)).astype(np.int32)
    config = QuantConfig(name="qat_w4a8", weight_bits=4)
    with pytest.raises(ConfigError, match=r"words \(embedding\), up \(conv2d_transpose\)|up .*, words ") as refused:
        quantize_model(model, rows, config=config)
    said = str(refused.value)
    (override,) = re.findall(r"'(quant\.per_layer=\S+)'", said)
    taken = OverridesParser.create().parse_override(override).value()
    advised = eval(said.rpartition("per_layer=")[2].removesuffix(")"))
    assert {f"^{name}$": settings for name, settings in taken.items()} == advised
    quantized = quantize_model(model, rows, config=replace(config, per_layer=advised))
    content = convert(quantized)
    np.testing.assert_allclose(Interpreter(content).predict(rows), quantized.predict(rows, verbose=0), atol=1e-6)
    assert {tensor.dtype for tensor in read(content).subgraphs[0].tensors} >= {"int4", "int8"}


def test_a_layer_takes_its_own_calibration_method(tiny, images, qat_model):
    config = QuantConfig(name="qat", per_layer={"^stem": {"method": "mse"}})
    found = {
        layer.source: layer.range
        for layer in quantize_model(tiny, images, config=config).layers
        if isinstance(layer, RangeLayer)
    }
    plain = {layer.source: layer.range for layer in qat_model.layers if isinstance(layer, RangeLayer)}
    assert {name for name in plain if found[name] != plain[name]} <= {"stem", "stem_bn", "stem_relu"}
    assert found["stem_relu"][1] < plain["stem_relu"][1]


def test_per_tensor_weights_are_one_scale_a_kernel(tiny, images):
    model = quantize_model(tiny, images, config=QuantConfig(name="qat", per_channel=False))
    content = convert(model, per_channel=False)
    assert {report.layer.split(".")[0] for report in verify(content).per_tensor_weights}
    assert exact_share(model, content, images) >= 0.999


def test_an_unknown_setting_of_a_layer_is_refused_with_the_choices(tiny, images):
    config = QuantConfig(name="qat", per_layer={"stem": {"bits": 4}})
    with pytest.raises(ConfigError, match=r"per_layer\.stem: bits is no setting.*weight_bits, per_channel, method"):
        quantize_model(tiny, images, config=config)


def test_skip_leaves_exactly_the_named_layers_in_float(tiny, images):
    model = quantize_model(tiny, images, config=QuantConfig(name="qat", skip=["^pointwise$"]))
    found = verify(convert(model, allow_float=True))
    computing = [report for report in found.float_ops if report.op not in ("QUANTIZE", "DEQUANTIZE")]
    assert found.op_counts["CONV_2D"] == 2
    assert [(report.op, report.layer) for report in computing] == [("CONV_2D", "pointwise")]
    softmax = quantize_model(tiny, images, config=QuantConfig(name="qat", skip=["^head$"]))
    named = [(report.op, report.layer) for report in verify(convert(softmax, allow_float=True)).float_ops]
    assert [pair for pair in named if "QUANTIZE" not in pair[0]] == [("FULLY_CONNECTED", "head"), ("SOFTMAX", "head")]
    assert not {tensor.dtype for tensor in read(convert(model, allow_float=True)).tensors} & {"float64"}


def test_skip_of_a_layer_that_is_in_the_kernel_of_another_leaves_that_one_in_float(tiny, images):
    model = quantize_model(tiny, images, config=QuantConfig(name="qat", skip=["^stem_bn$"]))
    computing = [op for op in verify(convert(model, allow_float=True)).float_ops if "QUANTIZE" not in op.op]
    assert [(op.op, op.layer) for op in computing] == [("CONV_2D", "stem")]


def test_skip_of_a_normalization_that_two_layers_share_leaves_both_in_float():
    image = tf_keras.Input((8, 8, 3))
    norm = layers.BatchNormalization(name="norm")
    one, other = layers.Conv2D(4, 1, name="one")(image), layers.Conv2D(4, 3, name="other")(image)
    model = tf_keras.Model(image, [norm(one), norm(other)])
    rows = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)
    quantized = quantize_model(model, rows, config=QuantConfig(name="qat", skip=["^norm$"]))
    computing = [op for op in verify(convert(quantized, allow_float=True)).float_ops if "QUANTIZE" not in op.op]
    assert sorted(op.layer for op in computing) == ["one", "other"]


def test_skip_of_a_clip_clips_in_float():
    image = tf_keras.Input((8, 8, 3))
    clipped = layers.Lambda(lambda x: tf.clip_by_value(x, -0.3, 0.2), name="clip")(layers.Conv2D(4, 1)(image))
    model = tf_keras.Model(image, layers.Conv2D(2, 1)(clipped))
    rows = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)
    quantized = quantize_model(model, rows, config=QuantConfig(name="qat", skip=["^clip$"]))
    content = convert(quantized, allow_float=True)
    assert {op.layer for op in verify(content).float_ops if "QUANTIZE" not in op.op} == {"clip"}
    away = Interpreter(content).predict(rows) - quantized.predict(rows, verbose=0)
    assert np.abs(away).max() < read(content).outputs[0].scales[0] / 2


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("^nowhere$", r"'\^nowhere\$' matches no layer; the model's layers are .*stem"),
        ("(", "is no regular expression"),
    ],
)
def test_a_pattern_that_names_nothing_is_refused(pattern, message, tiny, images):
    with pytest.raises(ConfigError, match=message):
        quantize_model(tiny, images, config=QuantConfig(name="qat", skip=[pattern]))
