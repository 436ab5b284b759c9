"""Several inputs, several outputs, no classes: the same causes in other models."""

from types import SimpleNamespace

import numpy as np
import pytest

from qat.diagnosis import diagnose
from qat.tflite import Interpreter, convert, with_metadata


def split(raw):
    return [raw[:, :4] / np.float32(50), raw[:, 4:]]


@pytest.fixture(scope="module")
def pair():
    """Two inputs of one shape, [0, 2] and [-1, 1]; two outputs: a sum, and which of three numbers is largest."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(2)
    rng = np.random.default_rng(0)
    raw = np.concatenate([rng.uniform(0, 100, (1200, 4)), rng.uniform(-1, 1, (1200, 4))], axis=1).astype(np.float32)
    near, far = tf_keras.Input((4,), name="near"), tf_keras.Input((4,), name="far")
    x = layers.Concatenate()([layers.Dense(16, activation="relu")(near), layers.Dense(16, activation="relu")(far)])
    x = layers.Dense(24, activation="relu")(x)
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    model = tf_keras.Model([near, far], [kind, layers.Dense(2, name="total")(x)])
    model.compile(tf_keras.optimizers.Adam(1e-2), ["sparse_categorical_crossentropy", "mse"])
    inputs = split(raw)
    labels = inputs[1][:, :3].argmax(axis=1)
    total = np.stack([inputs[0].sum(axis=1), inputs[0][:, 0] - inputs[1][:, 0]], axis=1)
    model.fit(inputs, [labels, total], batch_size=32, epochs=12, verbose=0)
    given = {"keras_model": model, "inputs": raw[:300], "labels": labels[:300], "preprocess": split}
    return SimpleNamespace(
        given=given, file=convert(model, calibration=[each[300:500] for each in inputs]), model=model
    )


def ids(found):
    return [cause.id for cause in found.causes]


@pytest.mark.slow
def test_a_sound_file_of_two_inputs_and_two_outputs_has_no_fault(pair):
    assert diagnose(pair.file, **pair.given).blame == "none"
    assert diagnose(pair.file, **{**pair.given, "labels": None}, user_preprocess=split).blame == "none"


def test_inputs_by_name_come_in_any_order(pair):
    named = {**pair.given, "preprocess": lambda raw: dict(zip(("far", "near"), split(raw)[::-1], strict=True))}
    assert diagnose(pair.file, **named).blame == "none"


def test_exchanged_inputs_are_named(pair):
    assert ids(diagnose(pair.file, **pair.given, user_preprocess=lambda raw: split(raw)[::-1])) == ["C09"]


def test_a_fault_of_the_second_input_is_found(pair):
    found = diagnose(pair.file, **pair.given, user_preprocess=lambda raw: [split(raw)[0], 4 * split(raw)[1] + 1])
    assert found.blame == "implementation"
    assert "input 1" in found.causes[0].evidence


def test_a_loss_in_the_second_output_alone_is_measured(pair):
    found = diagnose(pair.file, **pair.given, user_preprocess=lambda raw: [5 * split(raw)[0], split(raw)[1]])
    assert found.blame == "implementation"


def test_calibration_by_exchanged_inputs_is_named(pair):
    inputs = split(pair.given["inputs"])
    wrong = convert(pair.model, calibration=[inputs[1] * 0.02, inputs[0] * 40])
    assert diagnose(wrong, **pair.given).blame == "model"


def test_metadata_that_normalise_otherwise_are_named(files, measured):
    from qat.contract import Contract

    right = with_metadata(files.int8, contract=Contract((8, 8, 3), range=(0, 1)))
    wrong = with_metadata(files.int8, contract=Contract((8, 8, 3), range=(-1, 1)))
    assert diagnose(right, **measured).blame == "none"
    assert ids(diagnose(wrong, **measured)) == ["P14"]
    assert diagnose(wrong).causes[0].certainty == "consistent"


def test_what_file_and_metadata_agree_on_is_not_guessed_otherwise(files, digits):
    from qat.contract import Contract
    from qat.diagnosis.normalisations import normalise

    file = with_metadata(files.int8, contract=Contract((8, 8, 3), range=(0, 1)))
    shifted = np.clip(normalise(digits.inputs, "(raw / 255 - mean) / std (ImageNet)"), 0, 0.996)
    found = diagnose(file, inputs=digits.inputs, labels=Interpreter(file).predict(shifted).argmax(axis=1))
    assert "P14" not in ids(found)


def test_raw_codes_of_another_runtime_are_told_from_a_mistake_of_the_app(files, measured, digits, codes):
    fed = (digits.inputs.astype(np.int16) - 128).astype(np.int8)
    assert diagnose(files.int8, **measured, fed=fed, outputs=codes).blame == "none"
    elsewhere = np.roll(np.clip(codes.astype(int) // 3 + codes[:, ::-1] // 2, -128, 127), 1, 1).astype(np.int8)
    assert ids(diagnose(files.int8, **measured, fed=fed, outputs=elsewhere)) == ["C13"]
