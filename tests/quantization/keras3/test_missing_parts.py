"""A class whose training step reads a part that the quantized graph has not: it is said at once, with what to do."""

import keras
import numpy as np
import pytest
import tf_keras

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model
from qat.quantization.keras.custom_training import MissingAttributeError

X = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
Y = np.ones((128, 4), np.float32)
BOTH = pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])


def parts(of):
    return [of.Sequential([of.Input((6,)), of.layers.Dense(4)], name=name) for name in ("student", "teacher")]


def distiller(of):
    class Distiller(of.Model):
        def __init__(self, student, teacher):
            super().__init__()
            self.teacher, self.student = teacher, student

        def call(self, x):
            return self.student(x)

        def asked(self, x):
            return self.teacher(x, training=False)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            loss = of.losses.MeanSquaredError()
            return loss(y, y_pred) + loss(self.asked(x), y_pred)

    return Distiller


@BOTH
def test_a_teacher_is_said_before_any_work_and_the_advice_trains_the_student(of):
    model = distiller(of)(*parts(of))
    model(X[:2])
    said = r"reads Distiller.teacher \(Sequential\).*Distiller\(quantize_model\(model.student, ...\), model.teacher\)"
    with pytest.warns(TrainingSemanticsWarning, match=said):
        quantized = quantize_model(model, X)
    quantized.compile("sgd")
    with pytest.raises(MissingAttributeError, match=r"train Distiller\(quantize_model\(model.student"):
        _ = quantized.teacher

    advised = distiller(of)(quantize_model(model.student, X), model.teacher)
    advised.compile("sgd")
    before = [np.array(each) for each in advised.student.trainable_variables]
    advised.fit(X, Y, verbose=0)
    assert any(np.any(one != other) for one, other in zip(before, advised.student.trainable_variables, strict=True))


@BOTH
def test_a_class_that_drives_by_self_alone_is_not_warned_of(of, recwarn):
    class Plain(of.Model):
        def __init__(self):
            super().__init__()
            self.net = of.layers.Dense(4)

        def call(self, x):
            return self.net(x)

        def train_step(self, data):
            return super().train_step(data)

    model = Plain()
    model(X[:2])
    quantize_model(model, X)
    assert [each for each in recwarn if issubclass(each.category, TrainingSemanticsWarning)] == []


@BOTH
def test_where_the_constructor_takes_something_else_the_part_is_named(of):
    class Sampled(of.Model):
        def __init__(self, width):
            super().__init__()
            self.encoder, self.judge = of.layers.Dense(width), of.layers.Dense(1)

        def call(self, x):
            return self.encoder(x)

        def train_step(self, data):
            return {"loss": self.judge(self(data[0], training=True))}

    model = Sampled(4)
    model(X[:2])
    model.judge.build((None, 4))
    with pytest.warns(TrainingSemanticsWarning, match="as a model of its own, and train a Sampled that holds it"):
        quantize_model(model, X)
