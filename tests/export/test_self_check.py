"""A wrong file never leaves `convert` in silence; an honest one leaves without a word."""

import re
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import WrongFileError
from qat.export import lowered_file, self_check
from qat.export.self_check import compare_output, farthest_scales
from qat.export.traced_function import trace_model
from qat.quantization import quantize_model
from qat.quantization.keras.check_rows import check_rows
from qat.tflite import convert
from qat.tflite.broken_numbers import refuse_broken_numbers
from qat.tflite.editing import apply_edit
from qat.tflite.reader import read
from qat.tflite.writer import pack

from ..small_models import images, small_cnn


@pytest.fixture(scope="module")
def ours():
    """Not to be changed."""
    return quantize_model(small_cnn(), images(120))


def op_names(content):
    return [op.name for op in read(pack(content)).ops]


def kernels(content, change, *names):
    """Change the int8 codes of the kernels of these ops in an unpacked file."""
    graph = content.subgraphs[0]
    for op, known in zip(graph.operators, op_names(content), strict=True):
        if known in names:
            buffer = content.buffers[graph.tensors[op.inputs[1]].buffer]
            buffer.data = change(np.asarray(buffer.data, np.uint8).view(np.int8).copy()).view(np.uint8)


def spoiled(monkeypatch, change):
    """Let what `convert` writes be spoiled before it is packed."""
    usual = lowered_file.lower

    def spoil(model, **options):
        content = usual(model, **options)
        change(content)
        return content

    monkeypatch.setattr(lowered_file, "lower", spoil)


