"""quantize_model: calibrated from the first moment, the float model untouched, and the file computes the same codes."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.config import CalibrationConfig, QuantConfig
from qat.errors import CalibrationError, ConfigError, ModelError, UnsupportedLayerError
from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.keras.range_layer import RangeLayer
from qat.tflite import Interpreter, convert, verify


def ranges(model):
    """The (min, max) of each range, by its name."""
    return {layer.name: layer.range for layer in model.layers if isinstance(layer, RangeLayer)}


def calibrated(method, **knobs):
    return QuantConfig(name="qat", calibration=CalibrationConfig(method=method, **knobs))


def test_ranges_are_the_float_models_own_extremes(tiny, qat_model, images):
    inner = tf_keras.Model(tiny.inputs, [tiny.get_layer(name).output for name in ("stem_relu", "pointwise")])
    found = {layer.source: layer.range for layer in qat_model.layers if isinstance(layer, RangeLayer)}
    for name, values in zip(("stem_relu", "pointwise"), inner.predict(images, verbose=0), strict=True):
        np.testing.assert_allclose(found[name], (0.0, values.max()), rtol=1e-4)


@pytest.mark.parametrize("form", ["list", "dict", "batches", "generator"])
def test_every_form_of_calibration_gives_the_same_ranges(form, tiny, qat_model, images):
    forms = {
        "list": [images],
        "dict": {"image": images},
        "batches": [images[:100], images[100:]],
        "generator": lambda: ({"image": part} for part in (images[:32], images[32:])),
    }
    found, expected = ranges(quantize_model(tiny, forms[form])), ranges(qat_model)
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-6)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda x: x[:0], "holds no samples"),
        (lambda x: [], "holds no samples"),
        (lambda x: np.where(np.arange(160).reshape(-1, 1, 1, 1) == 7, np.nan, x), "first is sample 7"),
        (lambda x: x[:, :10], r"shape \[160, 10, 12, 3\], expected 'image' float32\[\?|shape \[160, 10, 12, 3\]"),
        (lambda x: {"picture": x}, r"inputs missing \['image'\], unknown \['picture'\]"),
    ],
)
def test_calibration_that_tells_nothing_is_refused(broken, message, tiny, images):
    with pytest.raises(CalibrationError, match=message):
        quantize_model(tiny, broken(images))


def test_an_activation_that_overflows_is_named_with_its_layer(network, images):
    network.get_layer("pointwise").bias.assign(np.full(12, np.inf))
    with pytest.raises(CalibrationError, match="'pointwise' is NaN or infinite"):
        quantize_model(network, images)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("model.keras", r"not a str: .* A saved one is read by qat.models.load\('model.keras'\)"),
        (b"....TFL3", r"A .tflite cannot be trained any more"),
        (tf_keras.Sequential, r"not the class Sequential: .* Give a model that it has made"),
        (tf_keras.layers.Dense(3), r"by tf_keras.Sequential\(\[tf_keras.Input\(shape\), layer\]\)"),
        (np.zeros(3), r"a Keras model first, not a numpy.ndarray"),
    ],
)
def test_what_is_no_keras_model_is_refused(images, given, message):
    with pytest.raises(ModelError, match=message):
        quantize_model(given, images)


def test_the_float_model_stays_as_it_was_when_its_twin_trains(network, images, labels):
    before = network.get_weights()
    answers = network.predict(images, verbose=0)
    model = quantize_model(network, images)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(images, labels, verbose=0)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(answers, network.predict(images, verbose=0))


def test_frozen_layers_stay_frozen(network, images, labels):
    network.get_layer("stem").trainable = False
    network.get_layer("depthwise_bn").trainable = False
    model = quantize_model(network, images)
    assert len(model.trainable_variables) == len(network.trainable_variables)
    before = {weight.name: weight.numpy() for weight in model.weights}
    model.compile(tf_keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.fit(images, labels, verbose=0)
    moved = {weight.name for weight in model.weights if not np.array_equal(before[weight.name], weight.numpy())}
    kernels = {name.split("/")[0] for name in moved if "kernel" in name}
    assert len(kernels) == 3, f"depthwise, pointwise and head train, stem does not: {sorted(moved)}"
    frozen = [layer for layer in model.layers if "stem" in layer.name and not hasattr(layer, "quantizer")]
    assert all("kernel" not in weight.name for layer in frozen for weight in layer.trainable_weights)


def test_a_saved_model_predicts_the_same(qat_model, images, tmp_path):
    qat_model.save(tmp_path / "model.keras")
    again = tf_keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(images, verbose=0), qat_model.predict(images, verbose=0))
    assert ranges(again) == ranges(qat_model)


def test_the_file_is_integer_only_and_gives_the_models_own_codes(qat_model, tflite_model, images):
    found = verify(tflite_model)
    assert found.integer_only
    assert (found.input_dtypes, found.output_dtypes) == (("int8",), ("int8",))
    assert not found.per_tensor_weights
    runtime = Interpreter(tflite_model)
    codes = runtime.predict_codes(runtime.quantized(images)).astype(int)
    expected = np.round(qat_model.predict(images, verbose=0) * 256) - 128
    assert np.mean(codes == expected) >= 0.999
    assert np.abs(codes - expected).max() <= 1


def test_it_is_as_near_to_float_as_post_training_quantization(tiny, tflite_model, images):
    reference = tiny.predict(images, verbose=0)
    ours = sqnr_db(reference, Interpreter(tflite_model).predict(images))
    assert (
        ours >= sqnr_db(reference, Interpreter(convert(tiny, calibration=images, engine="tflite")).predict(images)) - 1
    )


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_methods_that_clip_give_narrower_ranges_inside_the_extremes(method, tiny, qat_model, images):
    spiked = images.copy()
    spiked[0, 0, 0, 0] = 60.0
    widest = ranges(quantize_model(tiny, spiked))
    found = ranges(quantize_model(tiny, spiked, config=calibrated(method, percentile=99.9)))
    assert found["image--range"][1] < 0.95 * widest["image--range"][1]
    for name, (low, high) in found.items():
        assert low >= widest[name][0] - 1e-6
        assert high <= widest[name][1] + 1e-6


def test_an_unknown_method_is_refused_with_the_choices(tiny, images):
    with pytest.raises(ConfigError, match=r"calibration.method=entropy: expected one of minmax, percentile, mse"):
        quantize_model(tiny, images, config=calibrated("entropy"))


def test_a_layer_that_is_dead_on_the_calibration_data_still_makes_a_file_that_runs(images):
    image = tf_keras.Input(images.shape[1:], name="image")
    dead = tf_keras.layers.Conv2D(4, 3, activation="relu", bias_initializer=tf_keras.initializers.Constant(-1e3))
    model = tf_keras.Model(image, tf_keras.layers.Conv2D(2, 1, bias_initializer="ones")(dead(image)))
    answers = Interpreter(convert(quantize_model(model, images))).predict(images)
    np.testing.assert_allclose(answers, 1.0, atol=0.01)


class _Gate(tf_keras.layers.Layer):
    """Closed in part in training, open at inference."""

    def call(self, x, training=None):
        return x * (tf.random.uniform(tf.shape(x)) if training else tf.ones_like(x))


class _OpenGate(tf_keras.layers.Layer):
    def build(self, shape):
        self.mask = _Mask()

    def call(self, x):
        return x * self.mask(x)


class _Mask(tf_keras.layers.Layer):
    def call(self, x, training=None):
        return tf.random.uniform(tf.shape(x)) if training else tf.ones_like(x)


def test_a_constant_that_training_replaces_is_refused_where_it_is_trained_and_kept_where_not():
    rows = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    entry = tf_keras.Input((6,))
    model = tf_keras.Model(entry, tf_keras.layers.Dense(2)(_OpenGate(name="gate")(entry)))
    with pytest.raises(UnsupportedLayerError, match=r"layer 'gate/.*' gives a constant at inference"):
        quantize_model(model, rows)
    untrained = quantize_model(model, rows, config=QuantConfig(name="ptq"))
    np.testing.assert_allclose(untrained.predict(rows, verbose=0), model.predict(rows, verbose=0), atol=0.1)
    whole = tf_keras.Model(entry, tf_keras.layers.Dense(2)(_Gate()(entry)))
    assert len(quantize_model(whole, rows).trainable_variables) == 2


def test_what_assigns_a_variable_of_one_model_leaves_its_copy_in_the_other():
    """A copy may have the memory of what it is a copy of: whatever op assigns one of them, the other stays."""
    model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(4, name="one")])
    rows = np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32)
    changes = (
        lambda kernel: kernel.assign(kernel + 1.0),
        lambda kernel: kernel.assign_add(tf.ones_like(kernel)),
        lambda kernel: kernel.scatter_nd_update([[0, 0]], [kernel[0, 0] + 1.0]),
        lambda kernel: tf_keras.optimizers.Adam(1.0).apply_gradients([(tf.ones_like(kernel), kernel)]),
    )
    for change in changes:
        for at in (0, 1):
            pair = [model.layers[0].kernel, quantize_model(model, rows).get_layer("one").kernel]
            before = pair[0].numpy().copy()
            change(pair[at])
            assert not np.array_equal(pair[at].numpy(), before)
            np.testing.assert_array_equal(pair[1 - at].numpy(), before)
