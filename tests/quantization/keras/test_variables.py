"""The copies of the float model's variables, as checkpoints know them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model


def quantized(rows: np.ndarray) -> tf_keras.Model:
    """Of layers whose names Keras chooses, others each time."""
    entry = tf_keras.Input((4,))
    x = layers.BatchNormalization()(layers.Dense(5)(entry))
    return quantize_model(tf_keras.Model(entry, layers.Dense(3)(layers.LSTM(4)(layers.Reshape((5, 1))(x)))), rows)


@pytest.mark.medium
def test_a_checkpoint_is_restored_into_layers_of_other_names(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(128, 4)).astype("float32")
    saved, other = quantized(rows), quantized(rows * 2)
    tf.train.Checkpoint(model=saved).write(str(tmp_path / "kept"))
    tf.train.Checkpoint(model=other).read(str(tmp_path / "kept")).assert_existing_objects_matched()
    assert all(np.array_equal(*pair) for pair in zip(saved.get_weights(), other.get_weights(), strict=True))


def test_a_layer_of_variables_has_them_by_the_names_that_the_float_layer_knows() -> None:
    entry = tf_keras.Input((4,))
    model = quantize_model(
        tf_keras.Model(entry, layers.Dense(3, name="head")(entry)), np.random.default_rng(0).normal(size=(128, 4))
    )
    head = model.get_layer("head")  # an output of the model, too
    assert head.output is model.output
    assert head.kernel is model.trainable_variables[0]
    assert head.bias is model.trainable_variables[1]
    with pytest.raises(AttributeError, match="has no 'units', but the layer's variables: kernel, bias"):
        head.units  # noqa: B018
    head.trainable = False
    assert model.trainable_variables == []
