"""The shipped runtime: real numbers by the file's own scale, batches that change nothing, mistakes that are refused."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT

from qat.codes import dequantize, quantize
from qat.contract import Contract, apply
from qat.errors import ConfigError, DataError
from qat.tflite import Interpreter, convert, read, with_metadata

from ...small_models import images
from .. import planting

RNG = np.random.default_rng(3)


def one_by_one(content, codes):
    """The tutorials' way: allocate for one sample, loop."""
    litert = LiteRT(model_content=content, num_threads=1)
    litert.allocate_tensors()
    source, target = litert.get_input_details()[0]["index"], litert.get_output_details()[0]["index"]
    tensors = []
    for sample in codes:
        litert.set_tensor(source, sample[None])
        litert.invoke()
        tensors.append(litert.get_tensor(target)[0])
    return np.stack(tensors)


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 237])
def test_batches_give_what_one_sample_at_a_time_gives(count, files):
    codes = RNG.integers(-128, 128, (count, 16, 16, 3)).astype(np.int8)
    np.testing.assert_array_equal(Interpreter(files.int8).predict_codes(codes), one_by_one(files.int8, codes))


def test_a_run_of_different_lengths_on_one_interpreter_changes_nothing(files):
    interpreter, real = Interpreter(files.int8), images(150)
    whole = interpreter.predict(real)
    for start, stop in ((0, 1), (0, 150), (7, 30), (3, 4), (10, 140)):
        np.testing.assert_array_equal(interpreter.predict(real[start:stop]), whole[start:stop])


def test_no_samples_give_no_outputs(files):
    assert Interpreter(files.int8).predict(images(0)).shape == (0, 5)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_real_numbers_go_through_the_files_own_scale(kind, files):
    content = getattr(files, kind)
    interpreter, graph, real = Interpreter(content), read(content), images(12)
    codes = quantize(real, graph.inputs[0].quantization)
    assert codes.dtype == kind
    expected = dequantize(interpreter.predict_codes(codes), graph.outputs[0].quantization)
    np.testing.assert_array_equal(interpreter.predict(real), expected)


def test_every_io_type_of_a_model_agrees(files):
    real = images(40)
    np.testing.assert_array_equal(Interpreter(files.int8).predict(real), Interpreter(files.uint8).predict(real))
    np.testing.assert_allclose(
        Interpreter(files.int8).predict(real), Interpreter(files.float_io).predict(real), atol=0.01
    )


def test_a_file_made_for_one_sample_is_batched_only_where_that_is_right(files):
    fixed = planting.with_fixed_batch(files.int8)
    assert read(fixed).inputs[0].shape_signature == (1, 16, 16, 3)
    interpreter, real = Interpreter(fixed), images(30)
    np.testing.assert_array_equal(interpreter.predict(real), Interpreter(files.int8).predict(real))
    assert interpreter.batch_size > 1


def test_a_file_whose_op_mixes_the_batch_is_run_one_sample_at_a_time():
    import tensorflow as tf
    import tf_keras

    image = tf_keras.Input((4, 4, 1))
    flat = tf_keras.layers.Lambda(lambda x: tf.reshape(x, [1, 16]))(image)
    model = tf_keras.Model(image, tf_keras.layers.Dense(3)(flat))
    with pytest.warns(UserWarning, match="one sample at a time"):
        interpreter = Interpreter(convert(model, scheme="float32"))
    assert interpreter.batch_size == 1
    real = np.random.default_rng(0).random((9, 4, 4, 1)).astype(np.float32)
    expected = np.concatenate([model(sample[None]) for sample in real])
    np.testing.assert_allclose(interpreter.predict(real), expected, rtol=1e-5, atol=1e-5)


def test_threads_and_kernels_change_at_most_the_last_bit(files):
    real = images(50)
    reference = Interpreter(files.int8, reference_kernels=True)
    for options in ({"threads": 1}, {"threads": 2}, {"delegate": False}):
        codes = quantize(Interpreter(files.int8, **options).predict(real), reference.outputs[0].quantization)
        expected = quantize(reference.predict(real), reference.outputs[0].quantization)
        assert np.abs(codes.astype(int) - expected).max() <= 2


def test_intermediate_tensors_are_those_that_lead_to_the_output(files):
    interpreter, real = Interpreter(files.int8, delegate=False), images(130)
    tensors = interpreter.tensors(real)
    graph = read(files.int8)
    np.testing.assert_array_equal(tensors["image"], quantize(real, graph.inputs[0].quantization))
    output = dequantize(tensors[graph.outputs[0].name], graph.outputs[0].quantization)
    np.testing.assert_array_equal(output, interpreter.predict(real))
    stem = graph.tensors[graph.ops[0].outputs[0]]
    assert tensors[stem.name].shape == (130, *stem.shape[1:])
    assert tensors[stem.name].dtype == np.int8
    assert len(np.unique(tensors[stem.name])) > 20


