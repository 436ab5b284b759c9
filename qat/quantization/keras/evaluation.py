"""`evaluate` and `predict` of a QAT model: in the deployed kernels' arithmetic, by one graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src.engine.base_layer import AddLoss, AddMetric

from qat.models.keras_types import KerasTensor, TensorNest
from qat.quantization.keras.arithmetic import integer_arithmetic
from qat.quantization.keras.output_masks import mask_outputs
from qat.quantization.keras.training_layers import Added


class EvaluatedInIntegers(tf_keras.Model):
    """A model that computes outside of training as its file does."""

    float_variables = None  # copies of the float model's, out of Keras' sight: `LayerVariables` are what it sees
    graph = None  # the graph that runs `answers`
    evaluates_itself = False  # by a `test_step` of the float model's class

    def answers(self, inputs: TensorNest) -> Any:
        """What `predict` gives for one batch, of any size, as tensors.

        One graph for everything that evaluates: tracing takes longer than an evaluation on little data. It reads
        weights and ranges as they are, and is traced anew after `forget_traces` alone.
        """
        if self.graph is None:
            signature = [tf.TensorSpec([None, *entry.shape[1:]], self._entry_dtype(entry)) for entry in self.inputs]
            object.__setattr__(self, "graph", tf.function(self._answered, signature, autograph=False))
        flat = zip(tf.nest.flatten(inputs), self.inputs, strict=True)
        return self.graph(*(tf.cast(values, self._entry_dtype(entry)) for values, entry in flat))

    def _answered(self, *flat: tf.Tensor) -> Any:
        with integer_arithmetic():
            return self(tf.nest.pack_sequence_as(self._nested_inputs, flat), training=False)

    def forget_traces(self) -> None:
        """After a switch that graphs of evaluation read when they are traced."""
        self.test_function = self.predict_function = None
        object.__setattr__(self, "graph", None)

    def make_test_function(self, force: bool = False) -> Any:
        """Keras' own would trace the model once more; under a strategy, or compiled otherwise, it has to, and where the
        evaluation is the user's, or sums up what layers add in their calls."""
        plain = self._distribution_strategy is None and not self.jit_compile and self._steps_per_execution.numpy() == 1
        if not plain or self.evaluates_itself or self._adds_in_calls():
            return super().make_test_function(force)
        self.test_function = self._test_batch
        return self.test_function

    def _adds_in_calls(self) -> bool:
        """Whether a call of the model adds losses or metrics of its own."""
        kinds = (Added, AddLoss, AddMetric)
        return any(
            isinstance(layer, kinds) or layer._activity_regularizer is not None for layer in self._flatten_layers()
        )

    def _test_batch(self, iterator: Iterator[TensorNest]) -> dict:
        logs = self.test_step(next(iterator))
        self._test_counter.assign_add(1)
        return logs

    def test_step(self, data: TensorNest) -> dict:
        inputs, targets, weights = tf_keras.utils.unpack_x_y_sample_weight(data)
        if not tf.executing_eagerly() or self.run_eagerly or not self._are_entries(inputs):
            with integer_arithmetic():
                return super().test_step(data)
        outputs = self.answers(inputs)
        mask_outputs(self, inputs, outputs)
        self.compute_loss(inputs, targets, outputs, weights)
        return self.compute_metrics(inputs, targets, outputs, weights)

    def _are_entries(self, inputs: TensorNest) -> bool:
        """Whether these are nested and shaped as the model's own, so that Keras has nothing to bring into order."""
        if isinstance(inputs, dict) != isinstance(self._nested_inputs, dict):
            return False
        flat = tf.nest.flatten(inputs)
        return len(flat) == len(self.inputs) and all(
            entry.shape[1:].is_compatible_with(values.shape[1:]) and len(values.shape) == len(entry.shape)
            for values, entry in zip(flat, self.inputs, strict=True)
        )

    def predict_step(self, data: TensorNest) -> Any:
        with integer_arithmetic():
            return super().predict_step(data)

    def _conform_to_reference_input(self, tensor: tf.Tensor, ref_input: KerasTensor) -> Any:
        """Keras' own; where the model computes in float64, its inputs keep what float32 would round.

        A size that a generator does not tell, and the model's input does, is known after it.
        """
        dtype = self._entry_dtype(ref_input)
        given = ref_input if dtype == ref_input.dtype else tf.TensorSpec(ref_input.shape, dtype)
        return _with_known_sizes(super()._conform_to_reference_input(tensor, given), ref_input.shape)

    def _entry_dtype(self, entry: KerasTensor) -> tf.DType:
        """In which an input is taken now."""
        wide = self.float_variables is not None and entry.dtype == tf.float32
        return tf.as_dtype(self.float_variables.real if wide else entry.dtype)


def _with_known_sizes(tensor: tf.Tensor, shape: tf.TensorShape) -> Any:
    if not isinstance(tensor, tf.Tensor) or not tensor.shape.is_compatible_with(shape):
        return tensor
    known = tensor.shape.merge_with(shape)
    is_new = tensor.shape.rank is None or known.as_list() != tensor.shape.as_list()
    return tf.ensure_shape(tensor, known) if is_new else tensor
