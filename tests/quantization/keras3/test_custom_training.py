"""A Keras 3 model of a class with its own `train_step` and metrics drives its quantized graph, saved or not.

What its instance holds is written down by `qat.quantization.keras.carried_attributes`.
"""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model
from qat.quantization.keras.custom_training import MissingAttributeError
from qat.quantization.keras3.model import Keras3QatModel

X = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int64)


@keras.saving.register_keras_serializable("theirs")
class Scaled(keras.Model):
    """Its loss is `factor` times the cross-entropy, and counted by a metric of its own."""

    def __init__(self, factor=3.0, **options):
        super().__init__(**options)
        self.factor = factor
        self.dense = layers.Dense(2, activation="softmax", name="dense")
        self.total = keras.metrics.Mean(name="total")

    def call(self, inputs):
        return self.dense(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        above = super(Scaled, self)  # noqa: UP008  # as code for Python 2 has it
        loss = self.factor * above.compute_loss(x, y, y_pred, sample_weight, training)
        self.total.update_state(loss)
        return loss

    @property
    def metrics(self):
        return [self.total]

    def get_config(self):
        return {"factor": self.factor, "name": self.name}


@keras.saving.register_keras_serializable("theirs")
class Accumulating(Scaled):
    """It has a variable more as soon as it is compiled, as one that sums up gradients."""

    def compile(self, *arguments, **options):
        super().compile(*arguments, **options)
        self.sum = self.add_weight(name="sum", shape=(3,), initializer="zeros", trainable=False)


def quantized_of(model):
    keras.utils.set_random_seed(1)
    model(X)
    made = quantize_model(model, X)
    made.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return made


@pytest.fixture
def quantized():
    return quantized_of(Scaled())


@pytest.mark.medium
def test_its_loss_and_metric_are_those_of_the_class(quantized):
    assert isinstance(quantized, Keras3QatModel)
    plain = float(keras.ops.mean(keras.losses.sparse_categorical_crossentropy(Y, quantized.predict(X, verbose=0))))
    logs = quantized.evaluate(X, Y, batch_size=128, verbose=0, return_dict=True)
    assert logs["total"] == pytest.approx(3 * plain, rel=1e-4)
    before = quantized.get_layer("dense").weights[0].numpy().copy()
    quantized.fit(X, Y, verbose=0)
    assert not np.array_equal(before, quantized.get_layer("dense").weights[0].numpy())


def test_a_part_of_the_float_model_is_named(quantized):
    with pytest.raises(MissingAttributeError, match=r"Scaled.dense \(Dense\) is a part of the float model"):
        _ = quantized.dense


def test_it_is_loaded_with_its_class_and_said_where_there_is_none(quantized, tmp_path):
    quantized.fit(X, Y, verbose=0)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.factor == 3.0
    expected = quantized.evaluate(X, Y, verbose=0, return_dict=True)
    assert loaded.evaluate(X, Y, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-5)
    back = loaded.to_float()
    assert type(back) is Scaled
    np.testing.assert_array_equal(back.dense.kernel, loaded.get_layer("dense").weights[0])
    said = pytest.warns(TrainingSemanticsWarning, match="a class of its own, theirs>Scaled, which is not known here")
    with without_their_classes(), said:
        assert keras.models.load_model(tmp_path / "model.keras", compile=False).driver is None


def test_variables_that_nothing_here_makes_stay_in_the_file_and_are_said(tmp_path):
    quantized = quantized_of(Accumulating())
    quantized.save(tmp_path / "model.keras")
    expected = quantized.predict(X, verbose=0)
    with pytest.warns(TrainingSemanticsWarning, match="1 variable that class Accumulating has made"):
        loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), expected)
    with (
        without_their_classes(),
        pytest.warns(TrainingSemanticsWarning, match="without its train_step, losses, metrics"),
    ):
        plain = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(plain.predict(X, verbose=0), expected)


@contextlib.contextmanager
def without_their_classes():
    known = keras.saving.get_custom_objects()
    held = {name: known.pop(name) for name in [each for each in known if each.startswith("theirs>")]}
    try:
        yield
    finally:
        known.update(held)
