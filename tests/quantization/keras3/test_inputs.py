"""What Keras 3 models and their layers are called on: lists, tuples and dictionaries of inputs, and variables.

See `qat.quantization.importing.keras3` and `qat.quantization.importing.model_inputs`.
"""

from collections import namedtuple

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from keras import layers, ops

from qat.errors import ModelError, TrainingSemanticsWarning
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

RANDOM = np.random.default_rng(0)
A, B = (RANDOM.normal(size=(128, 6)).astype(np.float32) for _ in range(2))
Pair = namedtuple("Pair", ["first", "second"])


class Two(keras.Model):
    """What it is given is a list, a tuple or a dictionary of two."""

    def __init__(self, **options):
        super().__init__(**options)
        self.left, self.right = layers.Dense(3, name="left"), layers.Dense(3, name="right")

    def call(self, given, training=None):
        left, right = (given["a"], given["b"]) if isinstance(given, dict) else given
        return self.left(left) - self.right(right)


GIVEN = {"list": [A, B], "tuple": (A, B), "named tuple": Pair(A, B), "dictionary": {"a": A, "b": B}}


def computes_as(model, quantized, given):
    """Without rounding it is the float model; its file is integer-only and gives what it gives."""
    flat = tf.nest.flatten(given)
    rows = given if isinstance(given, dict) else flat
    quantized.fake_quantization(False)
    np.testing.assert_allclose(quantized.predict(given, verbose=0), model(given), rtol=1e-4, atol=1e-5)
    quantized.fake_quantization(True)
    data = convert(quantized)
    assert verify(data).integer_only
    np.testing.assert_allclose(Interpreter(data).predict(rows), quantized.predict(given, verbose=0), rtol=1e-6)


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_subclassed_model_takes_its_inputs_as_it_was_called(given):
    model = Two(name="two")
    model(tf.nest.map_structure(lambda values: values[:2], given))
    quantized = quantize_model(model, given if isinstance(given, dict) else list(given))
    quantized.compile("sgd", "mse")
    quantized.fit(given, A[:, :3], verbose=0)
    computes_as(quantized.to_float(), quantized, given)


def test_a_subclassed_model_that_was_fitted_to_a_list_is_taken():
    model = Two(name="two")
    model.compile("sgd", "mse")
    model.fit([A, B], A[:, :3], verbose=0)
    computes_as(model, quantize_model(model, [A, B]), [A, B])


class One(keras.Model):
    """Takes its one input out of a list, and asks for the places in it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = layers.Dense(3)

    def build(self, shapes):
        self.dense.build(shapes[0])

    def call(self, given):
        return self.dense(given[0])


def test_a_list_of_one_input_is_a_list_also_out_of_a_file(tmp_path):
    model = One(name="one")
    model([A[:2]])
    model.save(tmp_path / "one.keras")
    loaded = keras.models.load_model(tmp_path / "one.keras", custom_objects={"One": One})
    for each in (model, loaded):
        computes_as(each, quantize_model(each, A), [A])


@pytest.mark.parametrize("of", [keras, tf_keras])
def test_the_line_for_inputs_one_by_one_makes_a_model_that_quantizes(of):
    class Apart(of.Model):
        def __init__(self):
            super().__init__(name="apart")
            self.dense = of.layers.Dense(3)

        def call(self, left, right, scale=2.0):
            return self.dense(left) * self.dense(right) * scale

    model = Apart()
    model(A[:2], B[:2])
    with pytest.raises(ModelError, match=r"model 'apart' takes its inputs one by one \(left, right\)") as refused:
        quantize_model(model, [A, B])
    said = str(refused.value)
    entries, made = said[said.index("entries = ") :].split("; ")
    assert made == f"{of.__name__}.Model(entries, model(*entries))"
    names = {of.__name__: of, "shape_of_left": (6,), "shape_of_right": (6,), "model": model}
    exec(entries, names)
    made = eval(made, names)
    np.testing.assert_array_equal(made([A, B]), model(A, B))
    assert verify(convert(quantize_model(made, [A, B]))).integer_only


class Queries(layers.Layer):
    """Its inner layer is called on a variable."""

    def __init__(self, inner, **options):
        super().__init__(**options)
        self.inner = inner

    def build(self, shape):
        self.queries = self.add_weight(shape=(2, 3, 6), initializer="glorot_uniform", name="queries")
        self.inner.build((2, 3, 6))

    def call(self, x):
        found = ops.reshape(self.inner(self.queries), (-1, 6))
        return ops.matmul(x, ops.transpose(found, (1, 0)))


ON_VARIABLES = [
    layers.Dense(6, activation="relu"),
    layers.EinsumDense("abc,cd->abd", (None, 6)),
    layers.BatchNormalization(),
    layers.UnitNormalization(),
    layers.TimeDistributed(layers.Dense(6)),
    layers.LSTM(6, return_sequences=True),
]


@pytest.mark.parametrize("inner", ON_VARIABLES, ids=lambda layer: layer.name)
def test_a_layer_that_is_called_on_a_variable_is_read(inner):
    keras.utils.set_random_seed(1)
    entry = keras.Input((6,))
    model = keras.Model(entry, layers.Dense(2, name="head")(Queries(inner, name="queries")(entry)))
    quantized = quantize_model(model, A)
    assert [each.shape for each in quantized.trainable_variables] == [each.shape for each in model.trainable_variables]
    computes_as(model, quantized, A)


class AddIfGiven(layers.Layer):
    def call(self, x, more=None):
        return x if more is None else x + more


def test_an_input_that_may_be_none_is_said_and_left_out_as_the_warning_says():
    entry, more = keras.Input((6,)), keras.Input((3,), optional=True, name="more")
    dense, add = layers.Dense(3), AddIfGiven()
    model = keras.Model([entry, more], add(dense(entry), more), name="net")
    with pytest.warns(
        TrainingSemanticsWarning, match="model 'net': input 'more' is optional, .* make a model of the same layers"
    ):
        quantized = quantize_model(model, [A, B[:, :3]])
    computes_as(model, quantized, [A, B[:, :3]])
    without = keras.Model(entry, add(dense(entry)))
    assert [each.path for each in without.variables] == [each.path for each in model.variables]
    computes_as(without, quantize_model(without, A), A)


def test_inputs_and_outputs_may_have_the_name_of_the_graph():
    entry = keras.Input((6,), name="quantized_graph_1")
    model = keras.Model(entry, layers.Dense(3, name="quantized_graph")(entry))
    quantized = quantize_model(model, A)
    assert quantized.output_names == ["quantized_graph"]
    computes_as(model, quantized, A)
