"""The gradients of grouped and dilated convolutions, against those of the convolution that says the same in full."""

import numpy as np
import pytest
import tensorflow as tf

from qat.quantization.ir.convolution import convolve

RNG = np.random.default_rng(0)


def dense_kernel(kernel, dilation, groups):
    """The ungrouped kernel with zeros between its entries."""
    height, width, inputs, outputs = kernel.shape
    full = np.zeros((*(dilation * (size - 1) + 1 for size in (height, width)), inputs * groups, outputs), np.float32)
    for group in range(groups):
        mine = slice(group * outputs // groups, (group + 1) * outputs // groups)
        full[::dilation, ::dilation, group * inputs : (group + 1) * inputs, mine] = kernel[..., mine]
    return full


@pytest.mark.parametrize("padding", ["SAME", "VALID", [[0, 0], [1, 2], [0, 1], [0, 0]]])
@pytest.mark.parametrize(("dilation", "groups"), [(2, 1), (1, 3), (2, 3)])
def test_the_gradient_is_that_of_the_convolution_in_full(dilation, groups, padding):
    x = tf.constant(RNG.normal(size=(2, 8, 8, 6)).astype(np.float32))
    kernel = tf.constant(RNG.normal(size=(3, 2, 6 // groups, 6)).astype(np.float32))

    def differentiate(run, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            loss = tf.reduce_sum(run(kernel) ** 2)
        return tape.gradient(loss, [x, kernel])

    found = differentiate(lambda k: convolve(x, k, 1, padding, dilation), kernel)
    full = tf.constant(dense_kernel(kernel.numpy(), dilation, groups))
    expected = differentiate(lambda k: tf.nn.conv2d(x, k, 1, padding), full)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-3, atol=1e-3)
    mask = dense_kernel(np.ones_like(kernel), dilation, groups) > 0
    np.testing.assert_allclose(
        dense_kernel(found[1].numpy(), dilation, groups)[mask], expected[1].numpy()[mask], 1e-3, 1e-3
    )
