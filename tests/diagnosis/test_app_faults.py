"""Faults of the code around a sound file: what was fed, how it was preprocessed, what was made of the outputs."""

import numpy as np
import pytest

from qat.diagnosis import diagnose
from qat.diagnosis.runs import FileRunner
from qat.tflite import read

from .conftest import preprocess


def ids(diagnosis):
    return [cause.id for cause in diagnosis.causes]


@pytest.mark.slow
def test_right_codes_and_the_shortcut_of_shifted_pixels_are_no_fault(files, measured, digits):
    shifted = (digits.inputs.astype(np.int16) - 128).astype(np.int8)
    assert diagnose(files.int8, **measured, fed=shifted).blame == "none"
    assert diagnose(files.uint8, **measured, fed=digits.inputs).blame == "none"


@pytest.mark.medium
@pytest.mark.parametrize(
    ("id", "make"),
    [
        ("I01", lambda raw: preprocess(raw).astype(np.int8)),
        ("I02", lambda raw: raw.astype(np.int8)),
        ("I03", lambda raw: np.minimum(raw, 127).astype(np.int8)),
        ("I04", lambda raw: np.clip(np.round(preprocess(raw) * 100 - 20), -128, 127).astype(np.int8)),
        ("P04", lambda raw: np.clip(np.round(preprocess(raw) * 0.4 * 255) - 128, -128, 127).astype(np.int8)),
        ("P10", lambda raw: np.full(raw.shape, -128, np.int8)),
    ],
)
def test_wrong_codes_are_recognised_by_exact_arithmetic(files, measured, digits, id, make):
    found = diagnose(files.int8, **measured, fed=make(digits.inputs))
    assert ids(found) == [id]
    assert found.blame == "implementation"
    params = read(files.int8).inputs[0].quantization
    assert id[0] == "P" or f"{float(params.scale[0]):.9g}" in found.causes[0].repair


@pytest.mark.parametrize(
    ("id", "make"),
    [
        ("P01", lambda raw: raw.astype(np.float32)),
        ("P03", lambda raw: preprocess(raw) / 255),
        ("P06", lambda raw: preprocess(raw)[..., ::-1]),
        ("P08", lambda raw: preprocess(raw).transpose(0, 2, 1, 3)),
        ("P11", lambda raw: 1 - preprocess(raw)),
        ("P07", lambda raw: preprocess(raw).transpose(0, 3, 1, 2).reshape(raw.shape)),
    ],
)
def test_other_preprocessing_is_named_and_proved(files, measured, id, make):
    found = diagnose(files.int8, **measured, user_preprocess=make)
    assert ids(found) == [id]
    assert found.causes[0].certainty == "proved"
    assert found.causes[0].recovered >= 0.9


@pytest.mark.parametrize(
    ("id", "make"),
    [
        ("P10", lambda raw: raw // 255.0),  # all black
        ("P10", lambda raw: np.random.default_rng(0).random(raw.shape, np.float32)),
        ("O05", lambda raw: np.roll(preprocess(raw), 1, axis=0)),
        ("O05", lambda raw: np.repeat(preprocess(raw)[-1:], len(raw), axis=0)),
    ],
)
def test_a_preprocessing_that_no_repair_makes_right_is_certain_and_none_was_applied(files, measured, id, make):
    found = diagnose(files.int8, **measured, user_preprocess=make)
    assert ids(found) == [id]
    assert (found.causes[0].certainty, found.causes[0].recovered, found.exit_code) == ("certain", None, 1)
    assert "the training's preprocessing in its place" in found.causes[0].evidence


def test_outputs_as_the_file_gives_them_are_no_fault(files, measured, codes):
    assert diagnose(files.int8, **measured, outputs=codes).blame == "none"
    assert diagnose(files.int8, **measured, outputs=(codes.astype(np.float32) + 128) / 256).blame == "none"
    assert diagnose(files.int8, **measured, outputs=codes.argmax(axis=1)).blame == "none"


def test_labels_are_held_against_those_of_other_inputs_and_one_label_tells_nothing(files, measured, digits):
    labels = FileRunner(files.int8, read(files.int8)).real([preprocess(digits.inputs)[..., ::-1]])[0].argmax(axis=1)
    assert ids(diagnose(files.int8, **measured, outputs=labels)) == ["P06"]
    found = diagnose(files.int8, **measured, outputs=np.full(len(labels), 8))
    assert (found.blame, found.exit_code, found.causes) == ("undetermined", 3, ())


@pytest.mark.parametrize(
    ("id", "make"),
    [
        ("O01", lambda codes: codes.astype(np.float32)),
        ("O02", lambda codes: codes.astype(np.float32) / 255),
        ("O02", lambda codes: codes.view(np.uint8)),
        ("O03", lambda codes: codes.argmax(axis=1) + 1),
        ("O03", lambda codes: codes.reshape(10, -1).argmax(axis=0)),
        ("O04", lambda codes: np.ones(codes.shape, np.float32)),
        ("O05", lambda codes: np.repeat(codes[-1:], len(codes), axis=0)),
        ("E01", lambda codes: codes[np.random.default_rng(0).permutation(len(codes))]),
    ],
)
def test_what_was_made_of_the_outputs_is_recognised(files, measured, codes, id, make):
    found = diagnose(files.int8, **measured, outputs=make(codes))
    assert ids(found) == [id]
    assert found.blame == "implementation"


def test_labels_of_other_samples_are_told_from_a_bad_model(files, measured, digits):
    shuffled = np.random.default_rng(1).permutation(digits.labels)
    found = diagnose(files.int8, **{**measured, "labels": shuffled})
    assert ids(found) == ["E01"]


def test_a_float_model_that_is_not_the_files_is_told_from_wrong_labels(files, measured, network):
    import tf_keras

    found = diagnose(files.int8, **{**measured, "keras_model": tf_keras.models.clone_model(network)})
    assert [(cause.id, cause.certainty) for cause in found.causes] == [("E03", "certain")]


def test_a_fault_of_the_file_and_one_of_the_app_are_both_named(files, measured):
    found = diagnose(files.wide, **measured, user_preprocess=lambda raw: preprocess(raw)[..., ::-1])
    assert set(ids(found)) == {"Q01", "P06"}
    assert found.blame == "both"


def test_the_app_is_watched_while_it_runs(files, measured, digits):
    from ai_edge_litert.interpreter import Interpreter

    def run(raw, content):
        litert = Interpreter(model_content=content)
        litert.allocate_tensors()
        taken, given = litert.get_input_details()[0], litert.get_output_details()[0]
        found = []
        for sample in raw:
            litert.set_tensor(taken["index"], sample.astype(np.int8)[None])
            litert.invoke()
            found.append(int(litert.get_tensor(given["index"])[0].argmax()) + 1)
        return np.array(found)

    assert set(ids(diagnose(files.int8, **measured, user_run=run))) == {"I02", "O03"}


def test_without_a_keras_model_a_bad_file_stays_undetermined(files, digits):
    found = diagnose(files.wide, inputs=digits.inputs, labels=digits.labels, preprocess=preprocess)
    assert found.blame == "undetermined"
    assert found.exit_code == 3
    assert any("cannot be told apart without the Keras model" in note for note in found.notes)
