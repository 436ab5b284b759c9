"""Whoever trains a quantization-aware model: Keras in all its ways, loops of the user's, classes with a `train_step`.

With fake quantization off each row does to the QAT model what it does to the float model, number by number; with it on
the loss is near, and everything that trains has moved.
"""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import ModelError, TrainingSemanticsWarning
from qat.quantization import quantize_model
from qat.tflite import convert, verify

SHAPE, CLASSES, ROWS, BATCH = (6, 6, 2), 3, 128, 32
LOSS = "sparse_categorical_crossentropy"
KINDS = np.random.default_rng(1).integers(0, CLASSES, ROWS)
IMAGES = np.random.default_rng(0).normal(KINDS[:, None, None, None] * 0.4, 0.7, (ROWS, *SHAPE)).astype(np.float32)
WEIGHTS = np.random.default_rng(2).uniform(0.1, 3, ROWS).astype(np.float32)


def sgd():
    return tf_keras.optimizers.SGD(0.05, momentum=0.9)


def plain_network():
    tf_keras.utils.set_random_seed(5)
    image = tf_keras.Input(SHAPE, name="image")
    x = layers.Conv2D(6, 3, use_bias=False, name="conv", kernel_regularizer=tf_keras.regularizers.L2(1e-3))(image)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5, name="norm")(x))
    x = layers.Dense(5, activation="relu", name="hidden")(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="head")(x), name="plain")


def heads_network():
    tf_keras.utils.set_random_seed(6)
    image = tf_keras.Input(SHAPE, name="image")
    x = layers.Dense(8, activation="relu")(layers.Flatten()(image))
    outputs = {
        "kind": layers.Dense(CLASSES, activation="softmax", name="kind")(x),
        "size": layers.Dense(1, name="size")(x),
    }
    return tf_keras.Model(image, outputs, name="heads")


class Pair:
    """A float model and its quantization-aware one, both as new for each row."""

    def __init__(self, build):
        self.float_model = build()
        self.qat_model = quantize_model(self.float_model, IMAGES)
        self.states = [model.get_weights() for model in (self.float_model, self.qat_model)]

    def fresh(self):
        for model, state in zip((self.float_model, self.qat_model), self.states, strict=True):
            model.set_weights(state)
        return self.float_model, self.qat_model


@pytest.fixture(scope="module")
def pairs():
    return {build: Pair(build) for build in (plain_network, heads_network)}


ROWS_OF_TABLE = {}


def row(build=plain_network):
    """Put a way to train on the table: a function of a model that gives the numbers that it has seen."""

    def listed(drive):
        ROWS_OF_TABLE[drive.__name__] = (build, drive)
        return drive

    return listed


def fit(model, *data, optimizer=None, compiled=(), **options):
    model.compile(optimizer or sgd(), LOSS, metrics=["accuracy"], **dict(compiled))
    data = data or (IMAGES, KINDS)
    options = {"epochs": 1, "shuffle": False, "verbose": 0, "batch_size": BATCH} | options
    return model.fit(*data, **{name: value for name, value in options.items() if value is not None}).history


def batches(count=None):
    """Endless when `count` is None, as generators for `fit` are."""
    at = 0
    while count is None or at < count:
        part = slice(at * BATCH % ROWS, at * BATCH % ROWS + BATCH)
        yield IMAGES[part], KINDS[part], WEIGHTS[part]
        at += 1


@row()
def arrays(model):
    return fit(model, validation_data=(IMAGES[:50], KINDS[:50]))


@row()
def class_weight(model):
    return fit(model, class_weight={0: 1.0, 1: 5.0, 2: 0.2})


@row()
def sample_weight(model):
    return fit(model, sample_weight=WEIGHTS, validation_data=(IMAGES, KINDS, WEIGHTS))


@row()
def weighted_metrics(model):
    return fit(model, sample_weight=WEIGHTS, compiled={"weighted_metrics": ["accuracy", LOSS]})


@row()
def generator(model):
    return fit(model, batches(), batch_size=None, steps_per_epoch=4)


class Parts(tf_keras.utils.Sequence):
    def __len__(self):
        return ROWS // BATCH

    def __getitem__(self, at):
        part = slice(at * BATCH, (at + 1) * BATCH)
        return IMAGES[part], KINDS[part]