@pytest.mark.parametrize(
    ("fed", "message"),
    [
        (images(3).astype(np.float64), r"takes real numbers of dtype float32, got float64.*\.astype\(numpy\.float32\)"),
        ((images(3) * 255).astype(np.uint8), r"If these are raw pixels, call run\(\)"),
        ((images(3) * 100).astype(np.int8), r"codes of the file already, call predict_codes\(\)"),
        (images(1)[0], r"takes shape \[N, 16, 16, 3\], got \[16, 16, 3\]. This looks like one sample"),
        (images(2).transpose(0, 3, 1, 2), r"channels first: values\.transpose\(0, 2, 3, 1\)"),
        (images(2)[:, :8], "Resize or crop the samples; do not reshape them"),
        (np.where(images(2) > 0.5, np.nan, images(2)), "values are NaN or infinite"),
        (images(2) * 255, r"would saturate"),
        (images(2) * 2 - 1, r"would saturate"),
        ([images(2), images(2)], r"2 inputs were given, but the file takes 1: \['image'\]"),
        ({"picture": images(2)}, r"inputs \['picture'\] were given, but the file takes \['image'\]"),
        ([[0.0]], "an input is a list, expected a NumPy array"),
        ("cat.png", "an input is a str"),
    ],
)
def test_what_predict_cannot_take_is_refused_with_what_to_do(fed, message, files):
    with pytest.raises(DataError, match=message):
        Interpreter(files.int8).predict(fed)


def test_a_float_border_does_not_hide_a_wrong_range(files):
    with pytest.raises(DataError, match="would saturate"):
        Interpreter(files.float_io).predict(images(2) * 255)


def test_a_few_outliers_are_not_a_wrong_range(files):
    real = images(20)
    real[0, 0, 0] = 9.0
    assert Interpreter(files.int8).predict(real).shape == (20, 5)


def test_the_range_check_can_be_left_out(files):
    assert Interpreter(files.int8, check_range=False).predict(images(2) * 255).shape == (2, 5)


def test_values_that_use_a_sliver_of_the_range_are_warned_about(files):
    with pytest.warns(UserWarning, match="part of the"):
        Interpreter(files.int8).predict(images(2) / 255)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (images(2), r"codes of dtype int8, got float32.*clip\(round\(real / 0\.0039.*-128, 127\).*never a bare astype"),
        (np.zeros((2, 16, 16, 3), np.uint8), "got uint8"),
        (np.zeros((16, 16, 3), np.int8), "looks like one sample"),
    ],
)
def test_codes_of_another_type_or_shape_are_refused(codes, message, files):
    with pytest.raises(DataError, match=message):
        Interpreter(files.int8).predict_codes(codes)


def test_run_applies_the_contract_that_the_file_carries(files, contract):
    raw = RNG.integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
    interpreter = Interpreter(with_metadata(files.int8, contract=contract))
    np.testing.assert_array_equal(interpreter.run(raw), interpreter.predict(apply(contract, raw)))
    np.testing.assert_array_equal(interpreter.run(raw), interpreter.predict(raw.astype(np.float32) / 255))


def test_a_contract_given_by_hand_wins_over_the_files(files, contract):
    mine = Contract((16, 16, 3), range=(0.0, 1.0), colour_order="bgr")
    interpreter = Interpreter(with_metadata(files.int8, contract=contract), contract=mine)
    raw = RNG.integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    np.testing.assert_array_equal(interpreter.run(raw), interpreter.predict(raw[..., ::-1].astype(np.float32) / 255))


def test_run_without_a_contract_says_where_to_get_one(files):
    with pytest.raises(ConfigError, match="this file carries none: give Interpreter"):
        Interpreter(files.int8).run(np.zeros((1, 16, 16, 3), np.uint8))


def test_run_refuses_what_is_no_raw_data(files, contract):
    with pytest.raises(DataError, match="seem to be scaled already"):
        Interpreter(files.int8, contract=contract).run(images(2))


def test_a_message_about_the_range_quotes_the_contract(files, contract):
    interpreter = Interpreter(with_metadata(files.int8, contract=contract))
    with pytest.raises(DataError, match=r"raw 0\.\.255 become 0\.\.1\. Call run\(\) with raw samples"):
        interpreter.predict(images(2) * 255)


def test_a_thread_count_below_one_is_refused(files):
    with pytest.raises(ConfigError, match="threads=0"):
        Interpreter(files.int8, threads=0)
