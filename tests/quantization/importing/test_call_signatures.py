"""Two traces of a model are compared layer by layer: what differs is found, and what a program may read is known."""

import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

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
