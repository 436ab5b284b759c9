"""What layers do in training beside their outputs: states by what they are called with, losses of training alone."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .gradients import reversed_gradient
from .listing import semantics, vector


def rows_and_labels(model, rows, seed):
    """Rows of 6 numbers, and one of 3 labels each."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rows, 6)).astype(np.float32), rng.integers(0, 3, (rows, 1)).astype(np.int32)]


class OwnNorm(layers.Layer):
    """BatchNormalization by hand."""

    def build(self, shape):
        self.gamma, self.beta = (
            self.add_weight("gamma", shape[-1:], initializer="ones"),
            self.add_weight("beta", shape[-1:]),
        )
        self.moving_mean = self.add_weight("moving_mean", shape[-1:], trainable=False)
        self.moving_variance = self.add_weight("moving_variance", shape[-1:], initializer="ones", trainable=False)

    def call(self, x, training=None):
        if training:
            mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
            self.moving_mean.assign(0.9 * self.moving_mean + 0.1 * mean)
            self.moving_variance.assign(0.9 * self.moving_variance + 0.1 * variance)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        return self.gamma * (x - mean) * tf.math.rsqrt(variance + 1e-3) + self.beta


class RunningMean(layers.Layer):
    """Takes away a mean as it has just been assigned."""

    def build(self, shape):
        self.mean = self.add_weight("mean", shape[-1:], trainable=False)
        self.count = self.add_weight("count", (), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if training:
            self.count.assign_add(1.0)
            self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(x, 0))
        return x - self.mean


class Centres(layers.Layer):
    """A centre for each label, moved by rows; the distance to it is a loss and a metric."""

    def build(self, shapes):
        self.centres = self.add_weight("centres", (3, shapes[0][-1]), trainable=False)
        self.counts = self.add_weight("counts", (3,), trainable=False)

    def call(self, inputs, training=None):
        x, labels = inputs
        labels = tf.reshape(labels, [-1])
        away = tf.gather(self.centres, labels) - x
        if training:
            self.centres.scatter_sub(tf.IndexedSlices(0.1 * away, labels))
            self.counts.scatter_nd_add(labels[:, None], tf.ones_like(away[:, 0]))
        self.add_loss(0.1 * tf.reduce_mean(tf.square(away)))
        self.add_metric(tf.reduce_mean(tf.abs(away)), name="away")
        return x


class SpectralDense(layers.Layer):
    """Divides by a singular value of the vector as it was, and assigns the next one."""

    def build(self, shape):
        self.kernel = self.add_weight("kernel", (shape[-1], 4))
        self.vector = self.add_weight("vector", (1, 4), initializer="random_normal", trainable=False)

    def call(self, x, training=None):
        left = tf.stop_gradient(tf.math.l2_normalize(tf.matmul(self.vector, self.kernel, transpose_b=True)))
        right = tf.stop_gradient(tf.math.l2_normalize(tf.matmul(left, self.kernel)))
        sigma = tf.squeeze(tf.matmul(tf.matmul(left, self.kernel), right, transpose_b=True))
        if training:
            self.vector.assign(right)
        return tf.matmul(x, self.kernel / sigma)


class AveragedDense(layers.Layer):
    """A kernel in training, its average at inference: the same ops on other variables."""

    def build(self, shape):
        self.kernel = self.add_weight("kernel", (shape[-1], 4))
        self.average = self.add_weight("average", (shape[-1], 4), trainable=False)

    def call(self, x, training=None):
        if training:
            self.average.assign(0.99 * self.average + 0.01 * self.kernel)
        return tf.matmul(x, self.kernel if training else self.average)


class NormalisedDense(layers.Layer):
    """A loss of the kernel that is computed, and one of the input in training alone."""

    def build(self, shape):
        self.kernel, self.domain = self.add_weight("kernel", (shape[-1], 4)), self.add_weight("domain", (shape[-1], 1))

    def call(self, x, training=None):
        kernel = tf.nn.l2_normalize(self.kernel, 0)
        self.add_loss(0.1 * tf.reduce_sum(tf.square(tf.matmul(kernel, kernel, transpose_a=True) - tf.eye(4))))
        if training:
            self.add_loss(tf.reduce_mean(tf.square(tf.matmul(reversed_gradient(x), self.domain) - 1)))
        return tf.matmul(x, kernel)


