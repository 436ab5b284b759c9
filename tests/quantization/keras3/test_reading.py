"""Models of Keras 3: read from Keras 3's own layer calls, and left as they are.

What is asked of either Keras stands in `qat.quantization.importing.keras_version`; `qat.quantization.importing.keras2`,
`qat.quantization.importing.keras3` and their layers, `qat.quantization.importing.keras2_layers` and
`qat.quantization.importing.keras3_layers`, answer. `qat.quantization.importing.foreign_models` refuses the rest, and
`qat.quantization.importing.recurrent_layers` reads those of both.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from qat.errors import ModelError, UnsupportedLayerError
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

pytestmark = pytest.mark.filterwarnings("ignore:calibration has", "ignore:the moving statistics")
IMAGES = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype(np.float32)


def images(*chain):
    return keras.Sequential([keras.Input((8, 8, 3), name="image"), *chain])


def small_net():
    return images(
        layers.Conv2D(4, 3, name="conv", padding="same", kernel_regularizer="l2"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(max_value=6.0),
        layers.Dropout(0.3, name="drop"),
        layers.DepthwiseConv2D(3, name="depthwise"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax", name="head"),
    )


def tf_keras_model(quantized):
    """What computes, below the skin of Keras 3."""
    return getattr(quantized, "qat_model", quantized)


def names_of(variables):
    return [variable.name.split(":")[0] for variable in variables]


def file_agrees(model, quantized, rows):
    """The file is integer-only and gives what the quantized model gives; without rounding, that is the float model."""
    data = convert(quantized)
    assert verify(data).integer_only
    np.testing.assert_allclose(Interpreter(data).predict(rows), quantized.predict(rows, verbose=0), rtol=1e-6)
    quantized.fake_quantization(False)
    expected = model.predict(rows, verbose=0)
    np.testing.assert_allclose(
        quantized.predict(rows, verbose=0), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )
    quantized.fake_quantization(True)


def test_a_sequential_net_becomes_a_verified_file_and_stays_as_it_was():
    model = small_net()
    before = [variable.numpy() for variable in model.variables]
    quantized = quantize_model(model, IMAGES)
    file_agrees(model, quantized, IMAGES)
    inner = tf_keras_model(quantized)
    assert names_of(inner.float_variables.variables) == [variable.path for variable in model.variables]
    assert names_of(inner.trainable_variables) == [variable.path for variable in model.trainable_variables]
    assert len(inner.losses) == len(model.losses) == 1
    quantized.compile("sgd", "sparse_categorical_crossentropy")
    quantized.fit(IMAGES, np.zeros(len(IMAGES)), verbose=0)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.variables, strict=True))


def test_what_is_no_keras_model_is_refused():
    with pytest.raises(ModelError, match=r"takes a Keras model first, not an? object: a keras.Model \(Keras 3"):
        quantize_model(object(), IMAGES)


def test_a_model_that_keras_has_quantized_is_refused_by_its_layers():
    model = images(layers.Flatten(), layers.Dense(4, name="head"))
    model.quantize("int8")
    with pytest.raises(ModelError, match=r"quantized by Keras already: head \(int8_from_float32\)"):
        quantize_model(model, IMAGES)


def test_another_backend_is_refused_with_what_to_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = {"model": small_net(), "keras": keras}
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(ModelError, match=r"jax backend .* set KERAS_BACKEND=tensorflow before Python") as told:
            quantize_model(made["model"], IMAGES)
    save, load = "model.save('model.keras')", "keras.models.load_model('model.keras')"
    assert save in str(told.value)
    assert load in str(told.value)
    exec(save, made)
    quantize_model(eval(load, made), IMAGES)


class Block(layers.Layer):
    """A layer of one's own, of other layers, a variable and `keras.ops`."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.norm = layers.Dense(units, name="inner"), layers.BatchNormalization(name="norm")

    def build(self, shape):
        self.inner.build(shape)
        self.norm.build((*shape[:-1], self.inner.units))
        self.scale = self.add_weight(shape=(self.inner.units,), initializer="ones", name="scale")

    def call(self, x, training=None):
        return ops.relu(self.norm(self.inner(x), training=training)) * self.scale


