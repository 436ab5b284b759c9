"""Metric objects that layers update in their call count in the quantized model as in the float model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.errors import ModelError
from qat.models.object_configs import describe_object, make_object
from qat.quantization import quantize_model
from qat.quantization.importing.metric_calls import make_metric

rng = np.random.default_rng(0)
POINTS = rng.normal(size=(64, 6)).astype(np.float32)
LABELS = rng.integers(0, 3, (64, 1)).astype(np.float32)


class Largest(tf_keras.metrics.Metric):
    """A class of the user's that nobody has registered."""

    def __init__(self, name="largest", **kwargs):
        super().__init__(name=name, **kwargs)
        self.found = self.add_weight("found", initializer="zeros")

    def update_state(self, values, sample_weight=None):
        self.found.assign(tf.maximum(self.found, tf.reduce_max(values * sample_weight)))

    def result(self):
        return self.found + 0.0


def endpoint(package, adds):
    """The layer of Keras' guides that takes the labels, adds the loss and counts."""

    class Endpoint(package.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.loss = package.losses.SparseCategoricalCrossentropy(from_logits=True)
            self.accuracy = package.metrics.SparseCategoricalAccuracy(name="right")
            self.largest = Largest() if adds else package.metrics.Mean(name="mean")

        def call(self, labels, logits, training=None):
            self.add_loss(self.loss(labels, logits))
            if adds:
                self.add_metric(self.accuracy(labels, logits), name="accuracy")
                self.add_metric(self.largest(logits, sample_weight=0.5))
            else:
                self.accuracy.update_state(labels, logits)
                if training:
                    self.largest.update_state(logits)
            return logits

    entry, labels = package.Input((6,)), package.Input((1,), name="labels")
    logits = package.layers.Dense(3)(package.layers.Dense(8, activation="relu")(entry))
    return package.Model([entry, labels], Endpoint(name="end")(labels, logits))


def trained(package, model):
    model.compile(package.optimizers.SGD(0.1))
    history = model.fit([POINTS, LABELS], batch_size=16, epochs=2, shuffle=False, verbose=0).history
    tested = model.evaluate([POINTS, LABELS], batch_size=16, verbose=0, return_dict=True)
    return {name: [*values, tested[name]] for name, values in history.items()}


@pytest.mark.parametrize(("package", "adds"), [(tf_keras, True), (tf_keras, False), (keras, False)])
def test_metrics_of_a_layer_count_as_in_the_float_model(package, adds, recwarn, tmp_path):
    package.utils.set_random_seed(1)
    model = endpoint(package, adds)
    before = [variable.numpy() for layer in model.layers for variable in getattr(layer, "metrics_variables", [])]
    quantized = quantize_model(model, [POINTS, LABELS])
    assert not [each for each in recwarn if "TrainingSemantics" in each.category.__name__]
    quantized.fake_quantization(False)
    assert quantized.predict([POINTS, LABELS], verbose=0).shape == (64, 3)
    assert "update_state" not in vars(model.layers[-1].accuracy) or package is tf_keras  # which binds one per object
    expected, found = trained(package, model), trained(package, quantized)
    assert set(found) == set(expected) >= {"loss", "right"}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)
    assert before == [variable * 0 for variable in before]
    if not adds:
        quantized.save(tmp_path / "model.keras")
        loaded = package.models.load_model(tmp_path / "model.keras")
        tested = loaded.evaluate([POINTS, LABELS], batch_size=16, verbose=0, return_dict=True)
        assert tested["right"] == pytest.approx(found["right"][-1])


def test_a_metric_of_a_class_that_is_not_known_is_named():
    said = {"kind": "metrics", "class": "Lost", "known": "Custom>Lost", "source": "theirs.Lost", "config": {}}
    with pytest.raises(ModelError, match=r"metric of class 'Custom>Lost'.*register_keras_serializable"):
        make_metric(said)


@pytest.mark.parametrize("package", [tf_keras, keras])
def test_a_loss_of_either_keras_is_described_and_made_anew(package):
    made = make_object(describe_object(package.losses.BinaryCrossentropy(from_logits=True)))
    assert type(made) is package.losses.BinaryCrossentropy
    assert made.get_config()["from_logits"]


def test_a_class_that_is_called_as_one_of_keras_is_not_taken_for_it():
    class Mean(tf_keras.metrics.Mean):
        pass

    assert make_object(describe_object(Mean())) is None
    assert describe_object(print) is None
