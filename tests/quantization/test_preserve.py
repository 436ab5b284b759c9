"""Zeros and centroids of a pruned or clustered float model are kept through QAT, down to the kernels of the file."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter as LiteRt
from tf_keras import layers

from qat.config import QuantConfig
from qat.errors import ConfigError
from qat.quantization import quantize_model
from qat.quantization.ir.preserved_kernels import PreservedEntries
from qat.quantization.preserve import find_preserved, preserves_anything
from qat.tflite import Interpreter, convert

SHAPE, CLASSES, CENTROIDS = (8, 8, 3), 4, 6
LOSS = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network():
    """Conv-BN-ReLU, depthwise, pointwise, dense with a penalty that moves zeros."""
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input(SHAPE)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, use_bias=False, name="stem")(image)))
    x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = layers.Flatten()(layers.Conv2D(8, 1, activation="relu", name="pointwise")(x))
    penalty = tf_keras.regularizers.OrthogonalRegularizer(0.01)
    return tf_keras.Model(image, layers.Dense(CLASSES, kernel_regularizer=penalty, name="head")(x))


def kernels(model):
    return [variable for variable in model.trainable_variables if len(variable.shape) > 1]


def pruned(model, share=0.5):
    for kernel in kernels(model):
        value = kernel.numpy()
        kernel.assign(np.where(np.abs(value) <= np.quantile(np.abs(value), share), 0, value))
    return model


def clustered(model, count=CENTROIDS, zero=False):
    for kernel in kernels(model):
        value = kernel.numpy()
        group = np.digitize(value, np.quantile(value, np.linspace(0, 1, count + 1)[1:-1]))
        centres = np.array([value[group == at].mean() for at in range(count)], np.float32)
        centres[count // 2] *= not zero
        kernel.assign(centres[group])
    return model


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(0, 1, (128, *SHAPE)).astype(np.float32), rng.integers(0, CLASSES, 128)


def quantized(model, data, preserve="auto", **config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantize_model(model, data[0], config=QuantConfig(name="qat", preserve=preserve, **config))


def trained(model, data, optimizer=None, epochs=2):
    model.compile(optimizer or tf_keras.optimizers.AdamW(1e-2, weight_decay=1e-2), LOSS)
    model.fit(*data, epochs=epochs, verbose=0)
    return model


def file_kernels(content):
    """int8 kernels by layer, as LiteRT reads them."""
    interpreter = LiteRt(model_content=content)
    details = interpreter.get_tensor_details()
    names = ("stem", "depthwise", "pointwise", "head")
    found = {}
    for name in names:
        own = [each for each in details if f"quant_{name}" in each["name"] and "kernel" in each["name"]]
        (found[name],) = [interpreter.get_tensor(each["index"]) for each in own if each["dtype"] == np.int8]
    return found


def zero_shares(values):
    return [float(np.mean(np.asarray(value) == 0)) for value in values]


def counts(values):
    return [len(np.unique(np.asarray(value))) for value in values]


@pytest.mark.parametrize("preserve", [pytest.param("sparsity", marks=pytest.mark.slow), "auto"])
def test_zeros_of_a_pruned_model_are_zeros_of_the_file_and_of_the_way_back(data, preserve):
    model = pruned(network())
    before = [kernel.numpy() == 0 for kernel in kernels(model)]
    made = trained(quantized(model, data, preserve), data)
    for was, variable, back in zip(before, kernels(made), kernels(made.to_float()), strict=True):
        np.testing.assert_array_equal(variable.numpy() == 0, was)
        np.testing.assert_array_equal(back.numpy() == 0, was)
    assert min(zero_shares(file_kernels(convert(made)).values())) >= 0.5


def test_without_it_training_fills_the_zeros(data):
    made = trained(quantized(pruned(network()), data, None), data)
    assert max(zero_shares(file_kernels(convert(made)).values())) < 0.25


@pytest.mark.parametrize("preserve", [pytest.param("clusters", marks=pytest.mark.slow), "auto"])
def test_a_centroid_is_one_code_in_all_channels_of_the_file(data, preserve):
    model = clustered(network())
    before = [kernel.numpy() for kernel in kernels(model)]
    made = trained(quantized(model, data, preserve), data)
    assert counts(kernels(made)) == counts(kernels(made.to_float())) == [CENTROIDS] * 4
    assert all(np.abs(now - was).max() > 1e-3 for now, was in zip(kernels(made), before, strict=True))
    content = convert(made)
    assert max(counts(file_kernels(content).values())) <= CENTROIDS
    expected = made.predict(data[0][:32], verbose=0)
    np.testing.assert_allclose(Interpreter(content).predict(data[0][:32]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_centroid_of_zero_stays_zero(data):
    model = clustered(network(), zero=True)
    before = zero_shares(kernels(model))
    made = trained(quantized(model, data), data)
    assert zero_shares(kernels(made)) == before
    assert counts(kernels(made)) == counts(kernels(model))


class Centralized(tf_keras.optimizers.SGD):
    """Gradient centralization (Yong et al. 2020): it moves what has no gradient, too."""

    def apply_gradients(self, pairs, **kwargs):
        return super().apply_gradients([(g - tf.reduce_mean(g), v) for g, v in pairs], **kwargs)


@pytest.mark.parametrize("prepare", [pytest.param(pruned, marks=pytest.mark.slow), clustered])
def test_an_optimizer_that_moves_by_more_than_the_gradient_takes_nothing(data, prepare):
    model = prepare(network())
    made = trained(quantized(model, data), data, Centralized(0.05, momentum=0.9), epochs=1)
    if prepare is clustered:
        assert counts(kernels(made)) == counts(kernels(model))
    else:
        assert zero_shares(kernels(made)) == zero_shares(kernels(model))


def test_without_fake_quantization_it_is_the_pruned_float_model(data):
    model = pruned(network())
    made = quantized(model, data)
    made.fake_quantization(False)
    np.testing.assert_allclose(made(data[0]), model(data[0]), rtol=1e-5, atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(made(data[0], training=True) ** 2)
    for gradient, variable in zip(tape.gradient(loss, kernels(made)), kernels(made), strict=True):
        assert not gradient.numpy()[variable.numpy() == 0].any()
        assert gradient.numpy().any()


def test_a_cluster_has_the_mean_of_its_entries_gradients(data):
    model = clustered(network())
    kept, free = quantized(model, data), quantized(model, data, None)
    gradients = []
    for made in (kept, free):
        made.fake_quantization(False)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(made(data[0]) ** 2)
        gradients.append([gradient.numpy() for gradient in tape.gradient(loss, kernels(made))])
    for of_groups, of_each, kernel in zip(*gradients, kernels(model), strict=True):
        for value in np.unique(kernel):
            group = kernel.numpy() == value
            assert len(np.unique(of_groups[group])) == 1
            np.testing.assert_allclose(of_groups[group][0], of_each[group].mean(), rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "prepare"),
    [
        pytest.param("keras", pruned, marks=pytest.mark.slow),
        pytest.param("keras", clustered, marks=pytest.mark.slow),
        pytest.param("h5", clustered, marks=pytest.mark.slow),
    ],
)
def test_a_loaded_model_keeps_them_in_further_training(data, tmp_path, form, prepare):
    made = trained(quantized(prepare(network()), data), data, epochs=1)
    made.save(tmp_path / f"model.{form}")
    loaded = tf_keras.models.load_model(tmp_path / f"model.{form}", compile=False)
    assert convert(loaded) == convert(made)
    trained(loaded, data, epochs=1)
    assert zero_shares(kernels(loaded)) == zero_shares(kernels(made))
    assert prepare is pruned or counts(kernels(loaded)) == counts(kernels(made))


def test_auto_says_once_what_it_has_found_and_ptq_is_left_alone(data):
    with pytest.warns(UserWarning, match=r"quant.preserve=auto: .*zeros of stem/kernel \(50%\)") as said:
        quantize_model(pruned(network()), data[0])
    assert sum("preserve" in str(each.message) for each in said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize_model(clustered(network()), data[0], config=QuantConfig(name="ptq"))


def test_asked_for_and_not_there_is_said(data):
    with pytest.warns(UserWarning, match="quant.preserve=clusters: nothing to keep"):
        quantize_model(network(), data[0], config=QuantConfig(name="qat", preserve="clusters"))


def test_another_word_is_refused(data):
    with pytest.raises(ConfigError, match=r"quant\.preserve=zeros: expected null or one of none, sparsity"):
        quantize_model(network(), data[0], config=QuantConfig(name="qat", preserve="zeros"))


def bilinear():
    ramp = 1 - np.abs(np.arange(4) - 1.5) / 2
    return np.einsum("i,j,oc->ijoc", ramp, ramp, np.eye(6))


def gaussian():
    filter = np.exp(-(np.arange(-2, 3)[:, None] ** 2 + np.arange(-2, 3) ** 2) / 1.7)
    return np.broadcast_to(filter[:, :, None, None], (5, 5, 8, 1))


def delta():
    kernel = np.zeros((3, 3, 8, 8))
    kernel[1, 1] = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    return kernel


BEGINNINGS = {
    "zeros": np.zeros((16, 9)),
    "an identity": np.eye(32),
    "a constant": np.full((16, 9), 0.1),
    "bilinear upsampling": bilinear(),
    "one Gaussian filter": gaussian(),
    "a delta-orthogonal filter": delta(),
    "dequantized codes": np.random.default_rng(0).integers(-127, 128, (64, 64)) * 0.0123,
    "ternary": np.random.default_rng(0).integers(-1, 2, (64, 64)) * 0.37,
    "fresh": np.random.default_rng(0).normal(size=(64, 64)),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_what_only_begins_so_is_not_taken_for_pruned_or_clustered(name):
    assert find_preserved(tf.Variable(BEGINNINGS[name].astype(np.float32)), "auto") is None


def test_a_small_pruned_kernel_is_not_taken_for_a_clustered_one():
    kernel = pruned(network(), 0.7).get_layer("pointwise").kernel
    assert find_preserved(kernel, "auto").groups is None
    assert find_preserved(kernel, "clusters") is None


def test_rows_of_a_table_that_were_never_used_are_trained():
    table = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    table[20:] = 0
    assert find_preserved(tf.Variable(table), "auto", is_table=True) is None
    table[:, ::2] *= np.random.default_rng(1).random((50, 4)) > 0.8
    assert find_preserved(tf.Variable(table), "auto", is_table=True) is not None


def test_groups_survive_their_json_and_equal_entries_do_not_change():
    value = np.random.default_rng(0).choice(np.array([-0.1, 0.0, 0.3, 0.7], np.float32), (40, 50))
    for kept in (PreservedEntries.groups_of(value), PreservedEntries.zeros_of(value)):
        again = PreservedEntries.from_json(kept.to_json())
        np.testing.assert_array_equal(again.apply_to(tf.constant(value)), value)
        noise = np.random.default_rng(1).normal(size=value.shape).astype(np.float32)
        np.testing.assert_array_equal(again.apply_to(value + noise), kept.apply_to(value + noise))
        assert not again.apply_to(value + noise).numpy()[value == 0].any()


def test_the_job_trains_another_model_than_ptq_exports_where_something_is_kept():
    assert preserves_anything(pruned(network()), QuantConfig(name="qat"))
    assert not preserves_anything(pruned(network()), QuantConfig(name="qat", preserve=None))
    assert not preserves_anything(network(), QuantConfig(name="qat"))
