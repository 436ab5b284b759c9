"""How models are put together by hand: odd inputs, odd outputs, odd constants, odd dtypes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers


def _features(size=6, name="features", **options):
    return tf_keras.Input((size,), name=name, **options)


def output_of_every_layer():
    entry = _features()
    a = layers.Dense(5, activation="relu", name="a")(entry)
    b = layers.Dense(4, activation="tanh", name="b")(a)
    return tf_keras.Model(entry, [a, b, layers.Dense(3, name="c")(b)])


def output_before_its_activation():
    entry = _features()
    logits = layers.Dense(4, name="logits")(entry)
    return tf_keras.Model(entry, {"logits": logits, "classes": layers.ReLU(name="classes")(logits)})


def output_before_batch_norm():
    image = tf_keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(4, 3, name="conv")(image)
    return tf_keras.Model(image, [x, layers.ReLU()(layers.BatchNormalization()(x))])


def output_passed_through_only():
    entry = _features()
    return tf_keras.Model(entry, layers.Activation("linear")(entry))


def output_thrice_in_dict():
    entry = _features()
    x = layers.Dense(4)(entry)
    return tf_keras.Model(entry, {"b": x, "a": x, "c": layers.Softmax()(x)})


def output_softmax_and_argmax():
    image = tf_keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(3, 3, activation="softmax")(image)
    return tf_keras.Model(image, [x, tf.argmax(x, axis=-1, output_type=tf.int32)])


def input_unused():
    a, b = _features(name="a"), _features(4, name="b")
    return tf_keras.Model([a, b], layers.Dense(3)(a))


def input_unused_integer():
    a, b = _features(name="a"), tf_keras.Input((3,), dtype="int32", name="b")
    return tf_keras.Model({"first": a, "second": b}, layers.Dense(3)(a))


def inputs_nested():
    a, b, c = _features(name="a"), _features(name="b"), _features(name="c")
    return tf_keras.Model({"pair": [a, b], "one": c}, layers.Dense(3)(layers.Add()([a, b, c])))


def inputs_tuple_order():
    z, a = _features(3, name="z"), _features(4, name="a")
    return tf_keras.Model((z, a), layers.Concatenate()([a, z]))


def image_and_numbers():
    image, numbers = tf_keras.Input((8, 8, 3), name="pixels"), _features(name="numbers")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(image)))
    x = layers.concatenate([x, layers.Dense(4, activation="relu")(numbers)])
    return tf_keras.Model(
        [image, numbers], [layers.Dense(2, name="price")(x), layers.Dense(3, activation="softmax")(x)]
    )


def same_input_twice():
    entry = _features()
    return tf_keras.Model(entry, layers.Concatenate()([entry, entry]))


def added_to_itself():
    entry = _features()
    x = layers.Dense(4)(entry)
    return tf_keras.Model(entry, layers.Multiply()([layers.Add()([x, x]), x]))


def shared_submodel_nested():
    inner = tf_keras.Sequential([layers.Dense(4, activation="relu")], name="inner")
    shared = tf_keras.Sequential([layers.Dense(6), layers.BatchNormalization(), inner], name="tower")
    a, b = _features(name="anchor"), _features(name="positive")
    return tf_keras.Model([a, b], layers.Dot(axes=1, normalize=True)([shared(a), shared(b)]))


def triplet():
    tower = tf_keras.Sequential(
        [layers.Conv2D(4, 3, strides=2), layers.BatchNormalization(), layers.ReLU(), layers.Flatten(), layers.Dense(4)]
    )
    entries = [tf_keras.Input((8, 8, 1), name=name) for name in ("anchor", "positive", "negative")]
    a, p, n = (tf.math.l2_normalize(tower(entry), axis=1) for entry in entries)
    distances = [tf.reduce_sum(tf.square(a - other), axis=1, keepdims=True) for other in (p, n)]
    return tf_keras.Model(entries, layers.Concatenate()(distances))


def siamese_absolute_lambda():
    tower = tf_keras.Sequential([layers.Dense(6, activation="relu"), layers.Dense(5)])
    a, b = _features(name="a"), _features(name="b")
    gap = layers.Lambda(lambda t: tf.abs(t[0] - t[1]))([tower(a), tower(b)])
    return tf_keras.Model([a, b], layers.Dense(1, activation="sigmoid")(gap))


def siamese_backend():
    """Written with `tf_keras.backend`, as in older examples."""
    k = tf_keras.backend
    tower = tf_keras.Sequential([layers.Dense(6, activation="relu"), layers.Dense(5)])
    a, b = _features(name="a"), _features(name="b")

    def distance(pair):
        return k.sqrt(k.maximum(k.sum(k.square(pair[0] - pair[1]), axis=1, keepdims=True), k.epsilon()))

    return tf_keras.Model([a, b], layers.Lambda(distance)([tower(a), tower(b)]))


def sequential_no_input_shape():
    model = tf_keras.Sequential([layers.Dense(5, activation="relu"), layers.Dense(3)])
    model(np.zeros((2, 6), np.float32))
    return model


def sequential_of_models():
    base = tf_keras.Sequential([tf_keras.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu")], name="base")
    model = tf_keras.Sequential([base, layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")])
    model.build((None, 8, 8, 3))
    return model


class ResidualNet(tf_keras.Model):
    """A subclassed model of lists of layers and a loop."""

    def __init__(self):
        super().__init__()
        self.stem = layers.Conv2D(4, 3, padding="same")
        self.convs = [layers.Conv2D(4, 3, padding="same", use_bias=False) for _ in range(2)]
        self.norms = [layers.BatchNormalization() for _ in range(2)]
        self.head = layers.Dense(3)

    def call(self, inputs, training=False):
        x = self.stem(inputs)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = tf.nn.relu(x + norm(conv(x), training=training))
        return {"logits": self.head(tf.reduce_mean(x, axis=[1, 2])), "features": x}


def subclassed_dict_outputs():
    model = ResidualNet()
    model(tf.zeros((1, 8, 8, 3)))
    return model


class TwoInputs(tf_keras.Model):
    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Dense(4), layers.Dense(4)

    def call(self, inputs):
        return tf.nn.relu(self.left(inputs["left"]) * tf.sigmoid(self.right(inputs["right"])))


def subclassed_dict_inputs():
    model = TwoInputs()
    model({"right": tf.zeros((1, 3)), "left": tf.zeros((1, 5))})
    return model


class Functional(tf_keras.Model):
    """A functional model of a class of its own, with a train_step nobody should need."""

    def train_step(self, data):
        raise NotImplementedError


def functional_subclass():
    entry = _features()
    return Functional(entry, layers.Dense(3)(layers.Dense(4, activation="relu")(entry)))


def preprocessing_lambda():
    """`keras.applications` preprocessing inside: channels reversed, a mean subtracted."""
    image = tf_keras.Input((8, 8, 3), name="pixels")
    x = layers.Lambda(lambda t: tf_keras.applications.vgg16.preprocess_input(tf.identity(t)))(image)
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(x))))


def preprocessing_operators():
    image = tf_keras.Input((8, 8, 3), name="pixels")
    x = tf_keras.applications.mobilenet_v2.preprocess_input(image)
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(4, 3, strides=2)(x))))


def preprocessing_torch():
    image = tf_keras.Input((8, 8, 3), name="pixels")
    x = (image / 255.0 - tf.constant([0.485, 0.456, 0.406])) / tf.constant([0.229, 0.224, 0.225])
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(4, 3, padding="same")(x))))


def grey_to_colour():
    image = tf_keras.Input((8, 8, 1), name="image")
    x = tf.image.grayscale_to_rgb(image)
    return tf_keras.Model(image, layers.Conv2D(4, 3)(layers.Concatenate()([x, image])))


def colour_to_grey():
    image = tf_keras.Input((8, 8, 3), name="image")
    return tf_keras.Model(image, layers.Conv2D(4, 3)(tf.image.rgb_to_grayscale(image)))


def standardized_per_image():
    image = tf_keras.Input((6, 6, 3), name="image")
    mean = tf.reduce_mean(image, axis=[1, 2, 3], keepdims=True)
    deviation = tf.math.reduce_std(image, axis=[1, 2, 3], keepdims=True)
    return tf_keras.Model(image, layers.Conv2D(4, 3)((image - mean) / (deviation + 1e-3)))


def rescaled_padded():
    image = tf_keras.Input((8, 8, 3), name="pixels")
    x = layers.ZeroPadding2D(1)(layers.Rescaling(1 / 127.5, offset=-1)(image))
    return tf_keras.Model(image, layers.Flatten()(layers.DepthwiseConv2D(3, strides=2)(x)))


def normalization_then_pool():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Normalization(mean=[0.1, 0.2, -0.1], variance=[0.5, 0.9, 2.0])(image)
    return tf_keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))))


def constants_of_every_shape():
    image = tf_keras.Input((4, 4, 3), name="image")
    x = layers.Conv2D(4, 1)(image)
    x = x + 0.3 + tf.constant([0.1, 0.2, -0.3, 0.4]) + tf.ones((4, 1)) + np.full((1, 4, 4, 1), 0.2, np.float32)
    return tf_keras.Model(image, 1.5 - x)


def constant_prior_matrix():
    entry = _features(8)
    prior = np.random.default_rng(0).normal(0, 0.5, (8, 5)).astype(np.float32)
    return tf_keras.Model(entry, tf.nn.relu(tf.matmul(entry, prior)) @ tf.constant(prior.T))


def broadcast_between_ranks():
    image, numbers = tf_keras.Input((4, 4, 3), name="image"), _features(3, name="numbers")
    return tf_keras.Model([image, numbers], layers.Conv2D(3, 1)(image) * numbers[:, None, None, :] + image)


def double_precision():
    entry = tf_keras.Input((6,), name="features", dtype="float64")
    x = layers.Dense(5, activation="relu", dtype="float64")(entry)
    return tf_keras.Model(entry, layers.Dense(3, dtype="float64")(x))


def half_precision_policy():
    policy = tf_keras.mixed_precision.Policy("mixed_float16")
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", dtype=policy)(image)
    x = layers.BatchNormalization(dtype=policy)(x)
    x = layers.Dense(3, dtype=policy)(layers.GlobalAveragePooling2D(dtype=policy)(x))
    return tf_keras.Model(image, layers.Activation("softmax", dtype="float32")(x))


def integer_pixels():
    image = tf_keras.Input((8, 8, 3), name="bytes", dtype="uint8")
    x = layers.Rescaling(1 / 255)(tf.cast(image, tf.float32))
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(4, 3)(x))))


def integer_features():
    """Counts as int32, made real in the model."""
    counts = tf_keras.Input((6,), name="counts", dtype="int32")
    return tf_keras.Model(counts, layers.Dense(3)(layers.Dense(5, activation="relu")(tf.cast(counts, tf.float32))))


def ids_embedded_and_counted():
    ids = tf_keras.Input((6,), name="ids", dtype="int64")
    x = layers.Flatten()(layers.Embedding(20, 3)(ids))
    return tf_keras.Model(ids, layers.Dense(3)(layers.concatenate([x, tf.cast(ids, tf.float32) / 20.0])))


def batch_size_fixed():
    image = tf_keras.Input((6, 6, 3), batch_size=4, name="image")
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    return tf_keras.Model(image, layers.Dense(3)(x))


def frozen_and_trained():
    image = tf_keras.Input((8, 8, 3), name="image")
    frozen = layers.Conv2D(4, 3, trainable=False, name="frozen")
    x = layers.BatchNormalization(trainable=False)(frozen(image))
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def all_frozen_but_head():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(image))))
    base = tf_keras.Model(image, x)
    base.trainable = False
    return tf_keras.Model(image, layers.Dense(3)(base.output))


def strange_names():
    entry = _features(name="input_with-dash")
    x = layers.Dense(4, activation="relu", name="block1/conv_1.a")(entry)
    return tf_keras.Model(entry, layers.Dense(3, name="out.put")(x), name="my-model")


def multi_task():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 3, activation="relu")(image)
    flat = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(
        inputs={"image": image},
        outputs={
            "mask": layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x),
            "age": layers.Dense(1, name="age")(flat),
            "gender": layers.Dense(2, activation="softmax", name="gender")(flat),
        },
    )


def mixture_of_experts():
    entry = _features()
    gate = layers.Dense(3, activation="softmax")(entry)
    experts = tf.stack([layers.Dense(4, activation="relu")(entry) for _ in range(3)], axis=1)
    return tf_keras.Model(entry, tf.reduce_sum(experts * gate[..., None], axis=1))


def early_exit():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu")(image)
    exits = []
    for _ in range(2):
        x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        exits.append(layers.Dense(3, activation="softmax")(layers.GlobalMaxPooling2D()(x)))
    return tf_keras.Model(image, exits)


def highway():
    x = entry = _features(8)
    for _ in range(2):
        gate = layers.Dense(8, activation="sigmoid")(x)
        x = layers.Add()([layers.Multiply()([gate, layers.Dense(8, activation="relu")(x)]), (1.0 - gate) * x])
    return tf_keras.Model(entry, layers.Dense(2)(x))


def dueling_q():
    entry = _features(4)
    x = layers.Dense(8, activation="relu")(entry)
    value, advantage = layers.Dense(1)(x), layers.Dense(3)(x)
    return tf_keras.Model(entry, value + (advantage - tf.reduce_mean(advantage, axis=1, keepdims=True)))


def actor_squashed():
    entry = _features(4)
    x = layers.Dense(8, activation="tanh")(layers.LayerNormalization()(entry))
    spread = tf.exp(tf.clip_by_value(layers.Dense(2)(x), -5.0, 2.0))
    return tf_keras.Model(entry, [2.0 * layers.Dense(2, activation="tanh")(x), spread])


def variational_sampled():
    """Noise drawn in training only, as a KL layer of one's own adds a loss."""

    class Sampling(layers.Layer):
        def call(self, inputs, training=None):
            mean, log_variance = inputs
            self.add_loss(-0.5 * tf.reduce_mean(1.0 + log_variance - tf.square(mean) - tf.exp(log_variance)))
            if training:
                return mean + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))
            return mean

    entry = _features(8)
    x = layers.Dense(6, activation="relu")(entry)
    z = Sampling()([layers.Dense(2)(x), layers.Dense(2)(x)])
    return tf_keras.Model(entry, layers.Dense(8, activation="sigmoid")(z))


