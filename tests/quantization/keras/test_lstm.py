"""An LSTM as one op: trained on the grid of TFLite's fused kernel, computed as that kernel does, and in the file."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.keras.model import clone_qat_model
from qat.quantization.rewrites import canonicalize
from qat.tflite import Interpreter, convert, verify

STEPS, WIDTH, UNITS = 7, 4, 5
KERNEL = "UNIDIRECTIONAL_SEQUENCE_LSTM"


def _series(count, seed=0, steps=STEPS, width=WIDTH):
    return np.random.default_rng(seed).normal(size=(count, steps, width)).astype(np.float32)


def _model(*body, steps=STEPS, width=WIDTH):
    tf_keras.utils.set_random_seed(0)
    x = series = tf_keras.Input((steps, width), name="series")
    for layer in body:
        x = layer(x)
    return tf_keras.Model(series, x)


def _lstm(units=UNITS, **options):
    return layers.LSTM(units, bias_initializer=tf_keras.initializers.RandomUniform(-0.2, 0.2, seed=1), **options)


def _quantized(model, config=None, seed=1):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantize_model(model, _series(64, seed, *model.input_shape[1:]), config=config)


def _converted(model, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert(model, **options)


def _distance(quantized, content, series):
    """Codes between what the model predicts and what the file gives."""
    interpreter = Interpreter(content)
    step = float(interpreter.outputs[0].scales[0])
    return np.abs(np.round((interpreter.predict(series) - quantized.predict(series, verbose=0)) / step))


@pytest.mark.medium
@pytest.mark.parametrize(
    "body",
    [
        lambda: [_lstm(), layers.Dense(3)],
        pytest.param(
            lambda: [layers.Bidirectional(_lstm(return_sequences=True)), layers.Dense(3)], marks=pytest.mark.slow
        ),
        pytest.param(
            lambda: [layers.Conv1D(6, 3, activation="relu"), _lstm(use_bias=False, go_backwards=True)],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["last", "bidirectional", "conv_then_backwards"],
)
def test_the_file_holds_the_fused_kernel_and_computes_what_the_model_does(body):
    model = _model(*body())
    quantized = _quantized(model)
    content = _converted(quantized)
    series = _series(64, 2)
    found = verify(content)
    assert found.integer_only
    assert found.op_counts[KERNEL] == 1 + any("bidirectional" in layer.name for layer in model.layers)
    assert _distance(quantized, content, series).max() == 0
    assert sqnr_db(model.predict(series, verbose=0), Interpreter(content).predict(series)) > 25


@pytest.mark.medium
def test_the_layer_becomes_one_op_and_what_it_cannot_be_is_written_out():
    def ops(layer, masked=False):
        body = [layers.Masking()] if masked else []
        return [node.op for node in canonicalize(_model(*body, layer)).nodes]

    assert ops(_lstm(dropout=0.5)).count("lstm") == 1
    assert "lstm" in ops(layers.RNN(layers.LSTMCell(UNITS)))
    for written_out in (
        _lstm(recurrent_activation="hard_sigmoid"),
        _lstm(activation="relu"),
        layers.GRU(UNITS),
    ):
        assert "lstm" not in ops(written_out)
    assert "lstm" not in ops(_lstm(), masked=True)


def test_one_sample_at_a_time_is_said_and_no_state_is_left_over():
    quantized = _quantized(_model(_lstm(), layers.Dense(2)))
    with pytest.warns(UserWarning, match="one sample at a time.*LSTM kernel keeps a state"):
        content = convert(quantized)
    interpreter, series = Interpreter(content), _series(5, 3)
    alone = np.concatenate([Interpreter(content).predict(row[None]) for row in series])
    np.testing.assert_array_equal(interpreter.predict(series), alone)
    np.testing.assert_array_equal(interpreter.predict(series[::-1]), alone[::-1])


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(layers.ReLU, marks=pytest.mark.slow),
        pytest.param(lambda: layers.Lambda(lambda x: tf.clip_by_value(x, -0.1, 0.1)), marks=pytest.mark.slow),
    ],
    ids=["relu", "clip"],
)
def test_what_the_converter_would_fuse_does_not_reach_the_state(behind):
    quantized = _quantized(_model(_lstm(return_sequences=True), behind(), layers.Flatten(), layers.Dense(2)))
    assert _distance(quantized, _converted(quantized), _series(32, 9)).max() == 0


def test_ranges_have_room_for_states_that_a_few_rows_do_not_reach():
    model, series = _model(_lstm(return_sequences=True, name="memory")), _series(16, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = quantize_model(model, series)
    low, high = next(layer.range for layer in quantized.layers if layer.name.startswith("memory--range"))
    seen = model.predict(np.concatenate([np.roll(series, 1, axis=0), series], axis=1)[:, :STEPS], verbose=0)
    assert low < 1.04 * seen.min()
    assert high > 1.04 * seen.max()


@pytest.mark.slow
def test_a_fixed_batch_is_kept():
    quantized = _quantized(_model(_lstm(return_sequences=True), layers.Dense(2)))
    content, series = convert(quantized, batch_size=3), _series(6, 3)
    assert Interpreter(content).inputs[0].shape[0] == 3
    assert _distance(quantized, content, series).max() == 0


@pytest.mark.slow
def test_training_moves_every_weight_and_lowers_the_loss():
    model = _model(_lstm(), layers.Dense(1))
    quantized = _quantized(model, QuantConfig(name="qat", ema_decay=0.9))  # from random weights: ranges have far to go
    series = _series(512, 4)
    target = series[:, -3:, 0].sum(axis=1, keepdims=True)
    before = [weight.numpy() for weight in quantized.trainable_weights]
    assert len(before) == 5
    quantized.compile(tf_keras.optimizers.Adam(0.01), "mse")
    losses = quantized.fit(series, target, epochs=6, batch_size=32, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert all(np.any(a != b.numpy()) for a, b in zip(before, quantized.trainable_weights, strict=True))
    assert _distance(quantized, _converted(quantized), series).max() == 0


@pytest.mark.slow
def test_frozen_it_stays_as_it_is():
    model = _model(_lstm(), layers.Dense(1))
    model.layers[1].trainable = False
    quantized = _quantized(model)
    assert len(quantized.trainable_weights) == 2  # of the dense layer
    held = [w.numpy() for w in quantized.weights if w.shape[-1:] == (4 * UNITS,)]
    quantized.compile("sgd", "mse")
    quantized.fit(_series(32), np.ones((32, 1)), verbose=0)
    after = [w.numpy() for w in quantized.weights if w.shape[-1:] == (4 * UNITS,)]
    assert all(np.array_equal(a, b) for a, b in zip(held, after, strict=True))


@pytest.mark.slow
def test_saved_loaded_and_twinned_it_predicts_the_same(tmp_path):
    quantized, series = _quantized(_model(layers.Bidirectional(_lstm()), layers.Dense(2))), _series(16, 5)
    expected = quantized.predict(series, verbose=0)
    quantized.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(series, verbose=0), expected)
    twin = clone_qat_model(quantized)
    twin.set_weights(quantized.get_weights())
    np.testing.assert_array_equal(twin.predict(series, verbose=0), expected)
    assert _converted(loaded) == _converted(quantized)


@pytest.mark.slow
def test_a_shared_layer_has_the_ranges_of_each_call():
    tf_keras.utils.set_random_seed(0)
    left, right = (tf_keras.Input((STEPS, WIDTH), name=name) for name in ("left", "right"))
    shared = _lstm()
    model = tf_keras.Model([left, right], layers.Dense(2)(layers.Subtract()([shared(left), shared(right)])))
    series = [_series(64, 6), 3 * _series(64, 7)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = quantize_model(model, series)
    content = _converted(quantized)
    assert verify(content).op_counts[KERNEL] == 2
    assert len([w for w in quantized.trainable_weights if w.shape[-1:] == (4 * UNITS,)]) == 3
    assert _distance(quantized, content, series).max() == 0


@pytest.mark.slow
def test_in_float_it_is_left_to_the_user():
    quantized = _quantized(_model(_lstm(name="memory"), layers.Dense(2)), QuantConfig(name="qat", skip=["^memory"]))
    content = _converted(quantized, allow_float=True)
    assert verify(content).op_counts[KERNEL] == 1  # the float one: its steps are not written out
    assert {report.layer for report in verify(content).float_ops} == {"memory"}
    assert _distance(quantized, content, _series(32, 9)).max() <= 1


@pytest.mark.slow
def test_a_wide_cell_and_weights_of_four_bits():
    model = _model(_lstm(return_sequences=True, kernel_initializer=tf_keras.initializers.RandomNormal(0, 4)), steps=40)
    model.layers[1].cell.bias.assign(tf.repeat(tf.constant([3.0, 6.0, 0.0, 0.0]), UNITS))
    for config in (None, QuantConfig(name="qat", weight_bits=4)):
        quantized, series = _quantized(model, config), _series(32, 8, 40)
        content = _converted(quantized, low_bit=config is not None)
        assert _distance(quantized, content, series).max() == 0
        assert verify(content).integer_only


def test_the_cell_has_room_at_once_for_what_a_batch_shows():
    """A memory that grows with each step, and one sample in 64 for which it grows far."""
    sizes = np.where(np.arange(64) == 0, 3.0, 0.1)
    rows = np.tile(sizes[:, None, None], (1, 12, 1)).astype(np.float32)
    entry = tf_keras.Input((12, 1))
    lstm = layers.LSTM(2)
    model = tf_keras.Model(entry, lstm(entry))
    lstm.set_weights([np.ones((1, 8)), np.zeros((2, 8)), np.array([9.0, 9, 9, 9, 0, 0, 9, 9])])
    quantized = quantize_model(model, rows[1:])
    quantized.compile(tf_keras.optimizers.SGD(0.0), "mse")
    quantized.fit(rows, np.zeros((64, 2)), batch_size=8, epochs=4, shuffle=False, verbose=0)
    cell = next(layer for layer in quantized.layers if hasattr(layer, "layer") and hasattr(layer.layer, "cell_end"))
    assert float(cell.layer.cell_end()) == 16.0  # twelve steps of nearly 1


def test_a_batch_without_a_number_does_not_move_the_cell():
    quantized = quantize_model(_model(_lstm()), _series(128, 6))
    cell = next(layer for layer in quantized.layers if hasattr(layer, "layer") and hasattr(layer.layer, "cell_end"))
    before = float(cell.layer.weight_cell_limit)
    quantized(tf.fill((4, *quantized.input_shape[1:]), float("nan")), training=True)
    assert float(cell.layer.weight_cell_limit) == before
