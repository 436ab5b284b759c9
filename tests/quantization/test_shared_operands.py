"""Ops that want all operands on one scale, between tensors that others read as well; comparisons; clamps."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import ModelError
from qat.export.layer_parity import layer_parity
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read, verify

from .zoo.drawing import draw
from .zoo.normalizations import LayerScale

LEVELS = np.float32([-0.2, 0.1, 0.3, 0.4])


def _two(image):
    return layers.Conv2D(4, 3)(image), 3.0 * layers.Conv2D(4, 3)(image)


def _stacked(image):
    x, y = _two(image)
    both = tf.reshape(tf.stack([x, y], axis=1), (-1, 12, 6, 4))
    return [layers.Conv2D(3, 1)(both), layers.Conv2D(2, 1)(x), layers.Conv2D(2, 1)(y)]


def _larger(image):
    x, y = _two(image)
    return [layers.Conv2D(3, 1)(tf.maximum(x, y)), layers.Conv2D(2, 1)(x)]


def _leaking(image):
    x, _ = _two(image)
    return layers.Conv2D(3, 1)(tf.where(x > 0.0, x, 0.1 * x))


def _thresholded(image):
    return layers.Conv2D(3, 1)(layers.ReLU(threshold=0.3)(layers.Conv2D(4, 3)(image)))


def _tiny(image):
    x, y = (0.01 * tensor for tensor in _two(image))
    return layers.Conv2D(3, 1)(tf.where(x < y, x, tf.sigmoid(y)))


def _zeroed(image):
    """A constant operand, beside what has its scale from a stack alone."""
    x, y = _two(image)
    both = tf.stack([tf.nn.relu(x), tf.nn.relu(x)], axis=1)
    return tf.where(tf.expand_dims(y, 1) > 0.0, both, tf.zeros((1, 1, 6, 6, 4)))


def _clipped(image):
    return layers.Conv2D(3, 1)(tf.clip_by_value(layers.Conv2D(4, 3)(image), -1.0, 1.0))


def _clipped_beside(image):
    """A clip of what others read unclipped, right behind it, behind a move of it and behind an average of it."""
    x, y = _two(image)
    clipped = tf.clip_by_value(x, -0.5, 0.5), tf.clip_by_value(tf.transpose(y, [0, 2, 1, 3]), -0.5, 0.5)
    smooth = tf.clip_by_value(layers.AveragePooling2D(2)(x), -0.3, 0.3)
    return [layers.Conv2D(2, 1)(each) for each in (x, y, *clipped, smooth)]


def _clipped_halves(image):
    """A clip of a concatenation whose parts are on one range that others read."""
    x, _ = _two(image)
    first, second = tf.split(x, 2, -1)
    return [layers.Conv2D(2, 1)(x), layers.Conv2D(2, 1)(tf.clip_by_value(tf.concat([second, first], -1), -0.5, 0.5))]


def _joined_twice(image):
    x, y = _two(image)
    clipped = tf.clip_by_value(0.5 * x, 0.0, 1.0)
    return layers.Conv2D(3, 1)(tf.concat([y, clipped, clipped], -1))


def _filled(image):
    """Padding beyond all that is padded, of a range that is given and of one that is not."""
    x, _ = _two(image)
    edges = [[0, 0], [1, 1], [1, 1], [0, 0]]
    padded = tf.pad(0.1 * x, edges, constant_values=2.0), tf.pad(tf.sigmoid(x), edges, constant_values=-1.0)
    return [layers.Conv2D(2, 1)(each) for each in padded]


def _slopes_beside(image):
    """Two PReLU and a ReLU of one tensor, whose common parts the converter joins."""
    x, y = _two(image)
    sloped = [layers.PReLU("uniform", shared_axes=[1, 2])(x) for _ in range(2)]
    alone = layers.PReLU("uniform")(y)
    return [layers.Conv2D(2, 1)(each) for each in (*sloped, alone, tf.nn.relu(x))]


def _products_of_moved(image):
    """Matrix products of what is read elsewhere, before it is moved and after."""
    x, _ = _two(image)
    pooled = layers.MaxPooling2D(2)(x)
    rows = tf.reshape(pooled, (-1, 9, 4))
    clipped = tf.reshape(tf.clip_by_value(x, -0.5, 0.5), (-1, 36, 4))
    scores = tf.nn.softmax(tf.matmul(rows, rows, transpose_b=True))
    products = tf.matmul(scores, rows), tf.matmul(clipped, rows, transpose_b=True)
    return [layers.Conv2D(2, 1)(x), layers.Conv2D(2, 1)(pooled), *products]


def _clips_of_what_is_averaged(image):
    """A clip of a concatenation of an average with what others read, and of padding of an average."""
    x, y = _two(image)
    smooth = layers.AveragePooling2D(3, 1, padding="same")(y)
    joined = tf.clip_by_value(tf.concat([smooth, x], -1), -0.4, 0.4)
    padded = tf.pad(layers.AveragePooling2D(2)(3.0 * x), [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=0.5)
    return [layers.Conv2D(2, 1)(each) for each in (x, joined, tf.clip_by_value(padded, -0.3, 0.7))]


def _padded_below(image):
    """A number that comes out, behind a maximum along another axis and at the model's output."""
    x, y = _two(image)
    edges = [[0, 0], [1, 1], [1, 1], [0, 0]]
    far = tf.pad(x, edges, constant_values=-30.0)
    return [far, layers.Conv2D(2, 1)(tf.reduce_max(tf.pad(y, edges, constant_values=-20.0), -1, keepdims=True))]


