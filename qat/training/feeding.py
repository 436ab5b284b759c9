"""From a split to batches for Keras: shuffled anew every epoch by a seed, prepared beside the training step.

What fits in memory goes through the input contract once; what does not is read and prepared batch by batch.
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
from qat.errors import ConfigError

IN_MEMORY_BYTES = 1 << 30
"""Prepared float32 inputs up to this size are kept; above, they are prepared again every epoch."""


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Training steps in one epoch; the last, short batch is left out (another one every epoch).

    A handful of samples would give BatchNorm a poor mean and variance. Fewer samples than one batch are one step.

    >>> steps_per_epoch(993, 32), steps_per_epoch(5, 32)
    (31, 1)
    """
    return max(1, samples // batch_size)


def trained_on(split: Split, task: str) -> NDArray[np.int64]:
    """Indices to train on: all, but for an autoencoder only those of class 0, the normal one."""
    return np.flatnonzero(split.labels == 0) if task == "reconstruction" else np.arange(len(split))


def _reader(split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from indices `[n]` to float32 inputs `[n, *shape]`, usable in a tf.data graph."""
    shape = split.contract.shape
    if len(split) * math.prod(shape) * 4 <= IN_MEMORY_BYTES:
        prepared = tf.constant(split.inputs())
        return lambda indices: tf.gather(prepared, indices)

    def read(indices: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(split.inputs, [indices], tf.float32, stateful=False), (None, *shape))

    return read


def _orders(indices: NDArray, batch_size: int, seed: int) -> Callable[[], Iterator[tuple[NDArray, int]]]:
    """A function that yields one epoch of (indices of a batch, running number), in another order at every call."""
    epochs, steps = count(), steps_per_epoch(len(indices), batch_size)

    def one_epoch() -> Iterator[tuple[NDArray, int]]:
        epoch = next(epochs)
        order = np.random.default_rng([seed, epoch]).permutation(indices)
        for step in range(steps):
            yield order[step * batch_size : (step + 1) * batch_size], epoch * steps + step

    return one_epoch


def training_batches(
    split: Split, batch_size: int, *, task: str, seed: int, augmentation: AugmentationConfig | None = None
) -> tf.data.Dataset:
    """Shuffled batches of (inputs, targets) for one epoch an iteration; targets are the inputs for an autoencoder."""
    chosen = trained_on(split, task)
    numbers = tf.data.Dataset.from_generator(
        _orders(chosen, batch_size, seed),
        output_signature=(tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.int64)),
    ).apply(tf.data.experimental.assert_cardinality(steps_per_epoch(len(chosen), batch_size)))
    return _pipeline(split, numbers, task, _augmenter(augmentation, seed))


def distributed_batches(
    strategy: tf.distribute.Strategy,
    split: Split,
    batch_size: int,
    *,
    task: str,
    seed: int,
    augmentation: AugmentationConfig | None = None,
) -> tf.distribute.DistributedDataset:
    """The batches of `training_batches`, epoch after epoch without an end, each shared out in equal parts.

    Every worker prepares the whole batch, so that order and augmentation are those of one process.

    Raises:
        ConfigError: a batch that has no equal parts.
    """
    replicas = strategy.num_replicas_in_sync
    size = min(batch_size, len(trained_on(split, task)))
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

        batches = training_batches(split, batch_size, task=task, seed=seed, augmentation=augmentation)
        return batches.repeat().flat_map(parts).prefetch(tf.data.AUTOTUNE)

    return strategy.distribute_datasets_from_function(of_worker)


def validation_batches(split: Split, batch_size: int, *, task: str) -> tf.data.Dataset:
    """All that can be compared, in order, the last short batch included, never augmented."""
    indices = tf.data.Dataset.from_tensor_slices(trained_on(split, task)).batch(batch_size)
    numbers = tf.data.Dataset.zip(indices, tf.data.Dataset.counter())
    return _pipeline(split, numbers, task, None)


def _augmenter(settings: AugmentationConfig | None, seed: int) -> Callable[[NDArray, int], NDArray] | None:
    if settings is None or settings == AugmentationConfig():
        return None
    return lambda inputs, number: augment(inputs, settings, np.random.default_rng([seed, int(number)]))


def _pipeline(
    split: Split, numbers: tf.data.Dataset, task: str, augmenter: Callable[[NDArray, int], NDArray] | None
) -> tf.data.Dataset:
    """(indices, running number of the batch) to (inputs, targets), several batches at a time, in order."""
    read, labels = _reader(split), tf.constant(split.labels)

    def batch(indices: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = read(indices)
        if augmenter is not None:
            inputs = tf.ensure_shape(tf.numpy_function(augmenter, [inputs, number], tf.float32), inputs.shape)
        return inputs, inputs if task == "reconstruction" else tf.gather(labels, indices)

    options = tf.data.Options()
    # Workers see all of `val`, so that no part is short and all say the same; `train` is shared out by hand.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    batches = numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)
