"""A file that loses because its input's columns differ in size: these are named, and not the channels to equalize."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.diagnosis import diagnose
from qat.tflite import convert

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def readings():
    rows = RANDOM.normal(size=(1500, 6)).astype(np.float32)
    labels = (rows[:, :4].sum(axis=1) > 0).astype(np.int64)
    rows[:, 4] *= 1e4
    return rows, labels


@pytest.fixture(scope="module")
def trained(readings):
    tf_keras.utils.set_random_seed(0)
    norm = layers.Normalization(name="norm")
    norm.adapt(readings[0])
    entry = tf_keras.Input((6,), name="readings")
    x = layers.Dense(16, activation="relu")(norm(entry))
    model = tf_keras.Model(entry, layers.Dense(2, activation="softmax")(x))
    model.compile(tf_keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(*readings, epochs=8, verbose=0)
    return model


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:input 'readings'")
@pytest.mark.parametrize("engine", ["auto", "tflite"])
def test_the_columns_are_named_and_the_cut_behind_the_normalization_proves_it(trained, readings, engine):
    rows, labels = readings
    content = convert(trained, calibration=rows[:300], engine=engine)
    found = diagnose(content, keras_model=trained, inputs=rows, labels=labels)
    (cause,) = found.causes
    assert found.blame == "model"
    assert (cause.id, cause.certainty) == ("M02", "proved")
    assert cause.recovered > 0.95
    assert "5 of 6 columns are small next to column 4" in cause.evidence
    assert "model.get_layer('norm').output" in cause.repair
    assert "equalize" not in cause.repair


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:input 'readings'")
def test_what_a_diagnosis_warns_of_is_shown_at_the_line_that_called_it(trained, readings):
    content = convert(trained, calibration=readings[0][:300])
    with pytest.warns(UserWarning, match="calibration has 90 samples") as said:
        diagnose(content, keras_model=trained, inputs=readings[0][:90], labels=readings[1][:90])
    assert {each.filename for each in said} == {__file__}