def _padded_state(image):
    """The state of an LSTM keeps its range, whatever is padded and cut behind it."""
    rows = layers.LSTM(4, return_sequences=True)(layers.Reshape((8, 24))(image))
    return tf.maximum(tf.pad(rows, [[0, 0], [1, 0], [0, 0]], constant_values=1.0), 0.1)


def _state_among_others(image):
    """The output of an LSTM, which is its state too, beside what has another range."""
    rows = layers.Reshape((8, 24))(image)
    state, wide = layers.LSTM(4, return_sequences=True)(rows), 5.0 * layers.Dense(4)(rows)
    return [tf.where(wide > 0.0, state, wide), layers.Dense(3)(tf.concat([state, wide], -1))]


def _moved_slopes(image):
    x, y = _two(image)
    turned = tf.transpose(tf.maximum(x, y), [0, 2, 1, 3])
    return [layers.PReLU("uniform", shared_axes=[1, 2])(turned), layers.Conv2D(2, 1)(turned)]


def _halves_between(image):
    """Constants between two codes, which the converter rounds away from code 0."""
    return tf.where(layers.Conv2D(4, 1)(image) > 0.0, LEVELS, 2.0 * LEVELS)


def _upwards(image):
    """Transposed convolutions of eight channels, of less, and of more."""
    x, _ = _two(image)
    return [layers.Conv2DTranspose(channels, 3, strides=2, padding="same")(x) for channels in (8, 3, 11)]


def _outputs_that_are_read(image):
    """What has no range of its own reads what are outputs as well."""
    x, y = _two(image)
    return [x, y, tf.maximum(x, 0.3), layers.Conv2D(2, 1)(tf.where(x < y, x, 0.2)), tf.argmax(x, axis=-1)]


QUICK = (_stacked, _larger, _clipped)
GRAPHS = (_stacked, _larger, _leaking, _thresholded, _tiny, _zeroed, _clipped, _clipped_beside, _clipped_halves)
GRAPHS += (_joined_twice, _filled, _outputs_that_are_read, _slopes_beside, _products_of_moved)
GRAPHS += (
    _clips_of_what_is_averaged,
    _padded_below,
    _padded_state,
    _moved_slopes,
    _halves_between,
    _upwards,
    _state_among_others,
)


@pytest.mark.medium
@pytest.mark.parametrize(
    "graph", [pytest.param(graph, marks=() if graph in QUICK else pytest.mark.slow) for graph in GRAPHS]
)
def test_every_code_of_every_layer_is_that_of_the_simulation(graph):
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((8, 8, 3))
    _all_codes_are_the_same(tf_keras.Model(image, graph(image)))


def _all_codes_are_the_same(model):
    (rows,) = draw(model, 128, 0)
    qat_model = quantize_model(model, rows)
    content = convert(qat_model)
    assert verify(content).integer_only
    assert [(row.layer, row.max_lsb) for row in layer_parity(qat_model, content, rows) if row.max_lsb] == []
    found, expected = (tf.nest.flatten(of.predict(rows)) for of in (Interpreter(content), qat_model))
    for a, b, tensor in zip(found, expected, read(content).outputs, strict=True):
        assert np.abs(a - b).max() < (*tensor.scales, 1.0)[0] / 2
    return content


@pytest.mark.medium
@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_an_output_that_others_read_is_right_at_every_dtype(io):
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((8, 8, 3))
    model = tf_keras.Model(image, _outputs_that_are_read(image)[:-1])
    (rows,) = draw(model, 128, 0)
    qat_model = quantize_model(model, rows)
    content = convert(qat_model, io=io)
    steps = [tensor.scales[0] for tensor in read(convert(qat_model)).outputs]
    found, expected = (tf.nest.flatten(of.predict(rows)) for of in (Interpreter(content), qat_model))
    assert all(np.abs(a - b).max() < step / 2 for a, b, step in zip(found, expected, steps, strict=True))


