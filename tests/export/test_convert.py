"""Conversion: every scheme computes what Keras does, names and order stay, and the converter's silences are errors."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.errors import CalibrationError, ConfigError, ModelError
from qat.export.traced_function import input_specs, trace_model
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read, verify

from ..small_models import calibrated_qat, images, small_cnn

IO_OF = {"float32": "float32", "float16": "float32", "dynamic_range": "float32", "int8": "int8", "int16x8": "int16"}


def stock_bytes(model, configure):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    configure(converter)
    return converter.convert()


@pytest.mark.parametrize(
    ("scheme", "tolerance"),
    [("float32", 1e-5), ("float16", 2e-3), ("dynamic_range", 0.05), ("int8", 0.05), ("int16x8", 0.02)],
)
def test_every_scheme_computes_what_keras_does(scheme, tolerance, cnn, calibration):
    real = images(20, seed=1)
    needs = {"calibration": calibration} if scheme.startswith("int") else {}
    content = convert(cnn, scheme=scheme, **needs)
    np.testing.assert_allclose(Interpreter(content).predict(real), cnn.predict(real, verbose=0), atol=tolerance)
    assert verify(content).input_dtypes == (IO_OF[scheme],)
    assert verify(content).integer_only == scheme.startswith("int")


def test_a_float_file_is_what_the_stock_converter_makes(cnn, files):
    stock = Interpreter(stock_bytes(cnn, lambda converter: None), trusted=True)
    np.testing.assert_allclose(
        Interpreter(files.float32).predict(images(9)), stock.predict(images(9)), rtol=1e-5, atol=1e-6
    )


def test_the_engine_tflite_gives_the_codes_of_the_stock_converter(cnn, calibration):
    def configure(converter):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8

    stock = Interpreter(stock_bytes(cnn, configure), trusted=True)
    codes = np.random.default_rng(0).integers(-128, 128, (30, 16, 16, 3)).astype(np.int8)
    ours = Interpreter(convert(cnn, calibration=calibration, engine="tflite"))
    np.testing.assert_array_equal(ours.predict_codes(codes), stock.predict_codes(codes))


def dense_with_normalization():
    """Stock tfmot and TensorFlow's converter leave its first layer in float."""
    inputs = tf_keras.Input((16, 16, 3), name="image")
    x = layers.Dense(8)(layers.Flatten()(inputs))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return tf_keras.Model(inputs, layers.Dense(5, activation="softmax")(x))


@pytest.mark.parametrize(
    "make", [pytest.param(make, marks=pytest.mark.slow) for make in (small_cnn, dense_with_normalization)]
)
def test_the_engine_tflite_gives_of_a_stock_qat_model_what_the_stock_converter_gives(make):
    def configure(converter):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.int8

    model = calibrated_qat(make(), images(40))
    stock, ours = stock_bytes(model, configure), convert(model, engine="tflite", allow_float=True)
    assert [op.name for op in read(ours).ops] == [op.name for op in read(stock).ops]
    assert verify(ours).integer_only == verify(stock).integer_only == (make is small_cnn)
    codes = np.random.default_rng(0).integers(-128, 128, (30, 16, 16, 3)).astype(np.int8)
    codes_of = [Interpreter(content, trusted=True).predict_codes(codes) for content in (ours, stock)]
    np.testing.assert_array_equal(*codes_of)


def test_the_engine_changes_nothing_in_the_file_of_a_qat_model_of_ours(cnn, calibration):
    model = quantize_model(cnn, calibration)
    assert convert(model, engine="tflite") == convert(model)


@pytest.mark.medium
def test_an_int8_file_of_a_float_model_is_that_of_its_untrained_quantized_model(cnn, calibration, files):
    untrained = quantize_model(cnn, calibration, config=QuantConfig(name="ptq"))
    assert files.int8 == convert(untrained)
    assert files.uint8 == convert(untrained, io="uint8")
    assert files.int8 != convert(cnn, calibration=calibration, engine="tflite")
    assert convert(cnn, calibration=iter(calibration[:, None])) == convert(
        cnn, calibration=[image[None] for image in calibration]
    )  # an iterator that can be read once