@row()
def keras_sequence(model):
    return fit(model, Parts(), batch_size=None, validation_data=Parts())


@row()
def tf_data(model):
    data = tf.data.Dataset.from_tensor_slices((IMAGES, KINDS)).batch(BATCH)
    return fit(model, data, batch_size=None, validation_data=data.prefetch(1))


@row()
def tf_data_of_dictionaries(model):
    data = tf.data.Dataset.from_tensor_slices(({"image": IMAGES}, KINDS)).batch(BATCH).repeat()
    return fit(model, data, batch_size=None, steps_per_epoch=4)


@row()
def jit_compile(model):
    return fit(model, compiled={"jit_compile": True})


@row()
def run_eagerly(model):
    return fit(model, compiled={"run_eagerly": True}, epochs=1)


@row()
def steps_per_execution(model):
    return fit(model, compiled={"steps_per_execution": 4}, validation_data=(IMAGES, KINDS))


@row()
def ema_optimizer(model):
    return fit(model, optimizer=tf_keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5))


@row()
def legacy_optimizer(model):
    return fit(model, optimizer=tf_keras.optimizers.legacy.SGD(0.05))


@row()
def loss_scale_optimizer(model):
    return fit(model, optimizer=tf_keras.mixed_precision.LossScaleOptimizer(sgd()))


@row()
def clipped_gradients(model):
    return fit(model, optimizer=tf_keras.optimizers.SGD(0.05, global_clipnorm=0.1))


@row()
def early_stopping(model):
    """The rate is far too high: the best epoch is not the last, and its weights come back."""
    stop = tf_keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    data = (IMAGES, KINDS)
    history = fit(model, callbacks=[stop], optimizer=tf_keras.optimizers.SGD(2.0), epochs=6, validation_data=data)
    best = model.evaluate(*data, batch_size=BATCH, verbose=0)[0]
    assert best == pytest.approx(min(history["val_loss"]), rel=1e-4)
    return {"best": [best]}


@row()
def rate_schedules(model):
    schedule = tf_keras.optimizers.schedules.CosineDecay(0.05, 8)
    plateau = tf_keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.05 / (epoch + 1))
    first = fit(model, optimizer=tf_keras.optimizers.SGD(schedule))
    return {"loss": first["loss"] + fit(model, callbacks=[plateau])["loss"]}


@row()
def batch_by_batch(model):
    model.compile(sgd(), LOSS, metrics=["accuracy"])
    losses = [model.train_on_batch(x, y, w)[0] for x, y, w in batches(8)]
    tested = model.test_on_batch(IMAGES, KINDS)
    return {"loss": losses, "tested": tested, "predicted": model.predict_on_batch(IMAGES[:4]).ravel()}


def tape_step(model, loss_of, **mode):
    with tf.GradientTape() as tape:
        loss = loss_of(model, **mode)
    return loss, tape.gradient(loss, model.trainable_variables)


@row()
def accumulated_gradients(model):
    """Two batches to a step, by hand, in a graph."""
    optimizer, held = sgd(), [tf.Variable(tf.zeros_like(v)) for v in model.trainable_variables]

    @tf.function
    def add(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf_keras.losses.sparse_categorical_crossentropy(y, model(x, training=True)))
            loss += tf.add_n(model.losses)
        for total, gradient in zip(held, tape.gradient(loss, model.trainable_variables), strict=True):
            total.assign_add(gradient / 2)
        return loss

    losses = []
    for at, (x, y, _) in enumerate(batches(8)):
        losses.append(float(add(x, y)))
        if at % 2:
            optimizer.apply_gradients(zip(held, model.trainable_variables, strict=True))
            for total in held:
                total.assign(tf.zeros_like(total))
    return {"loss": losses}


@row()
def mode_as_a_tensor(model):
    """One graph for both modes, which a tensor tells apart."""
    optimizer = sgd()

    @tf.function(
        input_signature=[tf.TensorSpec([None, *SHAPE]), tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.bool)]
    )
    def step(x, y, training):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf_keras.losses.sparse_categorical_crossentropy(y, model(x, training=training)))
        return loss, tape.gradient(loss, model.trainable_variables)

    losses = []
    for x, y, _ in batches(4):
        loss, gradients = step(x, y, True)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        losses += [float(loss), float(step(IMAGES, KINDS, False)[0])]
    return {"loss": losses}


