"""Two traces of a model are compared layer by layer: what differs is found, and what a program may read is known."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.importing.call_programs import calls, sources_of, tensors_at
from qat.quantization.importing.call_signatures import Signatures, find_different
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.layer_calls import LayerCall
from qat.quantization.importing.layer_handlers import readers
from qat.quantization.importing.trace import trace
from qat.quantization.importing.tracer import argument
from qat.quantization.ir.program import NotExtractableError


class Turned(layers.Layer):
    def call(self, x, training=None):
        a, b = tf.split(x, 2, axis=-1)
        return a - b if training else b - a


class Sampled(layers.Layer):
    """Its inner layer is called in both modes; training alone reads what it gives."""

    def __init__(self, **options):
        super().__init__(**options)
        self.spread = layers.Dense(4, name="spread")

    def call(self, x, training=None):
        spread = self.spread(x)
        return x + tf.exp(spread) if training else x


class Late(layers.Layer):
    """What training makes is read behind another inner layer, by one that is called in both modes."""

    def __init__(self, chosen=False, **options):
        super().__init__(**options)
        self.norm, self.other, self.sum = layers.LayerNormalization(), layers.Dense(4), layers.Add(name="sum")
        self.chosen = chosen

    def call(self, x, training=None):
        made = x * 3.0 if training and not self.chosen else x
        normal, other = self.norm(x), self.other(x)
        return self.sum([other if training and self.chosen else made, normal])


def traces(layer):
    entry = tf_keras.Input((4,))
    model = tf_keras.Model(entry, layers.Dense(2)(layer(layers.Dense(4)(entry))))
    table = readers(version_of(model))
    return [trace(model, table, training=mode) for mode in (False, True)]


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (Turned(name="turned"), ["turned"]),
        (layers.ReLU(name="kept"), []),
        (Sampled(name="sampled"), ["sampled"]),
        (Late(name="late"), ["late"]),
        (Late(chosen=True, name="chosen"), ["chosen"]),
    ],
)
def test_only_a_layer_that_computes_something_else_in_training_differs(layer, found):
    inferred, trained = traces(layer)
    keys = {call.key for call in calls(inferred.call)}
    one, other = Signatures(inferred, keys), Signatures(trained, keys)
    different = find_different(one, other, inferred.call, trained.call)
    assert [call.key[0].rsplit("/", 1)[-1] for call, _, parts in different if parts] == found


def test_what_a_call_reads_has_a_place_in_the_other_trace():
    inferred, trained = traces(Turned(name="turned"))
    places = list(sources_of(inferred.call, inferred.call.children).values())
    assert len(tensors_at(places, trained.call)) == len(places) > 0
    with pytest.raises(NotExtractableError, match="'alone' is called in training alone"):
        tensors_at([("child", ("alone", 0), 0)], trained.call)


def test_a_layer_is_called_on_its_first_argument_under_whatever_name():
    assert argument((1, 2), {"mask": 3}) == 1
    assert argument((), {"sequences": 3, "mask": 4}) == 3


def test_each_call_holds_the_calls_inside_of_it():
    inner = tf_keras.Sequential([layers.Dense(2, name="dense")], name="inner")
    entry = tf_keras.Input((4,))
    model = tf_keras.Model(entry, inner(inner(layers.Dense(4)(entry)[:, :4])[:, :1] * tf.ones((1, 4))), name="outer")
    root = trace(model, readers(version_of(model))).call
    assert isinstance(root, LayerCall)
    assert [call.key for call in calls(root) if "inner" in call.key[0]] == [
        ("outer/inner", 0),
        ("outer/inner/dense", 0),
        ("outer/inner", 1),
        ("outer/inner/dense", 1),
    ]


@pytest.mark.parametrize("chosen", [False, True])
def test_what_training_makes_for_a_layer_behind_another_one_is_kept(chosen):
    entry = tf_keras.Input((4,))
    model = tf_keras.Model(entry, layers.Dense(2)(Late(chosen=chosen)(entry)))
    rows = np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32)
    quantized = quantize_model(model, rows)
    quantized.fake_quantization(False)
    np.testing.assert_allclose(quantized(rows, training=True), model(rows, training=True), rtol=1e-4, atol=1e-5)