@pytest.mark.medium
def test_a_qat_file_gives_the_codes_of_the_stock_converter(qat_model):
    def configure(converter):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.int8

    codes = np.random.default_rng(0).integers(-128, 128, (30, 16, 16, 3)).astype(np.int8)
    ours, stock = convert(qat_model), stock_bytes(qat_model, configure)
    assert verify(ours).integer_only
    np.testing.assert_array_equal(
        Interpreter(ours).predict_codes(codes), Interpreter(stock, trusted=True).predict_codes(codes)
    )


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_a_qat_model_takes_every_io_type_and_gives_the_same_reals(io, qat_model):
    content = convert(qat_model, io=io)
    found = verify(content)
    assert found.input_dtypes == found.output_dtypes == (io,)
    assert found.body_integer_only
    assert found.integer_only == (io != "float32")
    np.testing.assert_array_equal(
        Interpreter(content).predict(images(7)), Interpreter(convert(qat_model)).predict(images(7))
    )


def test_the_batch_is_open_and_the_names_are_kept(files):
    graph = read(files.int8)
    assert graph.inputs[0].shape_signature == (-1, 16, 16, 3)
    assert graph.inputs[0].name == "image"
    assert graph.outputs[0].layer == "head"
    assert [(s.key, dict(s.inputs), list(s.outputs)) for s in graph.signatures] == [
        ("serving_default", {"image": graph.inputs[0].index}, ["head"])
    ]


def test_the_wrapper_prefix_of_tfmot_is_not_part_of_an_outputs_name(qat_model):
    assert list(read(convert(qat_model)).signatures[0].outputs) == ["head"]


def two_headed(nested):
    tf_keras.utils.set_random_seed(0)
    a, b = tf_keras.Input((4,), name="first"), tf_keras.Input((6,), name="second")
    joined = layers.Concatenate()([layers.Dense(5)(a), layers.Dense(3)(b)])
    zeta, alpha = layers.Dense(2, name="zeta")(joined), layers.Dense(1, name="alpha")(joined)
    if nested == "dict":
        return tf_keras.Model({"y": a, "x": b}, {"late": zeta, "early": alpha})
    return tf_keras.Model([a, b], [zeta, alpha])


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_several_inputs_and_outputs_keep_the_order_of_a_list_model(scheme):
    model, rng = two_headed("list"), np.random.default_rng(0)
    real = [rng.normal(size=(120, size)).astype(np.float32) for size in (4, 6)]
    interpreter = Interpreter(convert(model, scheme=scheme, calibration=real if scheme == "int8" else None))
    assert interpreter.input_names == ("first", "second")
    assert interpreter.output_names == ("zeta", "alpha")
    for ours, keras in zip(interpreter.predict(real), model.predict(real, verbose=0), strict=True):
        np.testing.assert_allclose(ours, keras, atol=0.15)


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_a_dictionary_model_gives_a_dictionary(scheme):
    model, rng = two_headed("dict"), np.random.default_rng(0)
    real = {"y": rng.normal(size=(120, 4)).astype(np.float32), "x": rng.normal(size=(120, 6)).astype(np.float32)}
    assert [spec.name for spec in input_specs(model)] == ["x", "y"]
    interpreter = Interpreter(convert(model, scheme=scheme, calibration=real if scheme == "int8" else None))
    found, keras = interpreter.predict(real), model.predict(real, verbose=0)
    assert set(found) == {"late", "early"}
    for name, values in found.items():
        np.testing.assert_allclose(values, keras[name], atol=0.15)


def test_an_output_used_twice_and_an_input_passed_through_stay_apart():
    features = tf_keras.Input((4,), name="features")
    dense = layers.Dense(5, name="dense")(features)
    model = tf_keras.Model(features, [dense, dense, features])
    graph = read(convert(model, scheme="float32"))
    assert [tensor.shape for tensor in graph.outputs] == [(1, 5), (1, 5), (1, 4)]
    assert list(graph.signatures[0].outputs) == ["dense", "dense_1", "features"]


