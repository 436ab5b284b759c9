"""A `QatModel` as one layer of Keras 3."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
import tf_keras
from keras.src.backend.common.stateless_scope import get_stateless_scope

from qat.errors import ModelError
from qat.quantization.keras.model import QatModel
from qat.quantization.keras.variables import LayerVariables
from qat.quantization.keras3.shared_weights import SharedVariable, SharedWeights

OWN = "qat>"  # registered names of the layers that a QatModel consists of begin so
BUILT_IN = ("InputLayer",)


@keras.saving.register_keras_serializable("qat")
class QuantizedGraph(keras.layers.Layer):
    """Calls a `QatModel`, shares its variables, and adds its penalties to the losses.

    Takes and gives lists of tensors, in the order of the model's inputs and outputs.

    Args:
        graph: the model, as tf_keras writes it down.
        float_model: the float model, as Keras 3 writes it down; None where it cannot.
        model: the model itself, where it exists already.
    """

    def __init__(
        self,
        graph: dict[str, Any] | None = None,
        float_model: dict[str, Any] | None = None,
        model: QatModel | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs |= {"dtype": "float32", "autocast": False}
        super().__init__(**kwargs)
        self.supports_jit = False  # the kernels' integer arithmetic has ops that XLA has not, such as int64 roundings
        self._convert_input_args = False
        object.__setattr__(self, "float_model", float_model)
        object.__setattr__(self, "model", read_graph(graph or {}) if model is None else model)
        self.model.float_variables.frozen = not self._trainable
        object.__setattr__(self.model, "gives_all", True)
        self.parts = shared_layers(self.model)
        for place, part in enumerate(self.parts):  # by place: automatic names of layers are others in each model
            self._track_trackable(part, f"part_{place}")
        counted = self.model.float_variables.counters.values()
        self.counted = [each for each in counted if isinstance(each, keras.metrics.Metric)]  # Keras 3 shows them
        self.built = True

    def call(self, inputs: Any, training: Any = None) -> list[tf.Tensor]:
        scope = get_stateless_scope()
        given = () if scope is None else (each for part in self.parts for each in part.variables)
        if any(scope.get_current_value(each) is not None for each in given):
            raise ModelError(
                "stateless_call: a quantized model computes with its own variables, never with values that are given "
                "for them. Call it as it is, model(inputs, training=True), under a tf.GradientTape, and let "
                "optimizer.apply(gradients, model.trainable_variables) train it"
            )
        nested = tf.nest.pack_sequence_as(self.model._nested_inputs, list(inputs))
        return tf.nest.flatten(self.model(nested, training=training))

    def compute_output_spec(self, inputs: Any, training: Any = None) -> list[keras.KerasTensor]:
        """Shapes and dtypes of the outputs: those of the inner model, whatever the inputs are.

        Args:
            inputs: Keras tensors in the order of the model's inputs; not read.
            training: not read: both modes give the same shapes.

        Returns:
            One Keras tensor per output, in the model's order, with its shape (the batch axis open, if it is so there)
            and dtype.
        """
        return [keras.KerasTensor(tuple(each.shape), dtype=each.dtype.name) for each in self.model.outputs]

    @property
    def trainable(self) -> bool:
        return bool(self._trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """Also of the model around it: penalties on weights count in one that is trainable, as Keras 3 has it."""
        keras.layers.Layer.trainable.fset(self, value)
        self.model.float_variables.frozen = not value

    def _get_own_losses(self) -> list[tf.Tensor]:
        return [*super()._get_own_losses(), *self.model.losses]

    def _lookup_dependency(self, name: str, cached_dependencies: Any = None) -> Any:
        """As TensorFlow has it; checkpoints that earlier versions wrote have the parts under their layers' names."""
        found = super()._lookup_dependency(name, cached_dependencies)
        return next((part for part in self.parts if part.name == name), None) if found is None else found

    def variables_by_identity(self) -> dict[int, SharedVariable]:
        """What Keras 3 sees of each variable of the inner model, by the variable's identity."""
        return {id(each._value): each for part in self.parts for each in part.variables}

    def get_config(self) -> dict[str, Any]:
        graph = tf_keras.saving.serialize_keras_object(self.model)
        return super().get_config() | {"graph": graph, "float_model": self.float_model}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> QuantizedGraph:
        return cls(**{key: value for key, value in config.items() if key not in ("dtype", "autocast")})


def shared_layers(model: QatModel) -> list[SharedWeights]:
    """One layer for each layer of the model that has variables, under its name: those of the float model first, then
    ranges and constants; shared variables are in the first."""
    seen: set[int] = set()
    found = []
    for layer in sorted(model.layers, key=lambda each: not isinstance(each, LayerVariables)):
        own = [variable for variable in layer.weights if id(variable) not in seen]
        seen.update(map(id, own))
        if own:
            found.append(SharedWeights(layer, own))
    return found


def read_graph(config: dict[str, Any]) -> QatModel:
    """The `QatModel` of a config.

    Raises:
        ModelError: the config names other layers than a `QatModel` has.
    """
    layers = config.get("config", {}).get("layers", [])
    names = {str(each.get("registered_name") or each.get("class_name")) for each in layers}
    foreign = sorted(name for name in names if not name.startswith(OWN) and name not in BUILT_IN)
    if config.get("class_name") != "QatModel" or foreign:
        raise ModelError(
            f"the saved model is no quantized model of this version: it holds {', '.join(foreign) or 'no graph'}"
        )
    return QatModel.from_config(config["config"])
