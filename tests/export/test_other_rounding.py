"""Where a file's kernels round otherwise than the model, for a reason that is known, the codes that differ are said."""

import re
import warnings

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.quantization import quantize_model
from qat.quantization.keras.check_rows import check_rows
from qat.tflite import Interpreter, convert


def decoder():
    tf_keras.utils.set_random_seed(1)
    upwards = [layers.Conv2DTranspose(8, 3, 2, "same", activation="relu", name=f"up_{i}") for i in range(3)]
    return tf_keras.Sequential([tf_keras.Input((4, 4, 3)), *upwards])


def rows(size):
    return np.random.default_rng(0).standard_normal((120, size, size, 3)).astype(np.float32)


def distances(model, file):
    """Between the codes of the two on the rows that `convert` looks at."""
    (seen,) = check_rows(model)
    found = np.concatenate([file.predict(row[None]) for row in seen])
    return np.rint(np.abs(found - model.predict(seen, verbose=0)) / file.outputs[0].scales[0])


def said(model, **options):
    """What `convert` says, and the distances of the codes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        content = convert(model, **options)
    return [str(each.message) for each in caught], distances(model, Interpreter(content)), content


def test_transposed_convolutions_of_a_fixed_batch_are_said_with_the_codes_that_differ():
    model = quantize_model(decoder(), rows(4))
    (text,), apart, content = said(model, batch_size=1)
    differing, all_codes, farthest = map(int, re.match(r"(\d+) of (\d+) .* the farthest (\d+) away", text).groups())
    assert 0 < differing == np.count_nonzero(apart)
    assert (all_codes, farthest) == (apart.size, apart.max())
    assert "up_0, up_1, up_2" in text
    assert not distances(model, Interpreter(content, delegate=False)).any()  # "as LiteRT's own kernels do"


def test_what_it_advises_gives_the_models_codes():
    messages, apart, _ = said(quantize_model(decoder(), rows(4)), batch_size=None)
    assert not messages
    assert not apart.any()


def test_a_fixed_batch_of_other_layers_goes_without_a_word():
    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential([tf_keras.Input((6, 6, 3)), layers.Conv2D(8, 3), layers.GlobalMaxPool2D()])
    messages, apart, _ = said(quantize_model(model, rows(6)), batch_size=2)
    assert not messages
    assert not apart.any()


@pytest.mark.parametrize("low_bit", [False, None])
def test_four_bits_stored_as_eight_are_said(low_bit):
    tf_keras.utils.set_random_seed(1)
    stack = [
        layers.DepthwiseConv2D(3, depth_multiplier=4),
        *(layers.Conv2D(16, 3, activation="relu") for _ in range(3)),
    ]
    model = quantize_model(
        tf_keras.Sequential([tf_keras.Input((12, 12, 3)), *stack]),
        rows(12),
        config=QuantConfig(name="qat_w4a8", weight_bits=4),
    )
    messages, apart, _ = said(model, low_bit=low_bit)
    assert bool(messages) == bool(apart.any()) == (low_bit is False)
    assert all("low_bit=False stores weights of 4 bits as int8" in text for text in messages)