def test_token_ids_keep_their_integer_dtype():
    tokens = tf_keras.Input((10,), dtype="int32", name="tokens")
    model = tf_keras.Model(tokens, layers.Dense(3)(layers.Flatten()(layers.Embedding(50, 8)(tokens))))
    ids = np.random.default_rng(0).integers(0, 50, (120, 10)).astype(np.int32)
    content = convert(model, calibration=ids)
    assert verify(content).integer_only
    assert verify(content).input_dtypes == ("int32",)
    np.testing.assert_allclose(Interpreter(content).predict(ids), model.predict(ids, verbose=0), atol=0.02)


def test_a_model_of_fixed_batch_keeps_it():
    batch = tf_keras.Input(batch_shape=(4, 6), name="features")
    model = tf_keras.Model(batch, layers.Dense(3)(batch))
    real = np.random.default_rng(0).normal(size=(101, 6)).astype(np.float32)
    content = convert(model, calibration=real)
    assert read(content).inputs[0].shape_signature == (4, 6)
    keras = np.concatenate([model(real[i : i + 4]) for i in range(0, 100, 4)])
    np.testing.assert_allclose(Interpreter(content).predict(real[:100]), keras, atol=0.1)
    assert Interpreter(content).predict(real[:5]).shape == (5, 3)


def test_a_fused_lstm_is_integer_only_one_sample_at_a_time_and_says_so():
    steps = tf_keras.Input((6, 4), name="steps")
    model = tf_keras.Model(steps, layers.Dense(3)(layers.LSTM(8)(steps)))
    real = np.random.default_rng(0).normal(size=(120, 6, 4)).astype(np.float32)
    with pytest.warns(UserWarning, match="one sample at a time"):
        content = convert(model, calibration=real, engine="tflite")
    assert verify(content).integer_only
    assert verify(content).op_counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    interpreter = Interpreter(content)
    assert interpreter.batch_size == 1
    found = interpreter.predict(real[:8])
    np.testing.assert_allclose(found, model.predict(real[:8], verbose=0), atol=0.1)
    np.testing.assert_array_equal(found, interpreter.predict(real[:8][::-1])[::-1])  # no state is left over


@pytest.mark.medium
@pytest.mark.parametrize("scheme", ["float32", pytest.param("dynamic_range", marks=pytest.mark.slow)])
def test_inputs_and_outputs_beside_a_fused_lstm_keep_the_models_order(scheme):
    steps, side = tf_keras.Input((6, 4), name="a_steps"), tf_keras.Input((3,), name="b_side")
    every = layers.LSTM(5, return_sequences=True, name="every")(steps)
    outputs = [layers.Dense(2, name="dense")(side), layers.LSTM(7, name="last")(every), every]
    model, rng = tf_keras.Model([side, steps], outputs), np.random.default_rng(0)
    real = [rng.normal(size=(3, 3)).astype(np.float32), rng.normal(size=(3, 6, 4)).astype(np.float32)]
    with pytest.warns(UserWarning, match="one sample at a time"):
        interpreter = Interpreter(convert(model, scheme=scheme))
    assert interpreter.input_names == ("b_side", "a_steps")
    for found, keras in zip(interpreter.predict(real), model.predict(real, verbose=0), strict=True):
        np.testing.assert_allclose(found, keras, atol=1e-5 if scheme == "float32" else 0.02)