class Auxiliary(layers.Layer):
    """Layers that are called in training alone, for the sake of a loss."""

    def __init__(self, **options):
        super().__init__(**options)
        self.main, self.head, self.norm = (
            layers.Dense(4, activation="relu"),
            layers.Dense(3),
            layers.BatchNormalization(),
        )

    def build(self, shape):
        self.main.build(shape)
        self.head.build((None, 4))
        self.norm.build((None, 3))
        super().build(shape)

    def call(self, x, training=None):
        x = self.main(x)
        if training:
            self.add_loss(0.3 * tf.reduce_mean(self.norm(self.head(x), training=True) ** 3))
        return x


class Shaken(layers.Layer):
    """Another mix of two branches in training, with another gradient."""

    def call(self, inputs, training=None):
        @tf.custom_gradient
        def mixed(a, b):
            return 0.4 * a + 0.6 * b, lambda upstream: (0.3 * upstream, 0.7 * upstream)

        return mixed(*inputs) if training else (inputs[0] + inputs[1]) / 2


class Subtracted(layers.Layer):
    """The same op on the same tensors the other way round."""

    def call(self, inputs, training=None):
        return inputs[0] - inputs[1] if training else inputs[1] - inputs[0]


class First(layers.Layer):
    """One of two tensors in training, the other one at inference: what is passed on, and no op, differs."""

    def call(self, inputs, training=None):
        return inputs[0] if training else inputs[1]


class Exchanged(layers.Layer):
    """Two outputs, one tensor at inference; in training one is passed on and one is another."""

    def call(self, x, training=None):
        return (x, 3.0 * x) if training else (x, x)


def _scaled(x):
    return tf_keras.backend.in_train_phase(1.5 * x, x)


def _behind_dense(layer):
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(layer(layers.Dense(5)(entry))))


def _of_two(layer):
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(layer([layers.Dense(4)(entry), layers.Dense(4)(entry)])))


@semantics()
def norm_by_hand():
    """Moments of the batch in training, moving ones at inference: both are kept, and the moving ones move."""
    return _behind_dense(OwnNorm())


@semantics()
def norm_by_hand_called_twice():
    """One state, moved by each of two calls in turn."""
    first, second, dense, norm = vector(name="first"), vector(name="second"), layers.Dense(5), OwnNorm()
    return tf_keras.Model([first, second], layers.Subtract()([norm(dense(first)), norm(dense(second))]))


class Counts(layers.Layer):
    """Its count is used as it was, and after each of two assignments."""

    def build(self, shape):
        self.count = self.add_weight("count", (), trainable=False)

    def call(self, x, training=None):
        if training:
            x += self.count
            self.count.assign_add(1.0)
            x *= self.count
            self.count.assign(2.0 * self.count)
            x /= 1.0 + self.count
            self.add_loss(tf.constant(0.5))
        return x


@semantics()
def count_between_uses_called_twice():
    """Assigned from variables alone: each of two calls goes on from what the other one left."""
    first, second, dense, counts = vector(name="first"), vector(name="second"), layers.Dense(5), Counts()
    return tf_keras.Model([first, second], layers.Subtract()([counts(dense(first)), counts(dense(second))]))


@semantics()
def mean_that_is_used_as_assigned():
    """What is read behind an assignment is what was assigned, and no gradient goes into it."""
    return _behind_dense(RunningMean())


@semantics(inputs=rows_and_labels)
def centres_of_labels():
    """Labels that are an input for the sake of a loss, a metric and a state alone."""
    entry, label = vector(), tf_keras.Input((1,), dtype="int32", name="label")
    return tf_keras.Model([entry, label], layers.Dense(3)(Centres()([layers.Dense(4)(entry), label])))


@semantics()
def target_as_an_input():
    """`Model.add_loss` and `add_metric` of a target that no output needs."""
    entry, target = vector(), tf_keras.Input((2,), name="target")
    output = layers.Dense(2)(layers.Dense(5, activation="relu")(entry))
    model = tf_keras.Model([entry, target], output)
    model.add_loss(tf.reduce_mean(tf.square(target - output)))
    model.add_metric(tf.reduce_mean(tf.abs(target - output)), name="mae")
    return model


@semantics()
def singular_vector_as_it_was():
    """A variable that is assigned behind its use."""
    return _behind_dense(SpectralDense())


@semantics()
def average_of_a_kernel():
    """Another variable at inference."""
    return _behind_dense(AveragedDense())


