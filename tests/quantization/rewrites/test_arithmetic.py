"""Arithmetic without an int8 kernel of its own."""

import pytest
import tensorflow as tf
from tf_keras import layers

from qat.quantization.rewrites import arithmetic

from .acting import Case, check, flat, image


def einsum_with_kernel(x):
    return tf.einsum("bhd,ehd->bhe", tf.reshape(x, (-1, 2, 4)), tf.ones((3, 2, 4)) / 3.0)


UNARY = {
    "tf:Selu": tf.nn.selu,
    "tf:Softplus": tf.nn.softplus,
    "tf:Softsign": tf.nn.softsign,
    "tf:Square": tf.square,
    "tf:Expm1": tf.math.expm1,
    "tf:Log1p": lambda x: tf.math.log1p(tf.abs(x)),
    "tf:Reciprocal": lambda x: tf.math.reciprocal(tf.abs(x) + 0.5),
    "neg": tf.negative,
}
CASES = [
    *[Case(arithmetic.unary, flat(function), gone=(op,)) for op, function in UNARY.items()],
    *[
        Case(arithmetic.power, flat(lambda x, p=p: tf.pow(tf.abs(x) + 0.5, p)), gone=("tf:Pow",))
        for p in (2.0, 3.0, 4.0, 0.5, -0.5, -1.0, 2.5)
    ],
    Case(arithmetic.power, flat(lambda x: tf.pow(2.0, x)), gone=("tf:Pow",), there=("exp",)),
    Case(arithmetic.division_by_constant, flat(lambda x: x / tf.constant([2.0, 4.0] * 4)), gone=("div",)),
    Case(arithmetic.fold_constants, flat(einsum_with_kernel), there=("batch_matmul",)),
    Case(
        arithmetic.chosen_by_mask, flat(lambda x: x * tf.cast(x > 0.5, tf.float32)), gone=("cast",), there=("select",)
    ),
    Case(arithmetic.cast_of_condition, flat(lambda x: 1.0 - tf.cast(x > 0.5, tf.float32)), gone=("cast",)),
    Case(arithmetic.reversal, image(lambda x: tf.reverse(x, [1, 2])), gone=("reverse",), there=("strided_slice",)),
    Case(
        arithmetic.comparison_for_equality,
        flat(lambda x: tf.where(tf.not_equal(x, tf.nn.relu(x)), x, 0.0)),
        gone=("not_equal",),
        there=("greater",),
    ),
    Case(arithmetic.without_empty_parts, image(lambda x: tf.concat(tf.split(x, [1, 0, 3], -1)[::2], -1))),
    Case(arithmetic.square_of_difference, flat(lambda x: tf.square(x - tf.tanh(x))), there=("squared_difference",)),
    Case(arithmetic.sum_with_itself, image(lambda x: tf.tanh(x) + tf.tanh(x)), gone=("add",), there=("mul",)),
    Case(arithmetic.sum_of_many, flat(lambda x: tf.add_n([x, x * 2.0, tf.tanh(x)])), gone=("tf:AddN",)),
    Case(arithmetic.division_by_root, flat(lambda x: x / tf.sqrt(x * x + 1.0)), gone=("div", "sqrt"), there=("rsqrt",)),
    Case(
        arithmetic.division_by_root,
        flat(lambda x: x / tf.maximum(tf.sqrt(x * x + 0.1), 0.5)),
        gone=("div", "sqrt"),
        there=("rsqrt",),
    ),
    Case(arithmetic.division_by_positive, flat(lambda x: x / (tf.abs(x) + 1.0)), gone=("div",), there=("rsqrt",)),
    Case(arithmetic.subtraction_of_constant, flat(lambda x: x - tf.constant([0.5] * 8)), gone=("sub",)),
    Case(arithmetic.clip, flat(lambda x: tf.clip_by_value(x, -1.0, 2.0)), gone=("tf:ClipByValue",), there=("clamp",)),
    Case(arithmetic.clip, flat(lambda x: tf.minimum(tf.maximum(x, 0.0), 6.0)), gone=("maximum",), there=("relu6",)),
    Case(arithmetic.clip, flat(layers.ReLU(max_value=4.0)), there=("clamp",)),
    Case(arithmetic.neutral, flat(lambda x: tf.reshape((x + 0.0) * 1.0, (-1, 8))), gone=("mul", "reshape")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)