def regularized():
    """Penalties, constraints and initializers change nothing in the file."""
    image = tf_keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 3, kernel_regularizer="l2", kernel_constraint="max_norm")(image)
    x = layers.ActivityRegularization(l1=0.01)(x)
    return tf_keras.Model(image, layers.Dense(3, activity_regularizer="l2")(layers.Flatten()(x)))


def scores_masked_and_read_unmasked():
    """The masked scores have a grid of their own: the file requantizes for it."""
    image = tf_keras.Input((6, 6, 4), name="image")
    scores = layers.Conv2D(4, 1)(image)
    mask = np.array([-1e9, 0, 0, -1e9, 0, 0], np.float32)[:, None]
    weights = tf.nn.softmax(scores + mask, axis=2)
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(scores * weights)))


def embedding_rows_masked():
    ids = tf_keras.Input((6,), dtype="int32", name="ids")
    rows = layers.Embedding(20, 5)(ids)
    weights = tf.nn.softmax(rows + np.array([-1e9, 0, 0, 0, -1e9], np.float32))
    return tf_keras.Model(ids, layers.Dense(3)(layers.Flatten()(weights)))


def blocks_in_the_batch_and_around():
    image = tf_keras.Input((6, 6, 4), name="image")
    x = layers.Conv2D(4, 1)(image)
    blocks = tf.nn.relu(tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]))
    back = tf.compat.v1.batch_to_space_nd(blocks, [2, 2], [[0, 0], [0, 0]])
    return tf_keras.Model(image, layers.Conv2D(3, 3)(tf.concat([back, tf.roll(x, 1, axis=2)], -1)))


WIRING = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_") and not isinstance(build, type)
}