class Net(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.block, self.head = Block(6, name="block"), layers.Dense(2, name="head")

    def call(self, x, training=None):
        return {"logits": self.head(self.block(x, training=training)), "mean": ops.mean(x, axis=-1, keepdims=True)}


VECTORS = np.random.default_rng(1).normal(size=(32, 5)).astype(np.float32)


def called_once():
    model = Net(name="net")
    model(VECTORS[:1])
    return model


def nested():
    encoder = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4, name="dense"), Block(4, name="block")], name="encoder"
    )
    entries = [keras.Input((5,), name=name) for name in ("left", "right")]
    joined = ops.sqrt(ops.square(encoder(entries[0]) - encoder(entries[1])) + 0.1)
    return keras.Model(entries, [layers.Dense(2, name="head")(joined), joined])


def by_names():
    entries = {"wide": keras.Input((5,), name="wide"), "deep": keras.Input((5,), name="deep")}
    return keras.Model(entries, {"sum": layers.Dense(3, name="sum")(entries["wide"] + 2.0 * entries["deep"])})


@pytest.mark.parametrize("make", [called_once, nested, by_names])
def test_models_of_any_structure_are_read(make):
    model = make()
    count = len(getattr(model, "inputs", "1"))
    rows = [VECTORS, VECTORS[::-1].copy()][:count]
    given = {"wide": rows[0], "deep": rows[1]} if make is by_names else (rows if count > 1 else rows[0])
    quantized = quantize_model(model, given)
    quantized.fake_quantization(False)
    expected, found = model.predict(given, verbose=0), quantized.predict(given, verbose=0)
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), expected, found)
    assert [variable.shape for variable in quantized.trainable_variables] == [
        v.shape for v in model.trainable_variables
    ]
    variables = tf_keras_model(quantized).float_variables.variables
    assert names_of(variables) == [variable.path for variable in model.variables]


def test_a_median_asks_after_nan_which_no_code_is():
    entry = keras.Input((8, 8, 3))
    model = keras.Model(entry, layers.Dense(2)(ops.median(layers.Conv2D(4, 1)(entry), axis=1)))
    file_agrees(model, quantize_model(model, IMAGES), IMAGES)


def test_what_has_no_integer_form_is_named_as_the_model_names_it():
    entry = keras.Input((5,))
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(3, activation=ops.sin, name="waves")], name="inner")
    model = keras.Model(entry, inner(ops.sin(ops.arctan2(1.0, entry))))
    names = [operation.name for operation in model.operations]
    with pytest.raises(UnsupportedLayerError) as told:
        quantize_model(model, VECTORS)
    lines = [line.split(":")[0] for line in told.value.blockers]
    assert lines == [f"layer {names[1]!r}", f"layer {names[2]!r}", "layer 'inner/waves'"]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_mixed_model_is_quantized_in_float32(policy):
    entry = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, dtype=policy)(entry)
    x = layers.GlobalAveragePooling2D(dtype=policy)(layers.BatchNormalization(dtype=policy)(x))
    model = keras.Model(entry, layers.Dense(3, dtype="float32")(x))
    quantized = quantize_model(model, IMAGES)
    assert {variable.dtype.name for variable in tf_keras_model(quantized).trainable_variables} == {"float32"}
    assert quantized.predict(IMAGES, verbose=0).dtype == np.float32
    assert verify(convert(quantized)).integer_only


def test_an_open_size_is_said_in_code_of_keras_3_that_works():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3), layers.GlobalMaxPooling2D()])
    with pytest.raises(ModelError, match=r"entry = keras.Input\(\(h, w, 3\)\); keras.Model\(entry, model\(entry\)\)"):
        quantize_model(model, IMAGES)


def test_a_subclassed_model_that_was_never_called_is_refused():
    with pytest.raises(ModelError, match=r"must be called once, .*entry = keras.Input\(shape\)"):
        quantize_model(Net(), VECTORS)


def test_what_looks_up_is_refused_with_the_cut_to_make():
    entry = keras.Input((4,), dtype="int32", name="ids")
    found = layers.IntegerLookup(vocabulary=[3, 1, 4], name="lookup")(entry)
    model = keras.Model(entry, layers.Dense(2)(layers.Flatten()(layers.Embedding(5, 3)(found))))
    ids = np.random.default_rng(0).integers(0, 6, (32, 4)).astype(np.int32)
    with pytest.raises(UnsupportedLayerError, match="IntegerLookup of 4 entries") as told:
        quantize_model(model, ids)
    before, behind = str(told.value).split("becomes the file:\n")[1].split("\n")
    made = {"keras": keras, "model": model}
    exec(f"{before.strip()}\n{behind.strip()}", made)
    quantized = quantize_model(made["model"], made["before"].predict(ids, verbose=0))
    assert quantized.output_shape == (None, 2)
