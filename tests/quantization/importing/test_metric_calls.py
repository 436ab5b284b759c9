"""Metric objects that layers update in their call count in the quantized model as in the float model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.errors import ModelError, TrainingSemanticsWarning
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


@pytest.mark.medium
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


class Halves:
    """Layers that update metrics in ways of their own, by the package that they are of."""

    def __init__(self, package):
        metrics = package.metrics

        class Counting(package.layers.Layer):
            def __init__(self):
                super().__init__()
                self.one, self.other = metrics.Sum(name="one"), metrics.Mean(name="other")

        class Twice(Counting):
            """Called twice, and updated twice in a call; by weights, and by nothing."""

            def call(self, x, weights=None):
                self.one.update_state(x**2, weights)
                self.other.update_state(tf.reduce_mean(x, -1), tf.abs(x[:, 0]))
                self.other.update_state(2.0)
                return 0.5 * x

        class ByMode(Counting):
            """Updated with something else in training; one of them there alone, before the other."""

            def call(self, x, training=None):
                if training:
                    self.one.update_state(tf.ones_like(x))
                self.other.update_state(3 * x if training else x)
                self.add_loss(tf.reduce_mean(x**2) * (100.0 if training else 1.0))
                return x

        self.twice, self.by_mode = Twice, ByMode


@pytest.mark.medium
@pytest.mark.parametrize("package", [tf_keras, keras])
@pytest.mark.parametrize("kind", ["twice", "by_mode"])
def test_one_object_counts_all_that_the_float_models_counts(package, kind, recwarn, tmp_path):
    package.utils.set_random_seed(1)
    entry, layer = package.Input((6,)), getattr(Halves(package), kind)()
    inner = layer(package.layers.Dense(5)(entry))
    model = package.Model(entry, package.layers.Dense(2)(layer(inner) if kind == "twice" else inner))
    quantized = quantize_model(model, POINTS)
    assert not [each for each in recwarn if "TrainingSemantics" in each.category.__name__]
    quantized.fake_quantization(False)
    quantized.save(tmp_path / "model.keras")
    found = []
    for each in (model, quantized, package.models.load_model(tmp_path / "model.keras")):
        each.compile(package.optimizers.SGD(0.0), "mse")
        history = each.fit(POINTS, LABELS[:, [0, 0]], batch_size=16, verbose=0).history
        tested = each.evaluate(POINTS, LABELS[:, [0, 0]], batch_size=16, verbose=0, return_dict=True)
        found.append({"trained " + name: values[-1] for name, values in history.items()} | tested)
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-4)


def test_what_cannot_be_counted_is_said_by_its_layer():
    class Above(tf_keras.metrics.Metric):
        def __init__(self, limit, name="above"):
            super().__init__(name=name)
            self.limit, self.count = limit, self.add_weight("count", initializer="zeros")

        def update_state(self, values, sample_weight=None):
            self.count.assign_add(tf.reduce_sum(tf.cast(values > self.limit, tf.float32)))

        def result(self):
            return self.count + 0.0

    class Counting(tf_keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.above, self.mean, self.seen = Above(0.1), tf_keras.metrics.Mean(), tf_keras.metrics.Mean()

        def call(self, x):
            self.above.update_state(x)
            tf.cond(tf.reduce_mean(x) > 0, lambda: self.mean.update_state(x), tf.no_op)
            self.seen.update_state(x)
            self.add_loss(self.seen.result())
            return x

    entry = tf_keras.Input((6,))
    model = tf_keras.Model(entry, tf_keras.layers.Dense(2)(Counting(name="counting")(entry)))
    with pytest.warns(TrainingSemanticsWarning) as said:
        quantize_model(model, POINTS)
    text = next(str(each.message) for each in said if each.category is TrainingSemanticsWarning)
    assert text.count("counting'") == 3, text