@row()
def learning_phase(model):
    """The mode of old code: set once for all."""
    tf_keras.backend.set_learning_phase(1)
    try:
        optimizer, losses = sgd(), []
        for x, y, _ in batches(4):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf_keras.losses.sparse_categorical_crossentropy(y, model(x)))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            losses.append(float(loss))
    finally:
        tf_keras.backend.clear_session()
    return {"loss": losses}


@row()
def inside_a_trainer(model):
    """A model of the user's that holds the one that is trained, as distillation and contrastive guides have it."""

    class Trainer(tf_keras.Model):
        def __init__(self, student):
            super().__init__()
            self.student = student

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self.student(x, training=True)
                loss = self.compiled_loss(y, y_pred, regularization_losses=self.student.losses)
            gradients = tape.gradient(loss, self.student.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.student.trainable_variables, strict=True))
            self.compiled_metrics.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    return fit(Trainer(model))


@row()
def inside_a_larger_model(model):
    """One layer of a Sequential among others."""
    return fit(tf_keras.Sequential([tf_keras.Input(SHAPE), model]))


@row(heads_network)
def several_losses(model):
    model.compile(
        sgd(), {"kind": LOSS, "size": "mse"}, metrics={"kind": "accuracy"}, loss_weights={"kind": 1.0, "size": 0.1}
    )
    targets = {"kind": KINDS, "size": WEIGHTS}
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, "epochs": 2}
    return model.fit(IMAGES, targets, sample_weight={"kind": WEIGHTS, "size": WEIGHTS[::-1].copy()}, **options).history


@row(heads_network)
def one_of_several_losses(model):
    model.compile(sgd(), {"kind": LOSS, "size": None})
    return model.fit(IMAGES, {"kind": KINDS}, batch_size=BATCH, shuffle=False, verbose=0).history


STILL = {"one_of_several_losses": ("size",)}  # what the row does not train


def assert_driven_alike(name, expected, found, variables, wanted):
    assert set(expected) == set(found)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=2e-4, atol=1e-5, err_msg=key)
    for mine, theirs in zip(variables, wanted, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-3, atol=2e-5, err_msg=mine.name)


def assert_near_and_moved(name, expected, found, variables, before):
    for key in (key for key in expected if "loss" in key):
        np.testing.assert_allclose(found[key], expected[key], rtol=0.1, atol=0.02, err_msg=key)
    for variable, old in zip(variables, before, strict=True):
        still = any(variable.name.startswith(each) for each in STILL.get(name, ()))
        assert np.array_equal(variable.numpy(), old) == still, variable.name


QUICK = ("class_weight", "generator", "accumulated_gradients", "mode_as_a_tensor")


@pytest.mark.medium
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ROWS_OF_TABLE]
)
def test_what_trains_the_float_model_trains_its_twin(name, pairs):
    build, drive = ROWS_OF_TABLE[name]
    float_model, model = pairs[build].fresh()
    before = [variable.numpy() for variable in float_model.trainable_variables]
    expected = drive(float_model)
    wanted = [variable.numpy() for variable in float_model.trainable_variables]
    model.fake_quantization(False)
    assert_driven_alike(name, expected, drive(model), model.trainable_variables, wanted)
    _, model = pairs[build].fresh()
    model.fake_quantization(True)
    assert_near_and_moved(name, expected, drive(model), model.trainable_variables, before)


# --- gradients: every variable has its own, in every mode


def _vector(size=6):
    return tf_keras.Input((size,), name="vector")


class Scaled(layers.Layer):
    """x * factor + offset * x, both trained: operands of products and sums."""

    def build(self, shape):
        self.factor = self.add_weight("factor", shape=shape[-1:], initializer="uniform")
        self.offset = self.add_weight("offset", shape=shape[-1:], initializer="uniform")

    def call(self, x):
        return tf.tanh(x) * self.factor + tf.sigmoid(x) * self.offset


def dense():
    return tf_keras.Model(v := _vector(), layers.Dense(2)(layers.Dense(5, activation="tanh")(v)))