@semantics()
def losses_of_a_computed_kernel_and_of_training_alone():
    """Losses that read a kernel as it is computed, or an input through a gradient that is turned round."""
    return _behind_dense(NormalisedDense())


@semantics()
def auxiliary_head():
    """Layers of training alone are trained, and their statistics move."""
    return _behind_dense(Auxiliary())


@semantics()
def shaken_branches():
    """A gradient of one's own in what training alone computes."""
    return _of_two(Shaken())


@semantics()
def branches_subtracted_the_other_way_round():
    """What differs is what the ops read."""
    return _of_two(Subtracted())


@semantics()
def passed_on_in_training_alone():
    """Branches, inputs and outputs that a layer passes on in one mode alone; `in_train_phase` in a Lambda."""
    entry = vector()
    a, b = layers.Dense(4, activation="relu")(entry), layers.Lambda(_scaled)(layers.Dense(4)(entry))
    first, second = Exchanged()(First()([a, b]))
    return tf_keras.Model(entry, layers.Dense(2)(layers.Concatenate()([first, second, First()([entry, 2.0 * entry])])))


@semantics()
def norm_called_at_unlike_depths():
    """Statistics move in the order of the float model's calls, whichever branch is deeper in the quantized graph."""
    first, second, dense, norm = (
        vector(name="first"),
        vector(name="second"),
        layers.Dense(4),
        layers.BatchNormalization(),
    )
    head = tf_keras.Sequential([layers.Dense(4, activation="relu") for _ in range(3)])
    a, b = norm(dense(first)), norm(dense(second))
    return tf_keras.Model([first, second], layers.Add()([layers.Dense(4)(a), head(b)]))


@semantics()
def norm_folded_at_one_call_alone():
    """A BatchNormalization that is part of a dense layer at one call and stands by itself at the other."""
    entry, norm = vector(), layers.BatchNormalization(momentum=0.5)
    x = layers.Dense(4, activation="relu")(entry)
    y = layers.Dense(4)(layers.Dense(4, activation="relu")(x))
    a, b = norm(y), norm(x)
    return tf_keras.Model(entry, layers.Dense(2)(layers.Add()([a, b])))


class Compared(layers.Layer):
    """A loss and an output of training that read a constant, which a layer is called on."""

    def call(self, inputs, training=None):
        x, constant = inputs
        self.add_loss(tf.reduce_mean(tf.square(x - constant)))
        return x + constant if training else x * constant


class ComparedWithConstants(layers.Layer):
    """One that has a row for each sample, and one for all."""

    def build(self, shape):
        self.first, self.second = Compared(), Compared()

    def call(self, x):
        return self.first([x, tf.zeros_like(x) + 0.5]) + self.second([x, tf.ones((1, x.shape[-1])) * 0.3])


@semantics()
def constants_that_training_reads():
    """They are no tensors of the graph at inference, and training needs them."""
    return _behind_dense(ComparedWithConstants())


