"""Patches, running sums, diagonals and their like; questions about infinities and signs."""

import numpy as np
import pytest
import tensorflow as tf

from qat.quantization.rewrites import diagonals, scatters, special_values, windows

from .acting import Case, check, flat, image


def patches(size, stride, padding):
    return image(lambda x: tf.image.extract_patches(x, [1, *size, 1], [1, *stride, 1], [1] * 4, padding))


def response(beta):
    return image(lambda x: tf.nn.local_response_normalization(x, 1, 1.0, 0.1, beta))


def without_infinity(x):
    return tf.where(tf.math.is_inf(x) & (x > 0.0), 1e4, x)


def smallest_as_keras3_finds_it(x):
    """The place of the smallest number, of which -0.0 is smaller than 0."""
    is_negative = tf.bitwise.bitwise_and(tf.bitcast(x, tf.int32), tf.int32.min) < 0
    x = tf.where(tf.logical_and(x == 0.0, is_negative), -np.finfo(np.float32).tiny, x)
    return tf.argmin(x, axis=-1, output_type=tf.int32)


def with_diagonal(x):
    return tf.linalg.set_diag(x[:, :, None] * x[:, None], 2.0 * x)


def scattered(x):
    return tf.transpose(tf.scatter_nd([[4], [0]], tf.transpose(x)[1:3], (5, tf.shape(x)[0])))


def scattered_in_two_axes(x):
    by_place = tf.transpose(x[:, :2, 0], (1, 0, 2))
    sizes = (3, 2, tf.shape(x)[0], x.shape[-1])
    return tf.transpose(tf.scatter_nd([[2, 1], [0, 0]], by_place, sizes), (2, 0, 1, 3))


def scattered_over(x):
    rows = tf.transpose(x, (1, 0, 2, 3))
    return tf.transpose(tf.tensor_scatter_nd_update(rows, [[3], [1]], -2.0 * rows[:2]), (1, 0, 2, 3))


def scattered_upon(x):
    rows = tf.transpose(x, (1, 0, 2, 3))
    return tf.transpose(tf.tensor_scatter_nd_add(rows, [[3], [1]], rows[:2]), (1, 0, 2, 3))


def scattered_from(x):
    rows = tf.transpose(x, (1, 0, 2, 3))
    return tf.transpose(tf.tensor_scatter_nd_sub(rows, [[3], [1]], rows[:2]), (1, 0, 2, 3))


def scattered_over_zeros(x):
    rows = tf.transpose(x, (1, 2, 3, 0))
    return tf.transpose(tf.tensor_scatter_nd_update(tf.zeros_like(rows), [[3], [1]], rows[:2]), (3, 0, 1, 2))


CASES = [
    Case(diagonals.diagonal, image(lambda x: tf.linalg.diag_part(x[:, :, 1:])), gone=("tf:MatrixDiagPartV3",)),
    Case(diagonals.matrix_with_diagonal, flat(tf.linalg.diag), gone=("tf:MatrixDiagV3",), there=("select",)),
    Case(diagonals.matrix_with_diagonal, flat(with_diagonal), gone=("tf:MatrixSetDiagV3",), there=("select",)),
    Case(diagonals.cross_product, flat(lambda x: tf.linalg.cross(x[:, :3], x[:, 3:6])), gone=("tf:Cross",)),
    Case(scatters.scatter, flat(scattered), gone=("tf:ScatterNd",), there=("gather_constant",)),
    Case(scatters.scatter, image(scattered_in_two_axes), gone=("tf:ScatterNd",)),
    Case(scatters.scatter_sum, image(scattered_upon), gone=("tf:TensorScatterAdd",), there=("add",)),
    Case(scatters.scatter_sum, image(scattered_from), gone=("tf:TensorScatterSub",), there=("sub",)),
    Case(scatters.scatter_update, image(scattered_over_zeros), gone=("tf:TensorScatterUpdate",), there=("pad",)),
    Case(scatters.scatter_update, image(scattered_over), gone=("tf:TensorScatterUpdate",), there=("concat",)),
    Case(windows.patches, patches((3, 3), (3, 3), "VALID"), there=("space_to_depth",)),
    Case(windows.patches, patches((3, 2), (1, 2), "SAME"), gone=("extract_patches",), there=("conv2d",)),
    Case(windows.patches, patches((14, 13), (2, 3), "SAME"), gone=("extract_patches",), there=("gather_constant",)),
    *[Case(windows.local_response, response(beta), gone=("local_response",)) for beta in (0.5, 0.75, 1.0)],
    *[
        Case(windows.running_sum, image(lambda x, e=e, r=r: tf.cumsum(x, 2, e, r)), gone=("running_sum",))
        for e in (False, True)
        for r in (False, True)
    ],
    *[
        Case(windows.running_mean, image(build), gone=("running_sum", "mul", "div"), there=("dense",))
        for build in (
            lambda x: tf.cumsum(x, 1) / np.arange(1, 7, dtype=np.float32)[:, None, None],
            lambda x: np.linspace(0.1, 1, 6, dtype=np.float32)[:, None] * tf.cumsum(x, 2, reverse=True),
        )
    ],
    Case(windows.roll, image(lambda x: tf.roll(x, [2, -1], [1, 2])), gone=("roll",), there=("concat",)),
    Case(special_values.finite, flat(lambda x: tf.where(tf.math.is_finite(x), x, tf.zeros_like(x))), gone=("select",)),
    Case(special_values.finite, flat(without_infinity), gone=("select",)),
    Case(
        special_values.finite,
        flat(lambda x: tf.where(tf.reduce_any(tf.math.is_nan(x), -1, keepdims=True), np.nan, tf.sort(x))),
        gone=("select", "tf:IsNan"),
    ),
    Case(special_values.finite, flat(lambda x: tf.reduce_logsumexp(x, -1, keepdims=True)), gone=("tf:IsFinite",)),
    Case(special_values.without_negative_zero, flat(smallest_as_keras3_finds_it), gone=("tf:BitwiseAnd", "select")),
    Case(special_values.sign, flat(tf.sign), gone=("tf:Sign",), there=("greater", "less")),
    *[
        Case(
            special_values.running_product,
            flat(lambda x, e=e, r=r: tf.math.cumprod(tf.sigmoid(x), -1, e, r)),
            gone=("running_product",),
        )
        for e in (False, True)
        for r in (False, True)
    ],
    Case(special_values.running_product, flat(lambda x: x + tf.math.cumprod(x[:, :1], -1, True))),
    Case(special_values.hyperbolic, flat(lambda x: tf.cosh(x) - 0.5 * tf.sinh(x)), gone=("tf:Cosh", "tf:Sinh")),
    Case(
        special_values.product_with_logarithm,
        flat(lambda x: tf.math.xlogy(tf.nn.relu(x), tf.sigmoid(x))),
        gone=("tf:Xlogy",),
    ),
    Case(special_values.contrast, image(lambda x: tf.image.adjust_contrast(x, 1.5)), gone=("tf:AdjustContrastv2",)),
    Case(
        special_values.euclidean_norm,
        flat(lambda x: tf.math.reduce_euclidean_norm(x, -1, keepdims=True)),
        gone=("euclidean_norm",),
    ),
    Case(special_values.product_along_axis, flat(lambda x: tf.reduce_prod(x[:, :3], -1)), gone=("product",)),
    Case(
        special_values.division_without_nan,
        flat(lambda x: tf.math.divide_no_nan(x, tf.nn.relu(x))),
        gone=("tf:DivNoNan",),
        there=("div", "select"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)
