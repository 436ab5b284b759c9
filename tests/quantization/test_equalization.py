"""Cross-layer equalization keeps the float function, evens channels out, and rescues what uneven channels ruin."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.equalization import equalize, equalize_uneven, find_pairs, input_ranges, output_ranges, unevenness
from qat.quantization.ir.interpret import run
from qat.quantization.rewrites import canonicalize
from qat.tflite import Interpreter, convert

SHAPE = (12, 12, 3)
LEFT = QuantConfig(name="qat", equalize_above=None)
EQUALIZED = QuantConfig(name="ptq", equalization=True)


def images(count, seed=0):
    return np.random.default_rng(seed).random((count, *SHAPE), np.float32)


def separable(activation=layers.ReLU):
    """conv-BN, depthwise-BN, pointwise, flattened, dense: the chain of a MobileNet in small."""
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input(SHAPE)
    x = activation(name="a1")(layers.BatchNormalization(name="n1")(layers.Conv2D(8, 3, 2, name="stem")(image)))
    x = layers.ZeroPadding2D(name="pad")(x)
    x = activation(name="a2")(
        layers.BatchNormalization(scale=False, name="n2")(layers.DepthwiseConv2D(3, name="dw")(x))
    )
    x = layers.LeakyReLU(0.125, name="a3")(layers.Conv2D(6, 1, name="pw")(x))
    x = layers.Flatten(name="flat")(layers.MaxPooling2D(name="pool")(x))
    model = tf_keras.Model(image, layers.Dense(5, name="head")(x))
    rng = np.random.default_rng(1)
    for norm in (model.get_layer("n1"), model.get_layer("n2")):
        norm.moving_variance.assign(rng.uniform(0.5, 2, norm.moving_variance.shape))
        norm.beta.assign(rng.normal(0, 0.3, norm.beta.shape))
    return model


def made_uneven(model):
    """The same function, the channels ahead of the depthwise layer divided by 1e-4..10, and multiplied in it."""
    factors = np.geomspace(1e-4, 10, 8).astype(np.float32)
    kernel, norm = model.get_layer("dw").depthwise_kernel, model.get_layer("n1")
    kernel.assign(kernel * factors[:, None])
    norm.gamma.assign(norm.gamma / factors)
    norm.beta.assign(norm.beta / factors)
    return model


def transposed():
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input(SHAPE)
    x = layers.Conv2DTranspose(4, 3, 2, activation="relu", name="up")(layers.Conv2D(5, 3, name="stem")(image))
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))
    return tf_keras.Model(image, layers.Dense(4, name="out")(layers.Dense(7, activation="relu", name="hidden")(x)))


def computed(graph, inputs):
    return run(graph, [tf.constant(inputs)])[0].numpy()


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (lambda: made_uneven(separable()), ["stem -> dw", "dw -> pw", "pw -> head"]),
        (transposed, ["stem -> up", "up -> hidden", "hidden -> out"]),
    ],
)
def test_the_float_function_stays_and_both_layers_get_the_same_ranges(model, found):
    graph, inputs = canonicalize(model()), images(16)
    before = computed(graph, inputs)
    evened = equalize(graph)
    assert [str(pair) for pair in evened] == found
    np.testing.assert_allclose(computed(graph, inputs), before, atol=1e-4 * np.abs(before).max())
    for pair in evened:
        ratio = output_ranges(pair.first) / input_ranges(pair.second).reshape(pair.repeats, -1).max(axis=0)
        np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.05)


def test_a_model_with_uneven_channels_is_rescued():
    model, calibration, inputs = made_uneven(separable()), images(120), images(64, seed=1)
    real = model.predict(inputs, verbose=0)

    def deployed_db(**options):
        content = convert(quantize_model(model, calibration, **options))
        return sqnr_db(real, Interpreter(content).predict(inputs))

    ruined, rescued = deployed_db(config=LEFT), deployed_db(config=EQUALIZED)
    assert ruined < 20
    assert rescued > 30
    with pytest.warns(UserWarning, match=r"evened out.*quant\.equalize_above=10\): stem -> dw \(\d+ times\), dw -> pw"):
        assert deployed_db() > 30
    np.testing.assert_array_equal(model.predict(inputs, verbose=0), real)


def test_channels_as_training_leaves_them_are_not_touched_without_being_asked_to():
    graph = canonicalize(separable())
    kernels = [node.weights["kernel"].value for node in graph.nodes_of("conv2d", "depthwise_conv2d", "dense")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        equalize_uneven(graph, 10.0)
    after = [node.weights["kernel"].value for node in graph.nodes_of("conv2d", "depthwise_conv2d", "dense")]
    assert all(np.array_equal(a, b) for a, b in zip(kernels, after, strict=True))


def test_channels_that_weight_decay_has_emptied_are_no_sign_of_unevenness():
    model = separable()
    kernel = model.get_layer("stem").kernel
    kernel.assign(kernel * np.where(np.arange(8) < 3, 1e-20, 1).astype(np.float32))
    assert all(unevenness(pair) < 10 for pair in find_pairs(canonicalize(model)))


@pytest.mark.slow
def test_the_equalized_model_still_trains():
    model = quantize_model(made_uneven(separable()), images(32), config=EQUALIZED)
    model.compile(tf_keras.optimizers.Adam(1e-2), "mse")
    history = model.fit(images(32), np.zeros((32, 5), np.float32), epochs=5, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_relu6_does_not_commute_with_factors_and_is_left_alone_and_said():
    graph = canonicalize(separable(lambda name: layers.ReLU(6.0, name=name)))
    assert [str(pair) for pair in find_pairs(graph)] == ["pw -> head"]
    image = tf_keras.Input(SHAPE)
    sigmoid = layers.Conv2D(4, 3, activation="sigmoid")(image)
    with pytest.warns(UserWarning, match=r"quant\.equalization: no two layers of this model can be evened out"):
        assert equalize(canonicalize(tf_keras.Model(image, layers.Conv2D(4, 3)(sigmoid)))) == []


def test_what_is_read_twice_or_shared_is_left_alone():
    image = tf_keras.Input(SHAPE)
    x = layers.Conv2D(3, 3, padding="same", activation="relu", name="first")(image)
    both = layers.Add()([layers.Conv2D(3, 3, padding="same", name="second")(x), x])
    assert find_pairs(canonicalize(tf_keras.Model(image, both))) == []
    shared = layers.Conv2D(3, 3, padding="same", activation="relu", name="shared")
    assert find_pairs(canonicalize(tf_keras.Model(image, shared(shared(image))))) == []