class Gathered(layers.Layer):
    """BatchNormalization over some steps: what each step has seen is added up, and a condition on a counter moves the
    statistics and begins again, as where gradients are accumulated."""

    def build(self, shape):
        self.gamma = self.add_weight("gamma", shape[-1:], initializer="ones")
        self.moving_mean = self.add_weight("moving_mean", shape[-1:], trainable=False)
        self.seen = self.add_weight("seen", shape[-1:], initializer="zeros", trainable=False)
        self.count = self.add_weight("count", (), tf.int32, initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if not training:
            return self.gamma * (x - self.moving_mean)
        mean = tf.reduce_mean(x, 0)
        self.count.assign_add(1)
        self.seen.assign_add(mean / 3)
        tf.cond(tf.equal(self.count, 3), self.move, lambda: None)
        return self.gamma * (x - mean)

    def move(self):
        self.moving_mean.assign(self.moving_mean.assign_sub(0.1 * (self.moving_mean - self.seen)))
        self.seen.assign(tf.zeros_like(self.seen))
        self.count.assign(0)


class MeanOfSome(layers.Layer):
    """A mean that batches above 0 move: the condition gives it out, and it is read once more behind."""

    def build(self, shape):
        self.mean = self.add_weight("mean", shape[-1:], trainable=False)
        self.count = self.add_weight("count", (), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if not training:
            return x - self.mean
        self.count.assign_add(1.0)
        seen = tf.reduce_mean(x, 0)
        mean = tf.cond(tf.reduce_sum(seen) > 0.0, lambda: self.moved(seen), lambda: tf.identity(self.mean))
        self.add_loss(0.1 * tf.reduce_mean(tf.square(x - self.mean)))
        return x - mean + 0.1 * self.mean / self.count

    def moved(self, seen):
        self.mean.assign(0.5 * self.mean)
        twice = tf.cond(self.count > 1.0, lambda: self.counted(2.0 * self.mean), lambda: 2.0 * self.mean)
        self.mean.assign_add(0.5 * seen)
        return self.mean + 0.1 * twice

    def counted(self, value):
        self.count.assign_add(1.0)
        return value * self.count


class Phases(layers.Layer):
    """A counter by which a case is chosen, which sets the counter: by variables alone, and used between."""

    def build(self, shape):
        self.phase = self.add_weight("phase", (), tf.int32, initializer="zeros", trainable=False)
        self.strength = self.add_weight("strength", (), initializer="ones", trainable=False)

    def call(self, x, training=None):
        if training:
            x *= self.strength
            tf.switch_case(tf.identity(self.phase), [self.first, self.second, lambda: tf.identity(self.strength)])
            x += self.strength
        return x

    def first(self):
        self.phase.assign_add(1)
        return self.strength.assign(0.5)

    def second(self):
        self.phase.assign(2)
        return self.strength.assign(2.0 * self.strength)


class SomeCentres(layers.Layer):
    """Rows that a condition moves, and a loop that adds up."""

    def build(self, shape):
        self.centres = self.add_weight("centres", (3, shape[-1]), trainable=False)
        self.sum = self.add_weight("sum", (), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if training:
            tf.cond(tf.reduce_sum(x) > 0.0, lambda: self.move(x), lambda: None)
            tf.while_loop(lambda at: at < 3, lambda at: self.add(at, x), [0])
        return x - self.centres[0]

    def move(self, x):
        self.centres.scatter_sub(tf.IndexedSlices(0.1 * x[:2], tf.constant([1, 2])))

    def add(self, at, x):
        self.sum.assign_add(x[at, 0])
        return [at + 1]


class Moved(layers.Layer):
    """Losses of both modes, and of training alone, before and behind assignments."""

    def __init__(self, is_used, **options):
        super().__init__(**options)
        self.is_used = is_used

    def build(self, shape):
        self.mean = self.add_weight("mean", shape[-1:], trainable=False)
        self.count = self.add_weight("count", (), initializer="ones", trainable=False)

    def call(self, x, training=None):
        self.add_loss(tf.reduce_mean(tf.square(x - self.mean)) / self.count)
        if training:
            self.add_loss(0.1 * tf.reduce_mean(tf.square(x + self.mean)))
            self.mean.assign_add(0.1 * tf.reduce_mean(x, 0))
            self.count.assign_add(1.0)
            self.add_loss(0.1 * tf.reduce_mean(tf.square(x + self.mean)) / self.count)
        self.add_loss(tf.reduce_mean(tf.square(x - self.mean)))
        return x - self.mean if self.is_used else x


@semantics()
def losses_before_and_behind_an_assignment():
    """Each reads the variables as they were at its place."""
    return _behind_dense(Moved(False))


@semantics()
def losses_before_and_behind_an_assignment_that_is_used():
    """So do they where the output reads what was assigned."""
    return _behind_dense(Moved(True))


@semantics()
def statistics_that_a_condition_moves():
    """Assigned inside of a condition on a counter, and outside of it."""
    return _behind_dense(Gathered())


@semantics()
def statistics_that_a_condition_moves_called_twice():
    """Each of two calls goes on from what the other one left."""
    first, second, dense, norm = vector(name="first"), vector(name="second"), layers.Dense(5), Gathered()
    return tf_keras.Model([first, second], layers.Subtract()([norm(dense(first)), norm(dense(second))]))


@semantics()
def mean_that_a_condition_assigns_and_gives():
    """What is read inside of a condition, and behind it, is what was assigned on the way."""
    return _behind_dense(MeanOfSome())


@semantics()
def phases_of_a_case_called_twice():
    """Cases that assign, by variables alone."""
    first, second, dense, phases = vector(name="first"), vector(name="second"), layers.Dense(5), Phases()
    return tf_keras.Model([first, second], layers.Subtract()([phases(dense(first)), phases(dense(second))]))


@semantics()
def rows_that_a_condition_moves_and_a_sum_of_a_loop():
    """Assignments of rows, and in a loop, that no output reads in training."""
    return _behind_dense(SomeCentres())
