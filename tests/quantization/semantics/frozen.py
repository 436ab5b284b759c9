"""What is not trained, and what is called for inference while the rest trains; nested models."""

from __future__ import annotations

import tf_keras
from tf_keras import layers

from ..zoo.drawing import VOCABULARY
from .listing import image, semantics, tokens, vector


def _base(name="base", dropout=False):
    entry = image(name=f"{name}_image")
    x = layers.Conv2D(4, 3, use_bias=False, name="conv")(entry)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Dropout(0.5)(x) if dropout else x
    x = layers.Conv2D(5, 3, activation="relu", name="deeper", kernel_regularizer="l2")(x)
    return tf_keras.Model(entry, layers.GlobalAveragePooling2D()(x), name=name)


@semantics()
def frozen_base():
    """base.trainable = False: two trainable variables, the base's statistics stand still."""
    base, entry = _base(), image()
    base.trainable = False
    return tf_keras.Model(entry, layers.Dense(2)(base(entry)))


@semantics()
def base_called_for_inference():
    """base(x, training=False) of a trainable base: variables are trained, statistics are used and stand still."""
    base, entry = _base(), image()
    return tf_keras.Model(entry, layers.Dense(2)(base(entry, training=False)))


@semantics()
def frozen_base_called_for_inference():
    """The transfer-learning guide's way: trainable = False and training=False."""
    base, entry = _base(), image()
    base.trainable = False
    return tf_keras.Model(entry, layers.Dense(2)(base(entry, training=False)))


@semantics()
def dropout_in_a_base_called_for_inference():
    """Dropout inside base(x, training=False) does not act, though the model trains."""
    base, entry = _base(dropout=True), image()
    return tf_keras.Model(entry, layers.Dense(2)(base(entry, training=False)))


@semantics()
def frozen_layer():
    """One layer of three is not trained: five variables become four."""
    entry = vector()
    x = layers.Dense(5, activation="relu")(layers.Dense(5, trainable=False)(entry))
    return tf_keras.Model(entry, layers.Dense(2, use_bias=False)(x))


@semantics()
def frozen_norm():
    """BatchNormalization alone is frozen: it normalises by its statistics in training too."""
    entry = image()
    x = layers.Conv2D(4, 3)(entry)
    norm = layers.BatchNormalization()
    x = layers.ReLU()(norm(x))
    norm.trainable = False
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@semantics()
def norm_called_for_inference():
    """norm(x, training=False): gamma and beta are trained, statistics are used."""
    entry = image()
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(entry), training=False))
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@semantics()
def partly_frozen_base():
    """Fine-tuning the top of a base: the first convolution and its norm stay."""
    base, entry = _base(), image()
    for layer in base.layers[:3]:
        layer.trainable = False
    return tf_keras.Model(entry, layers.Dense(2)(base(entry)))


@semantics()
def frozen_embedding():
    """A pretrained table that is not trained."""
    ids = tokens()
    x = layers.Embedding(VOCABULARY, 4, trainable=False)(ids)
    return tf_keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


@semantics()
def models_two_levels_deep():
    """A model in a model in a model, with penalties and statistics at the bottom."""
    middle_entry, entry = image(name="middle_image"), image()
    middle = tf_keras.Model(middle_entry, layers.Dense(4, activation="relu")(_base()(middle_entry)), name="middle")
    return tf_keras.Model(entry, layers.Dense(2)(middle(entry)))


@semantics()
def sequential_in_sequential():
    """Sequential models inside each other."""
    inner = tf_keras.Sequential([layers.Dense(5, activation="relu"), layers.BatchNormalization()], name="inner")
    return tf_keras.Sequential([tf_keras.Input((6,), name="vector"), inner, layers.Dense(2)])


@semantics()
def layers_that_train_inside_of_a_frozen_base():
    """base.trainable = False, then a layer of it trainable: Keras trains none of it, and a normalization acts."""
    base, entry = _base(), image()
    base.trainable = False
    base.get_layer("deeper").trainable = base.get_layer("norm").trainable = True
    return tf_keras.Model(entry, layers.Dense(2)(base(entry)))
