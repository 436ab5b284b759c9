"""Functions written by hand in exponentials."""

import numpy as np
import pytest
import tensorflow as tf
from tf_keras import layers

from qat.quantization.rewrites import exponentials

from .acting import Case, check, flat, raw

LOWER = np.tril(np.ones((8, 8), np.float32))
OF_SCORES = {"gone": ("exp", "sum"), "there": ("softmax",)}


def share(exponential, total):
    """exp(x), as it is changed, over its sum, as that is changed."""

    def divided(x):
        each = exponential(x)
        return each / total(each)

    return divided


def summed(x):
    return tf.reduce_sum(x, axis=-1, keepdims=True)


def less_largest(x):
    return tf.exp(x - tf.stop_gradient(tf.reduce_max(x, axis=-1, keepdims=True)))


def by_scores(x, each):
    return tf.reduce_sum(each * x, 1) / (tf.reduce_sum(each, 1) + 1e-7)


def by_distances(x):
    """Of rows that are far from all centres nothing is left: what is added decides."""
    each = tf.exp(-tf.reduce_sum(tf.square(x[:, tf.newaxis, :] - LOWER), axis=-1))
    return each / (summed(each) + 1e-6)


SOFTMAX = [
    flat(lambda x: tf.exp(x) / tf.reduce_sum(tf.exp(x), axis=-1, keepdims=True)),
    flat(lambda x: (1.0 / tf.reduce_sum(tf.exp(x), axis=1, keepdims=True)) * tf.exp(x)),
    flat(share(tf.exp, lambda each: summed(each) + 1e-7)),
    flat(share(tf.exp, lambda each: tf.maximum(summed(each), 1e-9))),
    flat(share(tf.exp, lambda each: tf.reduce_sum(each, axis=-1)[..., None])),
    flat(share(tf.exp, lambda each: tf.expand_dims(tf.reduce_sum(each, axis=1) + 1e-7, 1))),
    flat(lambda x: tf.math.divide_no_nan(tf.exp(x), summed(tf.exp(x)))),
    raw(share(tf.exp, lambda each: tf.reduce_sum(each, axis=1, keepdims=True)), (5, 3)),
]
MASKED = [
    flat(share(lambda x: tf.exp(x) * tf.cast(x > -1.0, tf.float32), lambda each: summed(each) + 1e-7)),
    flat(share(lambda x: tf.where(x > -1.0, tf.exp(x), 0.0), lambda each: summed(each) + 1e-7)),
    raw(share(lambda x: tf.exp(x) * LOWER[:5, :5], summed), (5, 5)),
]
CASES = [
    *(Case(exponentials.softmax_of_exponentials, build, **OF_SCORES) for build in SOFTMAX),
    *(Case(exponentials.softmax_of_exponentials, build, gone=("exp",), there=("masked",)) for build in MASKED),
    Case(exponentials.softmax_of_exponentials, flat(share(less_largest, summed)), gone=("reduce_max", "exp")),
    *(
        Case(exponentials.mean_of_exponential_weights, raw(pooled, (5, 3)), gone=("exp",), there=("softmax",))
        for pooled in (
            lambda x: tf.reduce_sum(x * tf.exp(x), 1) / tf.reduce_sum(tf.exp(x), 1),
            lambda x: by_scores(x, tf.exp(layers.Dense(1)(x))),
            lambda x: tf.reduce_sum(x * tf.exp(x), -1, keepdims=True) / tf.reduce_sum(tf.exp(x), -1, keepdims=True),
        )
    ),
    Case(
        exponentials.log_of_sum_of_exponentials, flat(lambda x: tf.math.log(summed(tf.exp(x)))), there=("reduce_max",)
    ),
    Case(
        exponentials.log_of_sum_of_exponentials,
        raw(lambda x: x - tf.math.log(tf.reduce_sum(tf.exp(x), 1))[:, tf.newaxis], (5, 3)),
        there=("reduce_max",),
    ),
    *(
        Case(exponentials.tanh_of_exponentials, flat(function), gone=("exp",), there=("tanh",))
        for function in (
            lambda x: (tf.exp(x) - tf.exp(-x)) / (tf.exp(x) + tf.exp(-x)),
            lambda x: (tf.exp(2.0 * x) - 1.0) / (tf.exp(2.0 * x) + 1.0),
            lambda x: (tf.exp(x) - 1.0) / (1.0 + tf.exp(x)),
            lambda x: (1.0 - tf.exp(-2.0 * x)) / (1.0 + tf.exp(-2.0 * x)),
            lambda x: tf.sinh(x) / tf.cosh(x),
        )
    ),
    *(
        Case(exponentials.sigmoid_of_exponential, flat(function), gone=("exp",), there=("sigmoid",))
        for function in (
            lambda x: 1.0 / (1.0 + tf.exp(-x)),
            lambda x: tf.exp(x) / (1.0 + tf.exp(x)),
            lambda x: x / (tf.exp(-x) + 1.0),
            lambda x: tf.ones((1, 1, 8)) / (tf.exp(-x) + 1.0),
            lambda x: 1.0 - 2.0 / (tf.exp(2.0 * x) + 1.0),
            lambda x: tf.math.reciprocal(1.0 + tf.exp(-x)),
        )
    ),
    Case(exponentials.softplus_of_exponential, flat(lambda x: tf.math.log1p(tf.exp(x))), gone=("exp",)),
    Case(exponentials.softplus_of_exponential, flat(lambda x: tf.math.log(1.0 + tf.exp(x))), gone=("exp",)),
    Case(exponentials.log_of_probabilities, flat(lambda x: tf.math.log(tf.nn.softmax(x))), there=("log_softmax",)),
    Case(exponentials.log_of_probabilities, flat(lambda x: tf.math.log(tf.sigmoid(x))), gone=("sigmoid",)),
    *(
        Case(exponentials.log_of_probabilities, raw(function, (5, 3)), gone=("softmax",), there=("log_softmax",))
        for function in (
            lambda x: tf.math.log(tf.nn.softmax(x, axis=1)),
            lambda x: tf.math.log(tf.nn.softmax(x) + 1e-7),
            lambda x: tf.math.log(tf.maximum(tf.nn.softmax(x), 1e-4)),
            lambda x: tf.math.log(tf.clip_by_value(tf.nn.softmax(x, axis=1), 1e-7, 1.0 - 1e-7)),
        )
    ),
    Case(
        exponentials.exponential_of_log_softmax,
        flat(lambda x: tf.exp(tf.nn.log_softmax(x))),
        gone=("exp",),
        there=("softmax",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)


@pytest.mark.parametrize(("rewrite", "function"), [
    (exponentials.softmax_of_exponentials, share(tf.exp, lambda each: summed(each) + 0.1)),
    (exponentials.softmax_of_exponentials, by_distances),
    (exponentials.softmax_of_exponentials, share(tf.exp, lambda each: summed(tf.abs(each - 2.0)))),
    (exponentials.softmax_of_exponentials, lambda x: tf.exp(x) / summed(tf.exp(2.0 * x))),
    (exponentials.softmax_of_exponentials, share(lambda x: tf.exp(x) * np.linspace(0, 1, 8, dtype="f"), summed)),
    (exponentials.tanh_of_exponentials, lambda x: (tf.exp(2.0 * x) - 1.0) / (tf.exp(x) + 1.0)),
    (exponentials.tanh_of_exponentials, lambda x: (tf.exp(x) - tf.exp(-2.0 * x)) / (tf.exp(x) + tf.exp(-x))),
    (exponentials.sigmoid_of_exponential, lambda x: 1.0 / (1.5 + tf.exp(-x))),
    (exponentials.softplus_of_exponential, lambda x: tf.math.log(1.0 + tf.exp(-tf.abs(x)))),
    (exponentials.log_of_sum_of_exponentials, lambda x: tf.math.log(summed(less_largest(x)))),
    (exponentials.log_of_probabilities, lambda x: tf.math.log(tf.nn.softmax(x) + 0.5)),
    (exponentials.mean_of_exponential_weights, lambda x: summed(x * tf.exp(x)) / summed(tf.exp(2.0 * x))),
    (exponentials.mean_of_exponential_weights, lambda x: summed(x * tf.exp(-x * x)) / (summed(tf.exp(-x * x)) + 1e-6)),
])  # fmt: skip
def test_what_is_nearly_so_stays(rewrite, function):
    with pytest.raises(AssertionError, match="left the graph as it was"):
        check(Case(rewrite, flat(function)))
