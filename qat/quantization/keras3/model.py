"""The Keras 3 model that `quantize_model` returns for one of Keras 3: a skin over a `QatModel`."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qat.quantization.importing.output_keys import given_in_training
from qat.quantization.keras.arithmetic import integer_arithmetic
from qat.quantization.keras.carried_attributes import carried_attributes, give_attributes
from qat.quantization.keras.custom_training import driven_class, drives_itself, found_driver, own_classes, parts_of
from qat.quantization.keras.distillation import mixed_with_teacher
from qat.quantization.keras.float_weights import load_either
from qat.quantization.keras.misuse import (
    warn_of_frozen_originals,
    warn_of_frozen_parts,
    warn_of_left_variables,
    warn_of_moved_settings,
)
from qat.quantization.keras.model import QatModel
from qat.quantization.keras.names import free_name
from qat.quantization.keras.to_float_messages import warn_of_other_layers
from qat.quantization.keras.traced_once import traced_once
from qat.quantization.keras.unsaved import Unsaved, UnsavedProperty
from qat.quantization.keras3.graph_layer import QuantizedGraph
from qat.quantization.keras3.to_float import float_model_of

GRAPH = "quantized_graph"  # name of the layer that does it all, unless an input or output has it


@keras.saving.register_keras_serializable("qat")
class Keras3QatModel(keras.Model):
    """A functional model of Keras 3 whose one layer is a `QatModel`, with the float model's inputs and outputs by name.

    At inference it computes with the integer kernels' arithmetic, as the file does; in training by fake quantization.
    """

    # No constructor of its own: Keras revives from a file only what is built as a functional model is.
    teacher = None
    distilling = False  # while a training step is traced
    driver = None  # name of the float model's class, whose `train_step` and the like this one has
    evaluates_itself = False  # by a `test_step` of the float model's class
    driver_config: Any = None  # what `train_step` of a float model of a class of its own needs; see `take`
    origin: Unsaved | None = None  # a float model that only the process that has quantized it can build again

    @property
    def graph(self) -> QuantizedGraph:
        """The layer that does it all."""
        return next(layer for layer in self.layers if isinstance(layer, QuantizedGraph))

    @property
    def qat_model(self) -> QatModel:
        """The model of tf_keras that computes: what is written into a file, with the same variables as this one."""
        return self.graph.model

    @UnsavedProperty
    def quantization_report(self) -> Any:
        """What became of each tensor and layer, as the file holds it."""
        return self.qat_model.quantization_report

    def load_weights(self, filepath: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
        """As Keras has it; of a file of the float model's weights those are taken, and the ranges stay.

        Args:
            filepath: path of the file.
            arguments, options: as `keras.Model.load_weights` takes them.
        """
        load_either(self, super().load_weights, filepath, *arguments, **options)

    def to_float(self) -> keras.Model:
        """The float model with the weights as they are now; ranges are dropped.

        For a float model that can be written down and read again, a model of its class; for any other, once it has been
        saved, the same function and variables in this model's own layers, without quantization.

        Raises:
            ModelError: a class of the float model is not known in this process.
        """
        origin = None if self.origin is None else self.origin.model
        made = float_model_of(self.qat_model, self.graph.float_model, origin, self.trainable)
        if made is None:
            warn_of_other_layers(self.name)
            return as_keras3(self.qat_model._unquantized(), None)
        return made

    def fake_quantization(self, on: bool) -> None:
        """Switch rounding and ranges on or off, from the next call or `compile` on, in training and at inference.

        Switched off, the model is the float model in training, with the same variables. The switch is saved with it.
        """
        self.qat_model.fake_quantization(on)
        self.forget_traces()
        self.train_function = None

    def forget_traces(self) -> None:
        """After a switch that graphs of evaluation read when they are traced."""
        self.qat_model.forget_traces()
        self.test_function = self.predict_function = None

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """As Keras has it; in training without the outputs that the float model gives at inference alone."""
        outputs = super().call(inputs, training=training, mask=mask)
        nest = self.qat_model.qat_config.get("training_nest")
        return given_in_training(nest, outputs) if training is True else outputs

    def learn_from(self, teacher: keras.Model, weight: float, temperature: float) -> None:
        """Mix the float model's answers into the loss of `fit` (Hinton et al. 2015).

        Args:
            teacher: the float model; it is not trained, and stays as it is.
            weight: share of the teacher's part of the loss, 0-1.
            temperature: a number above 0: both answers are softened by p^(1/temperature) before they are compared.
        """
        object.__setattr__(self, "teacher", (Unsaved(teacher), float(weight), float(temperature)))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> tf.Tensor:
        """Keras' own loss, `mixed_with_teacher`."""
        return mixed_with_teacher(self, super().compute_loss(x, y, y_pred, sample_weight, training), x, y_pred)

    def reset_metrics(self) -> None:
        """As Keras has it, at the start of each epoch."""
        warn_of_moved_settings(self.name, self.qat_model.float_variables)
        warn_of_frozen_originals(self, self.qat_model.float_variables)
        super().reset_metrics()

    def make_train_function(self, force: bool = False) -> Any:
        """As Keras has it, at the start of `fit`: from here on the model is a trained one."""
        self.qat_model.post_training = False
        return super().make_train_function(force)

    def train_step(self, data: Any) -> Any:
        object.__setattr__(self, "distilling", True)
        try:
            with traced_once(self, self.qat_model):
                self._build_optimizer()
                return super().train_step(data)
        finally:
            object.__setattr__(self, "distilling", False)

    def _build_optimizer(self) -> None:
        """Before the step is traced, as before a second trace: one that scales losses reads its variables if it is
        built, and a number if not."""
        if self.optimizer is not None and not self.optimizer.built:
            with tf.init_scope():
                self.optimizer.build(self.trainable_variables)

    def test_step(self, data: Any) -> Any:
        with integer_arithmetic():
            return super().test_step(data)

    def predict_step(self, data: Any) -> Any:
        with integer_arithmetic():
            return super().predict_step(data)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | ({} if self.driver_config is None else {"training": self.driver_config})

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        config = dict(config)
        driver_config = config.pop("training", None)
        made_by = cls
        if driver_config is not None and cls.driver is None and driver_config["driver"] is not None:
            found = found_driver(driver_config["driver"], custom_objects, cls)
            made_by = cls if found is None else driven_class(cls, found, driver_config["parts"])
        made = super(Keras3QatModel, made_by).from_config(config, custom_objects)
        if driver_config is not None:
            made.take(driver_config)
        return made

    def load_own_variables(self, store: Any) -> None:
        """Leave in the file, and say so, what a class of the user's has made and nothing here has made again."""
        if self._trainable_variables or self._non_trainable_variables:
            super().load_own_variables(store)
        else:
            warn_of_left_variables(self, len(store.keys()))

    def take(self, driver_config: dict[str, Any], origin: keras.Model | None = None) -> None:
        """Take what the float model's class has put into its instance.

        Args:
            driver_config: `driver`, the name of the class; `parts`, its layers; `attributes`, as `carried_attributes`
                gives it.
            origin: the float model, where this process has it; None where not.
        """
        object.__setattr__(self, "driver_config", driver_config)
        known = self.graph.variables_by_identity()
        variables = [each if each is None else known[id(each)] for each in self.qat_model.float_variables.variables]
        give_attributes(self, driver_config["attributes"], variables, origin)

    @property
    def range_variables(self) -> list[keras.Variable]:
        """Ends of ranges that are trained (`quant.learned_ranges`)."""
        known = self.graph.variables_by_identity()
        return [known[id(variable)] for variable in self.qat_model.range_variables]

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The float model's, in its order; ranges that are learned come after them. A frozen model has none."""
        if not self.trainable:
            return []
        warn_of_frozen_parts(self, self.qat_model.float_variables)
        known = self.graph.variables_by_identity()
        return [known[id(variable)] for variable in self.qat_model.trainable_weights]

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        return self.trainable_variables

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """As Keras has it; layers of the float model are found by their names, to be frozen for instance.

        Args:
            name: name of a layer of the float model, of a part of the quantized graph, or of this model; None to take
                `index`.
            index: place among this model's own layers, from 0; read where no part has the name. Keras takes one of
                both.

        Returns:
            The layer; of the float model's, the one that holds its variables, or a `FloatLayer` where others hold them.

        Raises:
            ValueError: there is no such layer; or neither or both of name and index are given.
        """
        if name is None or index is not None:
            return super().get_layer(name, index)
        shown: dict[int, Any] = {
            id(part.shared): part for part in self.graph.parts
        } | self.graph.variables_by_identity()
        named = self.qat_model.named_layers(lambda held: shown[id(held)])
        own = {each.name: each for each in [*self.layers, *self.graph.parts]}
        if name in named.layers or (name not in own and named.find(name) is not None):
            return named.layer(name)
        if name not in own:
            raise ValueError(named.no_such(name))
        return own[name]


