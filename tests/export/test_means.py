"""A mean is rounded on its own scale, whatever moves its values afterwards."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read

from ..small_models import images

MOVES = {
    "reshape and transpose": lambda x: layers.Permute((2, 1))(layers.Reshape((3, 4))(x)),
    "transpose and reshape": lambda x: layers.Reshape((2, 6))(layers.Permute((2, 1))(layers.Reshape((3, 4))(x))),
    "reshape": layers.Reshape((3, 4)),
}


@pytest.mark.medium
@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES)
def test_a_mean_that_is_moved_has_the_scale_that_was_trained_for_it(moves):
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((16, 16, 3), name="image")
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 3, activation="relu")(image))
    quantized = quantize_model(tf_keras.Model(image, moves(pooled)), images(128))
    content = convert(quantized)
    file = read(content)
    mean = next(op for op in file.ops if op.name == "MEAN")
    assert "QUANTIZE" not in [op.name for op in file.ops]
    before, after = (file.tensors[index].scales[0] for index in (mean.inputs[0], mean.outputs[0]))
    assert after == file.outputs[0].scales[0] < before
    inputs = images(40, seed=1)
    np.testing.assert_array_equal(
        Interpreter(content).predict(inputs), quantized.predict(inputs, verbose=0).astype(np.float32)
    )


def test_a_mean_that_something_else_reads_too_stays_as_it_is():
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((16, 16, 3), name="image")
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 3, activation="relu")(image))
    moved = layers.Permute((2, 1))(layers.Reshape((3, 4))(pooled))
    quantized = quantize_model(tf_keras.Model(image, [moved, layers.Dense(3)(pooled)]), images(128))
    file = read(convert(quantized))
    means = [op for op in file.ops if op.name == "MEAN"]
    grids = [file.tensors[index].scales for op in means for index in (op.inputs[0], op.outputs[0])]
    assert grids[0] != grids[1]  # the converter itself keeps it on its own here
    inputs = images(40, seed=1)
    found, expected = Interpreter(convert(quantized)).predict(inputs), quantized.predict(inputs, verbose=0)
    for a, b, tensor in zip(found, expected, file.outputs, strict=True):
        assert np.abs(a - b).max() < tensor.scales[0] / 2