@pytest.mark.medium
@pytest.mark.parametrize("layer", [layers.GRU, layers.SimpleRNN])
@pytest.mark.parametrize("engine", ["auto", "tflite"])
def test_recurrent_layers_without_a_kernel_are_unrolled_for_int8_and_left_as_they_were(engine, layer):
    steps = tf_keras.Input((5, 4), name="steps")
    model = tf_keras.Model(steps, layers.Dense(3)(layer(8, name="memory")(steps)))
    real = np.random.default_rng(0).normal(size=(120, 5, 4)).astype(np.float32)
    content = convert(model, calibration=real, engine=engine)
    assert verify(content).integer_only
    assert model.get_layer("memory").unroll is False
    np.testing.assert_allclose(Interpreter(content).predict(real), model.predict(real, verbose=0), atol=0.15)


def test_a_loop_that_cannot_be_unrolled_is_refused_and_does_not_kill_the_process():
    class Loop(layers.Layer):
        def call(self, values):
            return tf.while_loop(
                lambda i, _: i < tf.shape(values)[1], lambda i, v: (i + 1, v * 0.9), [tf.constant(0), values]
            )[1]

    features = tf_keras.Input((4,))
    with pytest.raises(ModelError, match="loops that no integer kernel runs"):
        convert(tf_keras.Model(features, Loop()(features)), calibration=np.ones((120, 4), np.float32))


def test_a_subclassed_model_converts_once_it_has_been_called():
    class Subclassed(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, values):
            return self.dense(values)

    model = Subclassed()
    with pytest.raises(ModelError, match="call it once"):
        convert(model, scheme="float32")
    real = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    expected = model(real).numpy()
    np.testing.assert_allclose(
        Interpreter(convert(model, scheme="float32")).predict(real), expected, rtol=1e-5, atol=1e-5
    )


def test_an_open_length_stays_open():
    sequence = tf_keras.Input((None, 6))
    model = tf_keras.Model(sequence, layers.GlobalAveragePooling1D()(layers.Conv1D(5, 3)(sequence)))
    interpreter = Interpreter(convert(model, scheme="float32"))
    for length in (9, 33):
        real = np.random.default_rng(0).normal(size=(3, length, 6)).astype(np.float32)
        np.testing.assert_allclose(interpreter.predict(real), model.predict(real, verbose=0), rtol=1e-5, atol=1e-5)


def test_float_ops_that_the_converter_leaves_behind_are_an_error_that_names_them():
    volume = tf_keras.Input((6, 6, 6, 2))
    model = tf_keras.Model(volume, layers.Conv3D(4, 3, name="cube")(volume))
    samples = np.random.default_rng(0).normal(size=(120, 6, 6, 6, 2)).astype(np.float32)
    with pytest.raises(ModelError, match=r"CONV_3D \(float32\) of layer 'cube'"):
        convert(model, calibration=samples)
    with pytest.warns(UserWarning, match="calibrated by TFLite itself, because .*cube"):
        mixed = convert(model, calibration=samples, allow_float=True)
    assert not verify(mixed).integer_only


def test_a_model_without_a_kernel_is_refused_with_the_ops_name():
    signal = tf_keras.Input((16,))
    model = tf_keras.Model(signal, layers.Lambda(lambda x: tf.math.betainc(0.5, 0.5, tf.sigmoid(x)))(signal))
    with pytest.raises(ModelError, match="Betainc"):
        convert(model, scheme="float32")


def test_per_channel_can_be_switched_off(cnn, calibration, files):
    per_tensor = convert(cnn, calibration=calibration, per_channel=False)
    assert {report.op for report in verify(per_tensor).per_tensor_weights} == {"CONV_2D", "DEPTHWISE_CONV_2D"}
    assert verify(files.int8).per_tensor_weights == ()


def test_a_float_model_without_calibration_is_refused(cnn):
    with pytest.raises(CalibrationError, match="say scheme='float32'"):
        convert(cnn)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (np.zeros((0, 16, 16, 3), np.float32), "no samples"),
        (np.full((120, 16, 16, 3), np.nan, np.float32), "120 of 120 samples"),
        (np.zeros((120, 16, 16), np.float32), r"expected 'image' float32\[N, 16, 16, 3\]"),
        (iter([]), "no samples"),
    ],
)
def test_an_unusable_calibration_never_becomes_a_float_file(cnn, calibration, message):
    with pytest.raises(CalibrationError, match=message):
        convert(cnn, calibration=calibration)


