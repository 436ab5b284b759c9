"""Turn a split into batches for Keras: shuffled every epoch by a seed, prepared in parallel with the training step.

A split that fits in memory goes through the input contract once; a larger one is read and prepared batch by batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.config import AugmentationConfig
from qat.data import Split, augment
from qat.errors import ConfigError, QatError
from qat.tasks import TASKS

IN_MEMORY_BYTES = 1 << 30
"""Prepared float32 inputs up to this size stay in memory; larger ones are prepared again every epoch."""


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Training steps in one epoch. The last, short batch is left out; shuffling leaves out other samples every epoch.

    A handful of samples would give BatchNorm a poor mean and variance. Fewer samples than one batch are one step.

    Args:
        samples: number of samples to train on.
        batch_size: samples per training step.

    Returns:
        Number of training steps, at least 1.

    >>> steps_per_epoch(993, 32), steps_per_epoch(5, 32)
    (31, 1)
    """
    return max(1, samples // batch_size)


def training_indices(split: Split, task: str) -> NDArray[np.int64]:
    """Indices of the samples to train on: all, or, for an autoencoder, those of class 0, the normal one.

    Args:
        split: samples and their labels, [N].
        task: a key of `qat.tasks.TASKS`.

    Returns:
        Indices into the split, int64 [n], ascending.
    """
    return np.flatnonzero(split.labels == 0) if TASKS[task].trains_on_normal else np.arange(len(split))


def _make_reader(split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from indices `[n]` to float32 inputs `[n, *shape]`, usable in a tf.data graph."""
    shape = split.contract.shape
    if len(split) * math.prod(shape) * 4 <= IN_MEMORY_BYTES:
        prepared = tf.constant(split.inputs())
        return lambda indices: tf.gather(prepared, indices)

    def inputs(indices: NDArray) -> NDArray:
        try:
            return split.inputs(indices)
        except QatError as error:
            _refusals.append(error)
            raise

    def read(indices: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(inputs, [indices], tf.float32, stateful=False), (None, *shape))

    return read


_refusals: list[QatError] = []  # raised while a graph was reading samples; TensorFlow makes texts of them


def take_refusal() -> QatError | None:
    """The first error of ours that ended the reading of samples since the last call; None where there was none."""
    first = _refusals[0] if _refusals else None
    _refusals.clear()
    return first


def _epoch_orders(
    indices: NDArray, batch_size: int, seed: int, start: tuple[int, int]
) -> Callable[[], Iterator[tuple[NDArray, int]]]:
    """A function that yields one epoch of (indices of a batch, number of the batch), in another order at every call.

    The first call gives the epoch of `start`, from its step on.
    """
    epochs, steps = count(start[0]), steps_per_epoch(len(indices), batch_size)

    def one_epoch() -> Iterator[tuple[NDArray, int]]:
        epoch = next(epochs)
        order = np.random.default_rng([seed, epoch]).permutation(indices)
        for step in range(start[1] if epoch == start[0] else 0, steps):
            yield order[step * batch_size : (step + 1) * batch_size], epoch * steps + step

    return one_epoch


def training_batches(
    split: Split,
    batch_size: int,
    *,
    task: str,
    seed: int,
    augmentation: AugmentationConfig | None = None,
    start: tuple[int, int] = (0, 0),
) -> tf.data.Dataset:
    """Shuffled batches; each iteration over the data set is one epoch.

    Args:
        split: samples and labels to train on.
        batch_size: samples per batch, at least 1.
        task: a key of `qat.tasks.TASKS`.
        seed: integer from 0 that decides the order of samples and the augmentation.
        augmentation: crop and shift in pixels, and flip; None changes no inputs.
        start: (epoch, step), from 0, of the first batch; the first epoch then has the batches that remain of it.

    Returns:
        Pairs (inputs, targets): float32 [batch_size, *shape], and labels int64 [batch_size], or the inputs again for an
        autoencoder.
    """
    batches = _batches(split, batch_size, task, seed, augmentation, start)
    steps = steps_per_epoch(len(training_indices(split, task)), batch_size)
    # Keras takes no more batches of the first epoch than are left of it: the number holds where that one starts late
    return batches.apply(tf.data.experimental.assert_cardinality(steps))


def _batches(
    split: Split,
    batch_size: int,
    task: str,
    seed: int,
    augmentation: AugmentationConfig | None,
    start: tuple[int, int],
) -> tf.data.Dataset:
    """`training_batches`, whose number Keras is not told."""
    orders = _epoch_orders(training_indices(split, task), batch_size, seed, start)
    signature = (tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.int64))
    numbers = tf.data.Dataset.from_generator(orders, output_signature=signature)
    return _pipeline(split, numbers, task, _make_augmenter(augmentation, seed))


def distributed_batches(
    strategy: tf.distribute.Strategy,
    split: Split,
    batch_size: int,
    *,
    task: str,
    seed: int,
    augmentation: AugmentationConfig | None = None,
    start: tuple[int, int] = (0, 0),
) -> tf.distribute.DistributedDataset:
    """The batches of `training_batches`, repeated endlessly, each split into equal parts for the replicas.

    Every worker prepares the whole batch, so that order and augmentation are those of one process.

    Args:
        strategy: TensorFlow's strategy, whose replicas share each batch.
        split: samples and labels to train on.
        batch_size: samples per batch of all replicas together.
        task: a key of `qat.tasks.TASKS`.
        seed: integer from 0 that decides the order of samples and the augmentation.
        augmentation: crop and shift in pixels, and flip; None changes no inputs.
        start: (epoch, step), from 0, of the first batch; the first epoch then has the batches that remain of it.

    Returns:
        Pairs (inputs, targets) as of `training_batches`, with batch_size / replicas samples for each replica.

    Raises:
        ConfigError: the batch size is no multiple of the number of replicas.
    """
    replicas = strategy.num_replicas_in_sync
    size = min(batch_size, len(training_indices(split, task)))
    if size % replicas:
        raise ConfigError(
            f"train.batch_size={size}: {replicas} replicas share it; expected a multiple of {replicas}, so that each "
            "has an equal part."
        )

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local, part = replicas // context.num_input_pipelines, size // replicas
        first = context.input_pipeline_id * local * part

        def parts(inputs: tf.Tensor, targets: tf.Tensor) -> tf.data.Dataset:
            own = (inputs[first : first + local * part], targets[first : first + local * part])
            return tf.data.Dataset.from_tensor_slices(own).batch(part, drop_remainder=True)

        batches = _batches(split, batch_size, task, seed, augmentation, start)
        return batches.repeat().flat_map(parts).prefetch(tf.data.AUTOTUNE)

    return strategy.distribute_datasets_from_function(of_worker)


def validation_batches(split: Split, batch_size: int, *, task: str) -> tf.data.Dataset:
    """The samples of `training_indices` in order, the last, short batch included, never augmented.

    Args:
        split: samples and labels to validate on.
        batch_size: samples per batch, at least 1.
        task: a key of `qat.tasks.TASKS`.

    Returns:
        Pairs (inputs, targets) as of `training_batches`; the last batch may have fewer samples.
    """
    indices = tf.data.Dataset.from_tensor_slices(training_indices(split, task)).batch(batch_size)
    numbers = tf.data.Dataset.zip(indices, tf.data.Dataset.counter())
    return _pipeline(split, numbers, task, None)


def _make_augmenter(settings: AugmentationConfig | None, seed: int) -> Callable[[NDArray, int], NDArray] | None:
    if settings is None or settings == AugmentationConfig():
        return None
    return lambda inputs, number: augment(inputs, settings, np.random.default_rng([seed, int(number)]))


def _pipeline(
    split: Split, numbers: tf.data.Dataset, task: str, augmenter: Callable[[NDArray, int], NDArray] | None
) -> tf.data.Dataset:
    """Map (indices, number of the batch) to (inputs, targets), several batches in parallel, in order."""
    read, labels = _make_reader(split), tf.constant(split.labels)

    def batch(indices: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = read(indices)
        if augmenter is not None:
            inputs = tf.ensure_shape(tf.numpy_function(augmenter, [inputs, number], tf.float32), inputs.shape)
        return inputs, inputs if TASKS[task].targets_are_inputs else tf.gather(labels, indices)

    options = tf.data.Options()
    # Every worker sees all of `val` and computes the same metrics; `distributed_batches` splits `train` itself.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # Its tuner sleeps longer and longer, up to a minute, and at times the end of an epoch waits until it wakes.
    options.autotune.enabled = False
    batches = numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)