def operands():
    return tf_keras.Model(v := _vector(), layers.Dense(2)(Scaled(name="scaled")(layers.Dense(4)(v))))


def prelu():
    return tf_keras.Model(
        v := _vector(), layers.Dense(2)(layers.PReLU(alpha_initializer="uniform")(layers.Dense(8)(v)))
    )


def embedding():
    ids = tf_keras.Input((5,), dtype="int32", name="ids")
    return tf_keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Embedding(7, 4)(ids))))


def lstm():
    series = tf_keras.Input((4, 3), name="series")
    return tf_keras.Model(series, layers.Dense(2)(layers.LSTM(4)(series)))


def gru():
    series = tf_keras.Input((4, 3), name="series")
    return tf_keras.Model(series, layers.Dense(2)(layers.GRU(4)(series)))


def convolutions():
    """A transposed and a depthwise one among them."""
    image = tf_keras.Input((6, 6, 2), name="image")
    x = layers.Conv2DTranspose(3, 3, strides=2, activation="tanh")(image)
    x = layers.SeparableConv2D(4, 3, activation="tanh")(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))
    return tf_keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))


def folded_norm():
    image = tf_keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(4, 3, use_bias=False)(layers.Rescaling(0.5)(image))
    x = layers.Activation("tanh")(layers.BatchNormalization(beta_initializer="uniform")(x))
    x = layers.BatchNormalization()(layers.Dense(3, use_bias=False)(layers.Flatten()(x)))
    return tf_keras.Model(image, layers.Dense(2)(x))


def attention():
    series = tf_keras.Input((4, 6), name="series")
    x = layers.LayerNormalization()(series + layers.MultiHeadAttention(2, 3)(series, series))
    return tf_keras.Model(series, layers.Dense(2)(layers.Flatten()(x)))


FAMILIES = [dense, operands, prelu, embedding, lstm, gru, convolutions, folded_norm, attention]


def drawn(model, rows=128):
    entry, random = model.inputs[0], np.random.default_rng(3)
    if entry.dtype == tf.int32:
        return random.integers(0, 7, (rows, *entry.shape[1:])).astype(np.int32)
    return random.normal(0, 1, (rows, *entry.shape[1:])).astype(np.float32)


@pytest.mark.medium
@pytest.mark.parametrize(
    "build", [pytest.param(each, marks=pytest.mark.slow if each in (gru, folded_norm) else ()) for each in FAMILIES]
)
def test_a_tape_gives_every_variable_its_gradient_in_every_mode(build):
    tf_keras.utils.set_random_seed(4)
    float_model = build()
    x = drawn(float_model)
    model = quantize_model(float_model, x)
    goal = np.random.default_rng(5).normal(0, 1, (len(x), 2))

    def gradients(model, **mode):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, **mode) - goal) ** 2)
        return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, model.trainable_variables)]

    for mode in ({}, {"training": False}, {"training": True}):
        expected, found = gradients(float_model, **mode), gradients(model, **mode)
        largest = max(np.abs(gradient).max() for gradient in expected)
        for variable, wanted, got in zip(model.trainable_variables, expected, found, strict=True):
            if np.abs(wanted).max() < 1e-4 * largest:
                continue  # it vanishes in the float model
            alike = np.sum(wanted * got) / (np.linalg.norm(wanted) * np.linalg.norm(got))
            assert alike > 0.8, (mode, variable.name, alike)
            trained = np.abs(wanted) > 1e-2 * np.abs(wanted).max()
            assert np.all(got[trained] != 0), (mode, variable.name, "entries that never train")


# --- classes of the user's


def classifier_parts():
    image = tf_keras.Input(SHAPE, name="image")
    x = layers.Dense(6, activation="relu", name="hidden")(layers.Flatten()(image))
    return image, layers.Dense(CLASSES, name="head")(x)


class OwnStep(tf_keras.Model):
    """A functional model with a loss, a metric and `compile` of its own."""

    def compile(self, optimizer, smoothing, **options):
        super().compile(optimizer, **options)
        self.smoothing = smoothing

    def loss_of(self, y, logits):
        target = tf.one_hot(y, CLASSES) * (1 - self.smoothing) + self.smoothing / CLASSES
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.loss_of(y, self(x, training=True))
        self.optimizer.minimize(loss, self.trainable_variables, tape)
        return {"smoothed": loss}

    def test_step(self, data):
        x, y = data
        return {"smoothed": self.loss_of(y, self(x, training=False))}


