"""Whole numbers that travel as floats are integers again, and what they look up is the table of a lookup."""

import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization.rewrites import token_ids

from .acting import Case, check


def whole_pixels(function):
    """A model of `function` on float inputs that hold integers, 0..255."""

    def build():
        entry = tf_keras.Input((6,), name="pixels")
        return tf_keras.Model(entry, function(entry))

    return build


def there_and_back():
    ids = tf_keras.Input((6,), dtype="int32", name="ids")
    text = tf_keras.Sequential([layers.Embedding(20, 4, input_length=6), layers.GlobalAveragePooling1D()])
    return tf_keras.Model(ids, text(ids))


def masked(entry):
    return layers.LSTM(3)(layers.Embedding(256, 4, mask_zero=True)(entry))


def two_tables(entry):
    return layers.Add()([layers.Embedding(256, 4)(entry[:, :3]), layers.Embedding(256, 4)(entry[:, 3:])])


class Factored(layers.Layer):
    """A table that is the product of two, as that of low rank is; its rows lie along `axis`."""

    def __init__(self, axis, **options):
        super().__init__(**options)
        self.axis = axis

    def build(self, shape):
        self.left, self.right = (self.add_weight(name, each) for name, each in (("a", (256, 2)), ("b", (2, 256))))

    def call(self, ids):
        return tf.gather(tf.matmul(self.left, self.right), ids, axis=self.axis)


def by_a_product(axis):
    def build():
        ids = tf_keras.Input((6,), dtype="int32", name="ids")
        return tf_keras.Model(ids, Factored(axis)(ids))

    return build


CASES = [
    Case(token_ids.lookup, by_a_product(0), gone=("gather",), there=("embedding",)),
    Case(token_ids.lookup, by_a_product(1), gone=("gather",), there=("embedding", "transpose")),
    Case(token_ids.integer_inputs, whole_pixels(layers.Embedding(256, 4)), gone=("cast",)),
    Case(token_ids.integer_inputs, whole_pixels(masked), gone=("cast",)),
    Case(token_ids.integer_inputs, whole_pixels(two_tables), gone=("cast",)),
    Case(token_ids.integer_inputs, there_and_back, gone=("cast",)),
]


@pytest.mark.medium
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)