def test_a_factor_behind_a_layer_is_trained_beside_its_kernel():
    tf_keras.utils.set_random_seed(0)
    features = tf_keras.Input((10,))
    dense, scale = layers.Dense(6, name="scaled"), LayerScale()
    model = tf_keras.Model(features, layers.Dense(2)(tf.nn.relu(scale(dense(features)))))
    (rows,) = draw(model, 128, 0)
    qat_model = quantize_model(model, rows)
    held = {variable.name: variable for variable in qat_model.trainable_variables}
    assert list(held) == [variable.name for variable in model.trainable_variables]
    np.testing.assert_array_equal(held[dense.kernel.name], dense.kernel)
    np.testing.assert_array_equal(held[scale.weights[0].name], scale.weights[0])
    content = _all_codes_are_the_same(model)
    assert [op.name for op in read(content).ops] == ["FULLY_CONNECTED", "FULLY_CONNECTED"]


def _tower(normalization):
    return tf_keras.Sequential(
        [layers.Conv2D(4, 3, strides=2), normalization, layers.PReLU("uniform"), layers.Flatten()]
    )


@pytest.mark.medium
@pytest.mark.parametrize(
    "normalization",
    [layers.BatchNormalization, pytest.param(layers.LayerNormalization, marks=pytest.mark.slow), LayerScale],
)
def test_towers_that_share_their_weights_share_them_on_two_grids(normalization):
    tf_keras.utils.set_random_seed(0)
    left, right = tf_keras.Input((8, 8, 3)), tf_keras.Input((8, 8, 3))
    tower = _tower(normalization())
    head = layers.Dense(2)
    model = tf_keras.Model([left, right], head(tower(left) - tower(3.0 * right)))
    calibration, rows = draw(model, 128, 0), draw(model, 128, 1)
    qat_model = quantize_model(model, calibration)
    assert sum(map(np.size, qat_model.get_weights())) < 2 * sum(map(np.size, model.get_weights()))
    assert len(qat_model.trainable_weights) == len(model.trainable_weights)
    content = convert(qat_model)
    assert [(row.layer, row.max_lsb) for row in layer_parity(qat_model, content, rows) if row.max_lsb] == []


def test_a_factor_that_two_layers_share_stays_one():
    image = tf_keras.Input((8, 8, 3))
    scale = LayerScale()
    model = tf_keras.Model(image, [scale(layers.Conv2D(4, 1)(image)), scale(layers.Conv2D(4, 3)(image))])
    qat_model = quantize_model(model, draw(model, 128, 0))
    assert len(qat_model.trainable_weights) == len(model.trainable_weights)


@pytest.mark.medium
@pytest.mark.parametrize(
    "activation", ["elu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("selu", "softplus"))]
)
def test_a_dense_layer_is_in_the_file_once_whatever_its_activation_is_made_of(activation):
    tf_keras.utils.set_random_seed(0)
    features = tf_keras.Input((10,))
    x = layers.Dense(6, activation=activation)(features)
    content = _all_codes_are_the_same(tf_keras.Model(features, layers.Dense(2)(x)))
    assert [op.name for op in read(content).ops].count("FULLY_CONNECTED") == 2


def test_embedded_rows_are_multiplied_on_the_scale_of_their_table():
    tf_keras.utils.set_random_seed(0)
    ids = tf_keras.Input((6,), dtype="int32")
    x = layers.Conv1D(5, 3, activation="relu")(layers.Embedding(20, 8)(ids))
    _all_codes_are_the_same(tf_keras.Model(ids, layers.Dense(3)(layers.Flatten()(x))))


def _above(limit):
    pixels = tf_keras.Input((8,), name="pixels")
    return tf_keras.Model(pixels, layers.Dense(3)(tf.cast(pixels > limit, tf.float32)))


def test_pixels_are_compared_at_a_size_that_the_kernel_survives():
    tf_keras.utils.set_random_seed(0)
    model = _above(100.0)
    content = _all_codes_are_the_same(model)
    file = read(content)
    compared = next(op for op in file.ops if op.name == "GREATER")
    assert max(file.tensors[index].scales[0] for index in compared.inputs) < 0.5
    (rows,) = draw(model, 64, 1)
    step = file.outputs[0].scales[0]
    assert np.abs(Interpreter(content).predict(rows) - model.predict(rows, verbose=0)).max() < 2 * step


def test_a_file_whose_comparison_would_end_the_process_is_refused_by_name():
    model = _above(100.0)
    (rows,) = draw(model, 128, 0)
    with pytest.raises(ModelError, match=r"GREATER of layer .* compares codes of scale 1: .*x / 256"):
        convert(model, calibration=rows, engine="tflite", allow_float=True)