class Subclassed(tf_keras.Model):
    """Layers, metrics, numbers, variables, private ones among them, as attributes; a step around Keras' own."""

    def __init__(self, width=6, **options):
        super().__init__(**options)
        self.width, self._weight, self.kinds = width, 0.25, ["a", "b", "c"]
        self.hidden, self.head = layers.Dense(width, activation="relu"), layers.Dense(CLASSES)
        self.more = [layers.Dense(width, activation="tanh")]
        self.tracker = tf_keras.metrics.Mean(name="mean_logit")
        self.loss_function = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.calls = tf.Variable(0.0, trainable=False, name="calls")

    def call(self, x):
        x = self.hidden(tf.reshape(x, [-1, int(np.prod(SHAPE))]))
        return self.head(self.more[0](x))

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss = self._weight * self.loss_function(y, logits) * len(self.kinds)
        self.optimizer.minimize(loss, self.trainable_variables, tape)
        self.calls.assign_add(1.0)
        self.tracker.update_state(logits)
        return {"mean_logit": self.tracker.result(), "weighted": loss, "calls": self.calls}

    def get_config(self):
        return super().get_config() | {"width": self.width}


class AroundKeras(tf_keras.Model):
    """`super().train_step`, with something before and after it."""

    def train_step(self, data):
        x, y = data
        logs = super().train_step((x * 0.5, y))
        return logs | {"halved": logs["loss"] / 2}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 3.0 * super().compute_loss(x, y, y_pred, sample_weight)


def own_step():
    model = OwnStep(*classifier_parts(), name="own")
    return model, lambda model: model.compile(sgd(), smoothing=0.2)


def subclassed():
    model = Subclassed()
    model(IMAGES[:1])
    return model, lambda model: model.compile(sgd())


def around_keras():
    model = AroundKeras(*classifier_parts(), name="around")
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return model, lambda model: model.compile(sgd(), loss, metrics=["accuracy"])


@pytest.mark.medium
@pytest.mark.parametrize(
    "make", [own_step, *(pytest.param(make, marks=pytest.mark.slow) for make in (subclassed, around_keras))]
)
def test_a_class_with_its_own_steps_drives_the_quantized_graph(make):
    tf_keras.utils.set_random_seed(8)
    float_model, compiled = make()
    compiled(float_model)
    float_model.fit(IMAGES, KINDS, verbose=0)  # most are trained before they are quantized
    before = float_model.get_weights()
    model = quantize_model(float_model, IMAGES)
    model.fake_quantization(False)
    start = model.get_weights()
    histories = {}
    for name, each in (("off", model), ("float", float_model), ("on", model)):
        model.set_weights(start)
        model.fake_quantization(name == "on")
        compiled(each)
        history = each.fit(IMAGES, KINDS, epochs=2, shuffle=False, verbose=0, validation_split=0.25).history
        histories[name] = {key: values for key, values in history.items()}
        if name == "off":
            assert all(np.array_equal(a, b) for a, b in zip(before, float_model.get_weights(), strict=True))
    assert set(histories["on"]) == set(histories["off"]) == set(histories["float"])
    for key, values in histories["float"].items():
        np.testing.assert_allclose(histories["off"][key], values, rtol=1e-3, atol=1e-5, err_msg=key)
        np.testing.assert_allclose(histories["on"][key], values, rtol=0.1, atol=0.05, err_msg=key)
    assert verify(convert(model)).integer_only


class InAGraph(AroundKeras):
    """The same, with a decorator that some put there."""

    @tf.function
    def train_step(self, data):
        return super().train_step(data)


def test_a_step_that_is_a_tf_function_is_carried_as_one_that_is_none():
    tf_keras.utils.set_random_seed(8)
    first, compiled = around_keras()
    second = InAGraph(*classifier_parts(), name="in_a_graph")
    second.set_weights(first.get_weights())
    histories = []
    for float_model in (first, second):
        model = quantize_model(float_model, IMAGES)
        compiled(model)
        histories.append(model.fit(IMAGES, KINDS, shuffle=False, verbose=0).history)
    assert histories[0] == {key: pytest.approx(values, rel=1e-5) for key, values in histories[1].items()}


