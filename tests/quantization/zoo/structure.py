"""Models inside models, shared parts, several inputs and outputs, code of the user's own."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers


def _block(channels, name, inputs):
    image = tf_keras.Input(inputs)
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name="conv")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))
    return tf_keras.Model(image, x, name=name)


def nested_same_names():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = _block(4, "first", (8, 8, 3))(image)
    x = _block(6, "second", (8, 8, 4))(x)
    return tf_keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def nested_twice_deep():
    inner = tf_keras.Sequential([layers.Dense(6, activation="relu", name="d"), layers.Dense(5, name="e")], name="inner")
    outer = tf_keras.Sequential([layers.Dense(8, activation="tanh", name="d"), inner], name="outer")
    entry = tf_keras.Input((7,), name="features")
    return tf_keras.Model(entry, layers.Dense(3, name="d")(outer(entry)))


def sequential_built():
    model = tf_keras.Sequential([layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)])
    model.build((None, 8, 8, 2))
    return model


def shared_layer():
    a, b = tf_keras.Input((6,), name="a"), tf_keras.Input((6,), name="b")
    dense = layers.Dense(5, activation="relu", name="shared")
    return tf_keras.Model([a, b], layers.Dense(2)(layers.Concatenate()([dense(a), dense(b)])))


def siamese():
    tower = tf_keras.Sequential(
        [layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.Flatten(), layers.Dense(6)]
    )
    left, right = tf_keras.Input((8, 8, 1), name="left"), tf_keras.Input((8, 8, 1), name="right")
    gap = layers.Subtract()([tower(left), tower(right)])
    return tf_keras.Model([left, right], layers.Dense(1, activation="sigmoid")(tf.abs(gap)))


def siamese_euclidean():
    tower = tf_keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(6)])
    left, right = tf_keras.Input((10,), name="left"), tf_keras.Input((10,), name="right")
    distance = layers.Lambda(
        lambda t: tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(t[0] - t[1]), axis=1, keepdims=True), 1e-7))
    )([tower(left), tower(right)])
    return tf_keras.Model([left, right], distance)


def inputs_by_name_unsorted():
    entries = {"zebra": tf_keras.Input((4,), name="zebra"), "ant": tf_keras.Input((6,), name="ant")}
    x = layers.Concatenate()([layers.Dense(5)(entries["zebra"]), entries["ant"]])
    return tf_keras.Model(entries, layers.Dense(3)(x))


def inputs_keyed_differently():
    entries = {"left": tf_keras.Input((4,), name="zz"), "right": tf_keras.Input((4,), name="aa")}
    return tf_keras.Model(entries, layers.Dense(3)(layers.Subtract()([entries["left"], entries["right"]])))


def outputs_by_name():
    entry = tf_keras.Input((6,), name="features")
    x = layers.Dense(8, activation="relu")(entry)
    return tf_keras.Model(entry, {"zeta": layers.Dense(2, name="one")(x), "alpha": layers.Dense(3, name="two")(x)})


def outputs_nested():
    entry = tf_keras.Input((6,), name="features")
    x = layers.Dense(8, activation="relu", name="trunk")(entry)
    return tf_keras.Model(entry, [x, {"b": layers.Dense(2, name="p")(x), "a": layers.Softmax(name="q")(x)}])


def several_outputs_listed():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    flat = layers.Flatten()(x)
    return tf_keras.Model(
        image, [layers.Dense(4, activation="softmax", name="classes")(flat), x, layers.Dense(4, name="box")(flat)]
    )


def output_twice():
    entry = tf_keras.Input((6,), name="features")
    x = layers.Dense(4, activation="relu")(entry)
    return tf_keras.Model(entry, [x, x])


def output_is_reshape():
    image = tf_keras.Input((4, 4, 2), name="image")
    return tf_keras.Model(image, layers.Reshape((8, 4))(layers.Conv2D(2, 3, padding="same")(image)))


def output_is_concat():
    image = tf_keras.Input((6, 6, 2), name="image")
    a, b = layers.Conv2D(2, 3, padding="same", activation="relu")(image), layers.Conv2D(3, 1)(image)
    return tf_keras.Model(image, layers.Concatenate()([a, b]))


def output_is_input():
    entry = tf_keras.Input((6,), name="features")
    return tf_keras.Model(entry, [entry, layers.Dense(4)(entry)])


def output_of_pooled_input():
    image = tf_keras.Input((6, 6, 2), name="image")
    return tf_keras.Model(image, layers.Flatten()(layers.MaxPooling2D()(image)))


class NamedConv(layers.Conv2D):
    """A subclass that only adds a constructor."""

    def __init__(self, filters, **kwargs):
        super().__init__(filters, 3, padding="same", use_bias=False, **kwargs)


class ScaledDense(layers.Dense):
    """A subclass that changes the arithmetic."""

    def call(self, inputs):
        return super().call(inputs) * 0.5


class GatedUnit(layers.Layer):
    """A layer of the user's own, with weights of its own."""

    def build(self, shape):
        self.gate = self.add_weight("gate", (shape[-1], shape[-1]), initializer="glorot_uniform")
        self.shift = self.add_weight("shift", (shape[-1],), initializer="ones")

    def call(self, inputs):
        return inputs * tf.sigmoid(tf.matmul(inputs, self.gate) + self.shift)


class Residual(layers.Layer):
    """A layer that holds layers."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.conv, self.norm = layers.Conv2D(channels, 3, padding="same"), layers.BatchNormalization()

    def call(self, inputs, training=None):
        return tf.nn.relu(inputs + self.norm(self.conv(inputs), training=training))


class Scorer(tf_keras.Model):
    """A subclassed model."""

    def __init__(self):
        super().__init__()
        self.hidden, self.drop, self.out = layers.Dense(8, activation="relu"), layers.Dropout(0.5), layers.Dense(3)

    def call(self, inputs, training=None):
        return self.out(self.drop(self.hidden(inputs), training=training))


def subclasses_of_layers():
    image = tf_keras.Input((6, 6, 3), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(NamedConv(4)(image)))
    return tf_keras.Model(image, ScaledDense(3)(layers.Flatten()(x)))


def custom_layers():
    image = tf_keras.Input((6, 6, 3), name="image")
    x = Residual(3)(image)
    return tf_keras.Model(image, layers.Dense(3)(GatedUnit()(layers.GlobalAveragePooling2D()(x))))


def lambda_layers():
    entry = tf_keras.Input((6,), name="features")
    x = layers.Lambda(lambda t: t * 2.0 + 0.5)(layers.Dense(8)(entry))
    x = layers.Lambda(lambda t: tf.concat([tf.nn.relu(t), t[:, :3]], -1))(x)
    return tf_keras.Model(entry, layers.Dense(3)(x))


def lambda_l2_normalize():
    entry = tf_keras.Input((6,), name="features")
    x = layers.Lambda(lambda t: tf.math.l2_normalize(t, axis=1))(layers.Dense(8)(entry))
    return tf_keras.Model(entry, x)


def subclassed_model_called():
    model = Scorer()
    model(tf.zeros((1, 6)))
    return model


def subclassed_inside_functional():
    entry = tf_keras.Input((6,), name="features")
    return tf_keras.Model(entry, layers.Softmax()(Scorer()(entry)))


STRUCTURE = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_") and not isinstance(build, type)
}
