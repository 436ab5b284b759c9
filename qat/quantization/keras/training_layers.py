"""What acts in training alone: it stands in the quantization-aware model, and leaves nothing in the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src import backend
from tf_keras.src.engine.base_layer_utils import call_context

from qat.models.keras_types import Training
from qat.quantization.importing.keras2 import BEING_BUILT
from qat.quantization.importing.layer_calls import MetricCall
from qat.quantization.importing.metric_calls import make_metric
from qat.quantization.ir.outside_variables import describe_now, find_variables
from qat.quantization.ir.program import Program
from qat.quantization.keras.holder import PlainCalls
from qat.quantization.keras.variables import being_built


def is_training(training: Training) -> bool:
    """Whether a call is in training mode, as far as is known when it is traced."""
    return bool(tf.get_static_value(training)) if training is not None else False


@tf_keras.utils.register_keras_serializable("qat")
class InTraining(PlainCalls, tf_keras.layers.Layer):
    """Dropout, noise, augmentation, or whatever a layer of the float model computes in training alone.

    Called on one tensor, or on a list: the first is what is given at inference, the rest is what the layer is called
    with in training.

    Args:
        layer: `class_name` and `config` of one of Keras' own layers.
        program: or what computes the outputs in training, as `Program` holds it.
        output: which of these it is.
    """

    def __init__(self, layer: dict | None = None, program: dict | None = None, output: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        object.__setattr__(self, "config", {"layer": layer, "program": program, "output": output})
        self.runs = None
        if layer is not None:
            self.runs = getattr(tf_keras.layers, layer["class_name"]).from_config(
                dict(layer["config"]) | {"dtype": self.dtype}
            )
        object.__setattr__(self, "program", None if program is None else Program.from_json(program))
        object.__setattr__(self, "outside", find_variables(program))
        object.__setattr__(self, "variables_of_model", being_built())

    def call(self, inputs: tf.Tensor | Sequence[tf.Tensor], training: Training = None) -> tf.Tensor:
        tensors = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if not is_training(training):
            return tf.identity(tensors[0])
        if self.runs is not None:
            made = self.runs(tensors[-1], training=True)
        else:
            made = self.program.run(tensors[1:], self.variables_of_model.readable)[self.config["output"]]
        made = tf.cast(made, tensors[0].dtype)
        made.set_shape(tensors[0].shape) if made.shape.rank is None else None
        return made

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | describe_now(self.config)


@tf_keras.utils.register_keras_serializable("qat")
class DropoutMask(PlainCalls, tf_keras.layers.Layer):
    """The mask by which a recurrent cell multiplies in all steps of a batch: 0 or 1 / (1 - rate).

    Args:
        rate: the share of zeros.
        seed: of the random numbers.
        sizes: of the mask, after the batch axis; None: as the input's.
        batch_axis: of the input, where it has as many rows as the mask.
        program: what draws the mask, as `Program` holds it, where the random numbers are a variable of the model.
    """

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        sizes: list[int] | None = None,
        batch_axis: int = 0,
        program: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        object.__setattr__(self, "program", program)
        object.__setattr__(self, "variables_of_model", being_built())
        self.rate, self.seed, self.batch_axis = rate, seed, batch_axis
        self.sizes = None if sizes is None else list(sizes)
        object.__setattr__(self, "generator", backend.RandomGenerator(seed))

    def call(self, inputs: tf.Tensor, training: Training = None) -> tf.Tensor:
        if self.program is not None and is_training(training):
            drawn = Program.from_json(self.program).run([inputs], self.variables_of_model.readable)[0]
            return tf.cast(drawn, self.compute_dtype)
        if self.sizes is None:
            ones = tf.ones_like(inputs)
        else:
            ones = tf.ones([tf.shape(inputs)[self.batch_axis], *self.sizes], self.compute_dtype)
        return self.generator.dropout(ones, self.rate) if is_training(training) else ones

    def get_config(self) -> dict[str, Any]:
        config = {"rate": self.rate, "seed": self.seed, "sizes": self.sizes, "batch_axis": self.batch_axis}
        return super().get_config() | config | {"program": self.program}


@tf_keras.utils.register_keras_serializable("qat")
class Dropped(PlainCalls, tf_keras.layers.Layer):
    """The first input times the second, a `DropoutMask`, in training; the first alone at inference."""

    def call(self, inputs: tf.Tensor | Sequence[tf.Tensor], training: Training = None) -> tf.Tensor:
        x, mask = inputs
        return x * mask if is_training(training) else tf.identity(x)


@tf_keras.utils.register_keras_serializable("qat")
class Added(PlainCalls, tf_keras.layers.Layer):
    """The first input as it is; a loss or metric of the float model, computed from the others, is added, or variables
    of it are assigned.

    Args:
        kind: "loss", "metric" or "update".
        metric: which one, as `MetricCall.to_json` gives it; None of a loss or an update.
        program: what computes it.
        in_training: whether it acts in training alone.
        inference_alone: whether it acts outside of training alone.
    """

    def __init__(
        self,
        kind: str,
        metric: dict | None,
        program: dict,
        in_training: bool = False,
        inference_alone: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        object.__setattr__(self, "metric", MetricCall.from_json(metric if kind == "metric" else None))
        if self.metric is not None and self.metric.described is not None:
            counters = being_built().counters
            if self.metric.number in counters:  # Keras sees it in the first of the layers that update it
                object.__setattr__(self, "counts", counters[self.metric.number])
            else:
                self.counts = counters[self.metric.number] = make_metric(self.metric.described)
        config = {"kind": kind, "metric": metric, "program": program, "in_training": in_training}
        config["inference_alone"] = inference_alone
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "program", Program.from_json(program))
        object.__setattr__(self, "outside", find_variables(program))
        object.__setattr__(self, "variables_of_model", being_built())

    def call(self, inputs: tf.Tensor | Sequence[tf.Tensor], training: Training = None) -> tf.Tensor:
        output, *rest = (
            inputs if isinstance(inputs, (list, tuple)) else [inputs]
        )  # Keras loads a list of one as its one
        adds = not self.config["inference_alone" if is_training(training) else "in_training"]
        graph = getattr(tf.compat.v1.get_default_graph(), "name", "")  # the one of eager calls has no name
        if self.config["inference_alone"] and graph.endswith(BEING_BUILT):
            adds = False  # Keras would show in training what was added there
        if adds and call_context().in_call:  # a look at the values alone, as an export's, adds nothing
            self._add(self.program.run(rest, self.variables_of_model.readable))
        return tf.identity(output)

    def _add(self, values: list[tf.Tensor]) -> None:
        if hasattr(self, "counts"):
            self.counts.update_state(**dict(zip(self.metric.keywords, values, strict=True)))
            return
        for value in values:  # one, or none of an update
            if self.metric is None:
                self.add_loss(value)
            else:
                self.add_metric(value, name=self.metric.name)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | describe_now(self.config)
