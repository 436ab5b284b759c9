"""Activations, recognised in their ops."""

import numpy as np
import pytest
import tensorflow as tf
from tf_keras import layers

from qat.quantization.rewrites import activations, arithmetic

from .acting import Case, check, flat, image

CASES = [
    Case(activations.gelu, flat(tf.nn.gelu), gone=("tf:Erf", "tf:Erfc"), there=("gelu",)),
    Case(activations.gelu, flat(lambda x: tf.nn.gelu(x, approximate=True)), gone=("tanh",), there=("gelu",)),
    Case(activations.gelu, flat(lambda x: 0.5 * x * (1.0 + tf.math.erf(x / 2**0.5))), gone=("tf:Erf",)),
    Case(activations.gelu, flat(lambda x: x * (0.5 * (1.0 + tf.math.erf(x / 2**0.5)))), gone=("tf:Erf",)),
    Case(activations.prelu, image(layers.PReLU(shared_axes=[1, 2])), gone=("relu",), there=("prelu",)),
    Case(
        activations.slope_relu,
        flat(lambda x: tf.nn.relu(x) - 0.2 * tf.nn.relu(-x)),
        gone=("relu",),
        there=("leaky_relu",),
    ),
    Case(
        activations.relu_without_slope,
        flat(lambda x: tf.nn.leaky_relu(x, 0.0)),
        gone=("leaky_relu",),
        there=("relu",),
    ),
    Case(activations.leaky_maximum, flat(lambda x: tf.maximum(0.3 * x, x)), gone=("maximum",), there=("leaky_relu",)),
    Case(activations.clamp_before_factor, flat(lambda x: tf.clip_by_value(1e4 * x + 0.5, 0.0, 1.0)), gone=("relu",)),
    Case(
        activations.clamp_before_factor, flat(lambda x: tf.clip_by_value(-1e4 * x, -1.0, 1.0)), there=("clamp", "mul")
    ),
    Case(activations.relu_times_sixth, flat(lambda x: x * tf.nn.relu6(x + 3.0) / 6.0), there=("relu6", "mul")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)


def test_a_square_in_the_place_of_the_cube_is_no_gelu():
    def almost(x):
        return 0.5 * x * (1.0 + tf.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * tf.pow(x, 2.0))))

    check(Case(arithmetic.power, flat(almost), gone=("tf:Pow", "gelu")))