class Encoding(tf_keras.Model):
    """A step that trains through a part of the model: there is none in the quantized one."""

    def __init__(self):
        super().__init__()
        self.encoder = tf_keras.Sequential([layers.Flatten(), layers.Dense(4)])
        self.heads = {"kind": layers.Dense(CLASSES)}

    def call(self, x):
        return self.heads["kind"](self.encoder(x))

    def train_step(self, data):
        with tf.GradientTape() as tape:
            code = self.encoder(data[0])
            loss = tf.reduce_mean(code**2)
        self.optimizer.minimize(loss, self.encoder.trainable_variables, tape)
        return {"loss": loss}

    def test_step(self, data):
        return {"size": tf.reduce_mean(self.heads["kind"](data[0]))}


def test_a_step_through_a_part_of_the_model_is_refused_with_what_to_do():
    model = Encoding()
    model(IMAGES[:1])
    twin = quantize_model(model, IMAGES)
    twin.compile("sgd")
    with pytest.raises(ModelError, match=r"Encoding\.encoder \(Sequential\).*self\(inputs, training=True\)"):
        twin.fit(IMAGES, KINDS, verbose=0)
    with pytest.raises(ModelError, match=r"Encoding\.heads \(dict\).*self\(inputs, training=True\)"):
        twin.evaluate(IMAGES, KINDS, verbose=0)


# --- what users add to the quantized model itself


def test_losses_and_metrics_that_are_added_to_the_twin_count_and_leave_nothing_in_the_file(pairs):
    _, model = pairs[plain_network].fresh()
    model = quantize_model(pairs[plain_network].float_model, IMAGES)
    alone = model.evaluate(IMAGES, KINDS, verbose=0) if model.optimizer else None
    assert alone is None, "not compiled yet"
    kernel = next(v for v in model.trainable_variables if "head" in v.name and "kernel" in v.name)
    model.add_loss(lambda: 0.5 * tf.reduce_sum(tf.square(kernel)))
    model.add_metric(tf.reduce_max(model.output), name="largest", aggregation="mean")
    model.add_loss(0.1 * tf.reduce_mean(model.output))
    model.compile(sgd(), LOSS)
    found = model.evaluate(IMAGES, KINDS, batch_size=ROWS, verbose=0, return_dict=True)
    answers = model.predict(IMAGES, verbose=0)
    own = np.mean(tf_keras.losses.sparse_categorical_crossentropy(KINDS, answers))
    conv = next(v for v in model.trainable_variables if "conv" in v.name)
    penalties = 0.5 * np.sum(kernel.numpy() ** 2) + 0.1 * answers.mean() + 1e-3 * np.sum(conv.numpy() ** 2)
    assert found["loss"] == pytest.approx(own + penalties, rel=1e-4)
    assert found["largest"] == pytest.approx(answers.max(), rel=1e-5)
    history = model.fit(IMAGES, KINDS, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    assert verify(convert(model)).integer_only


@pytest.mark.medium
def test_a_model_that_is_cut_from_the_twin_says_that_it_trains_nothing(pairs):
    """`Model(q.input, ...)` holds the layers and not the variables; `Model(entry, head(q(entry)))` holds both."""
    _, model = pairs[plain_network].fresh()
    head = layers.Dense(1, name="added")
    cut = tf_keras.Model(model.input, head(model.output))
    apart = np.abs(cut.predict(IMAGES, verbose=0) - head(model(IMAGES)).numpy())  # by fake quantization, in integers
    assert apart.max() < 1e-2
    assert np.mean(apart < 1e-6) > 0.95
    cut.compile(sgd(), "mse")
    with pytest.warns(TrainingSemanticsWarning, match="does not hold their variables"):
        cut.fit(IMAGES, WEIGHTS, verbose=0)
    whole = tf_keras.Model(entry := tf_keras.Input(SHAPE), head(model(entry)))
    before = [variable.numpy() for variable in model.trainable_variables]
    whole.compile(sgd(), "mse")
    whole.fit(IMAGES, WEIGHTS, verbose=0)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(old, variable.numpy()), variable.name