@pytest.mark.parametrize("scheme", ["float32", "dynamic_range"])
def test_weights_that_are_no_numbers_are_refused_by_name(scheme, calibration):
    model = small_cnn()
    model.get_layer("head").bias.assign([0, np.nan, 0, 0, 0])
    with pytest.raises(ModelError, match=r"1 weights hold NaN or infinity: 'head/bias:0'. A training has diverged"):
        convert(model, scheme=scheme)
    qat_model = quantize_model(small_cnn(), calibration)
    qat_model.trainable_weights[0].assign(qat_model.trainable_weights[0] * np.inf)
    with pytest.raises(ModelError, match="weights hold NaN or infinity"):
        convert(qat_model)


def test_options_that_contradict_each_other_are_refused(cnn, qat_model, calibration):
    with pytest.raises(ConfigError, match="inputs and outputs stay float32"):
        convert(cnn, scheme="float16", io="float16")
    with pytest.raises(ConfigError, match="expected one of float32, int8"):
        convert(cnn, scheme="int4")
    with pytest.raises(ConfigError, match="engine='mine': expected one of auto, tflite"):
        convert(cnn, calibration=calibration, engine="mine")
    with pytest.raises(ConfigError, match="io='uint8' goes with scheme='int8' only"):
        convert(cnn, scheme="float16", io="uint8")
    with pytest.raises(ConfigError, match="converts to int8 only"):
        convert(qat_model, scheme="float16")
    with pytest.warns(UserWarning, match="carries its own ranges"):
        convert(qat_model, calibration=calibration)


@pytest.mark.parametrize("scheme", ["int8", "dynamic_range", "float32"])
def test_a_keras_3_model_is_converted_as_one_of_keras_2_is(scheme):
    import keras

    entry = keras.Input((6,))
    model = keras.Model(entry, keras.layers.Dense(3, "softmax")(keras.layers.Dropout(0.5)(entry)))
    rows = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # Keras 3's, of its variables
        content = convert(model, calibration=rows if scheme == "int8" else None, scheme=scheme)
    assert verify(content).integer_only == (scheme == "int8")
    assert np.abs(Interpreter(content).predict(rows) - model.predict(rows, verbose=0)).max() < 0.05


def test_conversion_says_nothing(cnn, calibration, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(cnn, calibration=calibration)
    assert capfd.readouterr() == ("", "")


def test_low_bit_weights_become_int4(cnn, calibration):
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.quantization.keras.experimental.default_n_bit import (
        default_n_bit_quantize_scheme as n_bit,
    )

    scheme = n_bit.DefaultNBitQuantizeScheme(num_bits_weight=4, num_bits_activation=8)
    annotated = tfmot.quantization.keras.quantize_annotate_model(tf_keras.models.clone_model(cnn))
    with tfmot.quantization.keras.quantize_scope():
        model = tfmot.quantization.keras.quantize_apply(annotated, scheme)
    model(calibration, training=True)
    weights = [t for t in read(convert(model, low_bit=True, allow_float=True)).tensors if t.dtype == "int4"]
    assert weights
    assert all(t.data.min() >= -8 and t.data.max() <= 7 for t in weights)


def test_a_trace_is_converted_with_the_weights_that_the_model_has_by_then():
    inputs = tf_keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, use_bias=False)(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    rng = np.random.default_rng(0)
    model = quantize_model(tf_keras.Model(inputs, x), rng.random((128, 8, 8, 2), np.float32))
    traced = trace_model(model)
    files = [convert(traced)]
    for _ in range(2):
        model.set_weights([held + 0.1 * rng.random(held.shape).astype(held.dtype) for held in model.get_weights()])
        files.append(convert(traced))
        assert files[-1] == convert(model)
    assert len(set(files)) == 3
    assert convert(traced) is files[-1]  # nothing has changed
    assert convert(traced, io="uint8") != files[-1]
