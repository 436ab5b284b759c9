"""The report of real models: the grids of their files, Keras' names, and reasons for what is not quantized."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.export import convert
from qat.quantization import quantize_model
from qat.tflite import read
from qat.tflite.graph import layer_name

IMAGES = np.random.default_rng(0).normal(size=(100, 8, 8, 3)).astype(np.float32)


def image_model():
    tf_keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="stem")(image)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.Add(name="sum")([x, layers.Conv2D(16, 1, name="pointwise")(x)])
    x = layers.AveragePooling2D(2, padding="same", name="pool")(layers.Activation("gelu", name="gelu")(x))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return tf_keras.Model(image, layers.Dense(4, activation="softmax", name="head")(x))


@pytest.fixture(scope="module")
def quantized():
    return quantize_model(image_model(), IMAGES)


def entries(report, **wanted):
    return [each for each in report.quantized if all(getattr(each, key) == value for key, value in wanted.items())]


def test_every_weight_and_bias_is_on_the_grid_that_the_file_has(quantized):
    report, file = quantized.quantization_report, read(convert(quantized))
    constants = [each for each in file.tensors if each.is_constant and each.quantization is not None]
    for what, dtype in (("kernel", "int8"), ("bias", "int32")):
        in_file = {layer_name(each.name): each for each in constants if f"/{what}" in each.name and each.dtype == dtype}
        reported = {each.layer: each.grid for each in entries(report, tensor=what)}
        assert reported
        assert set(reported) <= set(in_file)
        for layer, grid in reported.items():
            params = in_file[layer].quantization
            np.testing.assert_array_equal(np.float32(grid.scale), np.float32(params.scale))
            assert [grid.zero_point, *params.zero_point] == [0] * (1 + params.zero_point.size)
            assert grid.axis == (params.axis if params.scale.size > 1 else None)
    assert entries(report, layer="depthwise", tensor="kernel")[0].grid.channels == 16


def test_every_output_is_on_a_grid_that_the_file_has(quantized):
    report, file = quantized.quantization_report, read(convert(quantized))
    in_file = {(np.float32(each.scales[0]), each.zero_points[0]) for each in file.tensors if len(each.scales) == 1}
    outputs = [each.grid for each in report.quantized if each.tensor in ("input", "output")]
    assert len(outputs) == 10  # of them two of the head: scores and probabilities
    assert {(np.float32(grid.scale[0]), grid.zero_point) for grid in outputs} <= in_file


def test_slopes_and_factors_are_on_the_grids_that_the_file_has():
    image = layers.Input((8, 8, 3), name="image")
    slopes = layers.PReLU(shared_axes=[1, 2], alpha_initializer=tf_keras.initializers.RandomUniform(0.1, 0.4, seed=0))
    x = slopes(layers.Conv2D(4, 3, name="features")(image)) * [0.5, 2.0, -1.0, 0.25]
    model = quantize_model(tf_keras.Model(image, layers.Softmax()(x)), IMAGES)
    file = read(convert(model))
    in_file = {(np.float32(each.scales[0]), each.zero_points[0]) for each in file.tensors if len(each.scales) == 1}
    grids = {each.op: each.grid for each in model.quantization_report.quantized if each.tensor.startswith("operand")}
    assert {op: (np.float32(grid.scale[0]), grid.zero_point) in in_file for op, grid in grids.items()} == {
        "prelu": True,
        "mul": True,
    }
    assert grids["prelu"].zero_point == 0


def test_nothing_is_quantized_while_fake_quantization_is_off(quantized):
    quantized.fake_quantization(False)
    report = quantized.quantization_report
    quantized.fake_quantization(True)
    assert report.quantized == ()
    assert report.rewritten == quantized.quantization_report.rewritten


def test_layers_have_their_names_in_keras(quantized):
    names = {each.layer for each in quantized.quantization_report.quantized}
    assert names == {"image", "stem", "stem_relu", "depthwise", "pointwise", "sum", "gelu", "pool", "mean", "head"}


def test_each_kind_of_spec_is_told(quantized):
    report = quantized.quantization_report
    assert [each.grid.kind for each in entries(report, op="softmax")] == ["fixed"]
    assert {each.grid.kind for each in entries(report, tensor="bias")} == {"derived"}
    assert entries(report, layer="stem", tensor="kernel")[0].grid.kind == "own"


def test_branches_of_a_concatenation_share_a_grid_and_a_resize_derives_its():
    image = layers.Input((8, 8, 3), name="image")
    left, right = (layers.Conv2D(4, 1, name=name)(image) for name in ("left", "right"))
    joined = layers.Concatenate(name="joined")([left, right])
    resized = layers.UpSampling2D(2, interpolation="bilinear", name="resized")(joined)
    report = quantize_model(tf_keras.Model(image, resized), IMAGES).quantization_report
    grids = {each.layer: each.grid for each in report.quantized if each.tensor == "output"}
    assert {name: grid.kind for name, grid in grids.items()} == {
        "left": "shared",
        "right": "shared",
        "resized": "derived",
    }
    assert len({grid.scale for grid in grids.values()}) == 1


def test_what_was_rewritten_is_told_with_its_layers(quantized):
    rewritten = {each.rewrite: each for each in quantized.quantization_report.rewritten}
    norm, pool = rewritten["attach_batch_norm"], rewritten["average_by_depthwise"]
    assert (norm.op, norm.into, norm.layers, norm.count) == ("batch_norm", ("conv2d",), ("stem_norm",), 1)
    assert (pool.op, pool.into, pool.layers) == ("avg_pool", ("depthwise_conv2d",), ("pool",))


def test_a_skipped_layer_is_named_with_its_reason(tmp_path):
    config = QuantConfig(name="qat", skip=["^nothing_yet|^point"])
    model = quantize_model(image_model(), IMAGES, config=config)
    report = model.quantization_report
    assert [(each.layer, each.reason) for each in report.skipped] == [("pointwise", "quant.skip=^nothing_yet|^point")]
    assert not entries(report, layer="pointwise", tensor="kernel")
    model.save(tmp_path / "model.keras")
    assert tf_keras.models.load_model(tmp_path / "model.keras").quantization_report == report


def test_integer_inputs_need_no_grid_and_tables_and_gates_have_theirs():
    ids = layers.Input((6,), dtype="int32", name="ids")
    x = layers.LSTM(3, name="memory")(layers.Embedding(20, 4, name="words")(ids))
    model = tf_keras.Model(ids, layers.Dense(2, name="head")(x))
    report = quantize_model(
        model, np.random.default_rng(0).integers(0, 20, (100, 6)).astype(np.int32)
    ).quantization_report
    assert [(each.layer, each.reason) for each in report.skipped] == [("ids", "input of int32: integers need no grid")]
    assert len(entries(report, layer="words", tensor="table")) == 1
    assert [len(each.grid.scale) for each in entries(report, layer="memory", op="lstm")][:2] == [4, 4]
    assert entries(report, layer="memory", tensor="cell")[0].grid.bits == 16


def test_a_layer_with_a_loss_of_its_own_is_not_told_as_skipped():
    image = layers.Input((8, 8, 3), name="image")
    model = tf_keras.Model(image, layers.Conv2D(4, 3, activity_regularizer="l2", name="features")(image))
    report = quantize_model(model, IMAGES).quantization_report
    assert report.skipped == ()
    assert {each.layer for each in report.quantized} == {"image", "features"}


def test_the_report_follows_the_weights(quantized):
    before = entries(quantized.quantization_report, layer="head", tensor="kernel")[0].grid.scale
    kernel = next(each for each in quantized.float_variables.variables if "head/kernel" in each.name)
    kernel.assign(2.0 * kernel)
    after = entries(quantized.quantization_report, layer="head", tensor="kernel")[0].grid.scale
    kernel.assign(0.5 * kernel)
    np.testing.assert_allclose(after, 2.0 * np.array(before), rtol=1e-6)