# an .h5 file names classes without their package
keras.saving.get_custom_objects().update({each.__name__: each for each in (Keras3QatModel, QuantizedGraph)})


def as_keras3(model: QatModel, float_model: keras.Model | None) -> Keras3QatModel:
    """Put the skin of Keras 3 on a quantized model.

    Args:
        model: the quantized model that computes; its variables are shared, and stand in the order of the float model's.
        float_model: the model of Keras 3 that it was made from; None where it is not known any more.

    Returns:
        A functional model with its name, and inputs and outputs nested and named as its.
    """
    from qat.quantization.keras3.to_float import architecture, unknown_names

    inputs = [
        keras.Input(batch_shape=tuple(each.shape), dtype=each.dtype.name, name=each.node.layer.name)
        for each in model.inputs
    ]
    config = None if float_model is None else architecture(float_model)
    name = free_name(GRAPH, {*(each.name for each in inputs), *model.output_names})
    results = QuantizedGraph(model=model, float_model=config, name=name)(inputs)
    outputs = [
        keras.layers.Identity(dtype=_real(each), name=name)(result)
        for each, result, name in zip(model.outputs, results, model.output_names, strict=True)
    ]
    kind: Any = Keras3QatModel
    if float_model is not None and drives_itself(float_model):
        kind = driven_class(Keras3QatModel, type(float_model), parts_of(float_model))
    made = kind(_packed(model._nested_inputs, inputs), _packed(model._nested_outputs, outputs), name=model.name)
    made.dtype_policy = "float32"  # whatever is global: `compile` would scale the loss of a model in float16
    if float_model is not None and (config is None or unknown_names(config)):
        object.__setattr__(made, "origin", Unsaved(float_model))
    if float_model is not None and own_classes(type(float_model)):
        driver_config = {"driver": made.driver and keras.saving.get_registered_name(type(float_model))}
        driver_config |= {"parts": parts_of(float_model), "attributes": carried_attributes(float_model, made)}
        made.take(driver_config, float_model)
    return made


def _packed(nest: Any, tensors: list[Any]) -> Any:
    """The tensors nested as Keras 2's are, in plain containers."""
    return tf.nest.pack_sequence_as(tf.nest.map_structure(lambda _: 0, nest), tensors)


def _real(tensor: Any) -> str:
    return tensor.dtype.name if np.issubdtype(tensor.dtype.as_numpy_dtype, np.floating) else "float32"