def test_an_honest_file_leaves_without_a_word(ours):
    for io in ("int8", "uint8", "float32"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            convert(ours, io=io)


@pytest.mark.parametrize(("op", "layer"), [("DEPTHWISE_CONV_2D", "depthwise"), ("CONV_2D", "stem")])
def test_a_spoiled_kernel_is_said_with_its_layer(ours, monkeypatch, op, layer):
    spoiled(monkeypatch, lambda content: kernels(content, np.negative, op))
    with pytest.warns(UserWarning, match=f"layer '{layer}[a-z_]*' departs first"):
        convert(ours)


def test_a_spoiled_file_of_a_float_model_is_said_too(monkeypatch):
    spoiled(monkeypatch, lambda content: kernels(content, np.negative, "DEPTHWISE_CONV_2D"))
    with pytest.warns(UserWarning, match="layer 'depthwise' departs first"):
        convert(small_cnn(), calibration=images(120))


def test_without_the_check_nothing_is_said(ours, monkeypatch):
    spoiled(monkeypatch, lambda content: kernels(content, np.negative, "DEPTHWISE_CONV_2D"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(ours, check=False)


def test_a_file_that_was_made_without_the_check_is_checked_when_it_is_asked_for_again(ours, monkeypatch):
    spoiled(monkeypatch, lambda content: kernels(content, np.negative, "DEPTHWISE_CONV_2D"))
    traced = trace_model(ours)
    convert(traced, check=False)
    with pytest.warns(UserWarning, match="departs first"):
        convert(traced)


def test_a_dead_output_is_refused_by_layer(ours, monkeypatch):
    spoiled(monkeypatch, lambda content: kernels(content, np.zeros_like, "CONV_2D", "DEPTHWISE_CONV_2D"))
    with pytest.raises(WrongFileError, match=r"is constant on 4 calibration rows.*layer 'stem[a-z_]*' departs first"):
        convert(ours)


def test_a_float_model_whose_file_is_dead_gets_no_other_file_instead(monkeypatch):
    spoiled(monkeypatch, lambda content: kernels(content, np.zeros_like, "CONV_2D", "DEPTHWISE_CONV_2D"))
    with pytest.raises(WrongFileError, match="is constant"):
        convert(small_cnn(), calibration=images(120))


def test_a_model_that_is_constant_itself_has_a_constant_file():
    entry = tf_keras.Input((4,))
    model = tf_keras.Model(entry, layers.Dense(3, kernel_initializer="zeros")(entry))
    rows = np.random.default_rng(0).normal(size=(120, 4)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(quantize_model(model, rows))


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ([0, 1, 2, 3], None),
        ([0, 1, 2, 5], None),  # one value more or less
        ([0, 1, 4, 5], "departs"),
        ([0, 1, 2, 12], "departs"),
        ([0, 0, 0, 0], "all zero"),
        ([9, 9, 9, 9], "constant"),
        ([0, 1, 2, np.nan], "not finite"),
    ],
)
def test_what_is_said_of_an_output(given, verdict):
    found = compare_output("output", np.array([0.0, 1.0, 2.0, 3.0]), np.array(given, float), 1.0)
    assert (found and found.verdict) == verdict


def test_four_calibration_rows_are_kept_and_none_is_saved(ours, tmp_path):
    assert check_rows(ours)[0].shape == (4, 16, 16, 3)
    assert all(any(np.array_equal(row, kept) for kept in images(120)) for row in check_rows(ours)[0])
    ours.save(tmp_path / "ours.keras")
    loaded = tf_keras.models.load_model(tmp_path / "ours.keras")
    assert loaded.check_rows is None
    assert [w.shape for w in loaded.weights] == [w.shape for w in ours.weights]


def test_a_loaded_model_is_checked_on_rows_inside_its_range(ours, tmp_path, monkeypatch):
    ours.save(tmp_path / "ours.keras")
    loaded = tf_keras.models.load_model(tmp_path / "ours.keras")
    (rows,) = check_rows(loaded)
    assert (rows.shape, rows.dtype) == ((4, 16, 16, 3), np.float32)
    assert 0.0 <= rows.min() < 0.1
    assert 0.9 < rows.max() <= 1.01
    spoiled(monkeypatch, lambda content: kernels(content, np.negative, "DEPTHWISE_CONV_2D"))
    with pytest.warns(UserWarning, match="layer 'depthwise' departs first"):
        convert(loaded)


def test_drawn_token_ids_are_in_the_table(tmp_path):
    ids = tf_keras.Input((6,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(5, 8)(ids))
    quantized = quantize_model(
        tf_keras.Model(ids, layers.Dense(2)(x)), np.random.default_rng(0).integers(0, 5, (120, 6)).astype("int32")
    )
    quantized.save(tmp_path / "ids.keras")
    loaded = tf_keras.models.load_model(tmp_path / "ids.keras")
    (rows,) = check_rows(loaded)
    assert rows.dtype == np.int32
    assert set(rows.ravel()) == {0, 1, 2, 3, 4}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(loaded)


@pytest.mark.parametrize("batch_size", [1, 6])
def test_a_file_of_a_fixed_batch_is_checked(batch_size, ours, monkeypatch):
    spoiled(monkeypatch, lambda content: kernels(content, np.negative, "DEPTHWISE_CONV_2D"))
    with pytest.warns(UserWarning, match="layer 'depthwise' departs first"):
        convert(ours, batch_size=batch_size)


def test_an_lstm_is_checked(monkeypatch):
    entry = tf_keras.Input((5, 4))
    model = tf_keras.Model(entry, layers.Dense(3, name="head")(layers.LSTM(6)(entry)))
    quantized = quantize_model(model, np.random.default_rng(0).normal(size=(120, 5, 4)).astype("float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "the file takes one sample")
        convert(quantized)
    spoiled(monkeypatch, lambda content: kernels(content, np.negative, "FULLY_CONNECTED"))
    with pytest.warns(UserWarning, match="layer 'head' departs first"):
        convert(quantized)


def test_outputs_by_name_are_told_apart(monkeypatch):
    entry = tf_keras.Input((4,))
    outputs = {"small": layers.Dense(3)(entry), "a_large": layers.Dense(5)(layers.ReLU()(entry))}
    rows = np.random.default_rng(0).normal(size=(120, 4)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(quantize_model(tf_keras.Model(entry, outputs), rows))


def with_numbers(content, change):
    graph = read(content).subgraphs[0]
    op = next(op for op in graph.ops if op.name == "CONV_2D")
    return apply_edit(content, lambda unpacked: change(unpacked, *op.inputs[1:3]))


@pytest.mark.parametrize("scale", [0.0, 1e-40, np.inf, np.nan])
def test_a_scale_that_float32_does_not_hold_is_refused_by_layer(ours, scale):
    def change(unpacked, kernel, bias):
        quantization = unpacked.subgraphs[0].tensors[kernel].quantization
        quantization.scale = np.full_like(quantization.scale, scale)

    with pytest.raises(WrongFileError, match="layer 'stem_relu' would have the scale"):
        refuse_broken_numbers(read(with_numbers(convert(ours, check=False), change)))


def test_a_bias_that_was_cut_off_is_refused_by_layer(ours):
    def change(unpacked, kernel, bias):
        buffer = unpacked.buffers[unpacked.subgraphs[0].tensors[bias].buffer]
        codes = np.asarray(buffer.data, np.uint8).view(np.int32).copy()
        codes[0] = -(2**31 - 1)
        buffer.data = codes.view(np.uint8)

    with pytest.raises(WrongFileError, match=r"the bias of layer 'stem_relu' .* does not fit"):
        refuse_broken_numbers(read(with_numbers(convert(ours, check=False), change)))


def test_the_check_computes_the_model_once(ours, monkeypatch):
    calls = []
    usual = self_check._predict
    monkeypatch.setattr(self_check, "_predict", lambda *given: calls.append(1) or usual(*given))
    convert(ours)
    assert len(calls) == 1


class Counted(layers.Layer):
    """Adds a loss and a metric in every call."""

    def call(self, x):
        self.add_loss(tf.reduce_mean(tf.abs(x)))
        self.add_metric(tf.reduce_mean(x), name="mean")
        return x * 2.0


def test_a_model_that_adds_losses_and_metrics_is_checked_and_adds_none():
    entry = tf_keras.Input((4,))
    x = Counted()(layers.Dense(5, activity_regularizer="l2", name="regularized")(entry))
    rows = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    model = quantize_model(tf_keras.Model(entry, layers.Dense(3)(x)), rows)
    model(rows)
    before, metrics = [float(loss) for loss in model.losses], [metric.result().numpy() for metric in model.metrics]
    convert(model)
    assert [float(loss) for loss in model.losses] == before
    assert [metric.result().numpy() for metric in model.metrics] == metrics
    assert len(before) == 2


def test_numbers_too_far_apart_for_one_kernel_are_named():
    entry = tf_keras.Input((6,))
    x = layers.Dense(6)(entry)
    model = tf_keras.Model(entry, tf.concat([x, x * 1e9], -1))
    rows = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = read(convert(quantize_model(model, rows)))
    assert re.match(
        r"\. The scales of \w+ '.+' and of an operand differ too much, .* Scale or clip", farthest_scales(file)
    )
