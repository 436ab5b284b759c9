"""The Keras model that `quantize_model` returns: functional, bound, and able to learn from the float model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow.python.saved_model.function_deserialization import RestoredFunction

from qat.models.keras_types import TensorNest, Training
from qat.quantization.build_report import build_report
from qat.quantization.importing.output_keys import given_in_training
from qat.quantization.ir.outside_variables import describe_now, find_variables
from qat.quantization.ir.program import Program
from qat.quantization.keras.arithmetic import arithmetic_is_chosen, in_reals, integer_arithmetic
from qat.quantization.keras.bind_ranges import bind_ranges
from qat.quantization.keras.call_order import ordered_by_calls
from qat.quantization.keras.carried_attributes import give_attributes
from qat.quantization.keras.custom_training import driven_class, found_driver
from qat.quantization.keras.deep_recursion import deep_recursion
from qat.quantization.keras.distillation import mixed_with_teacher
from qat.quantization.keras.evaluation import EvaluatedInIntegers
from qat.quantization.keras.exporters import is_traced_for_a_file
from qat.quantization.keras.float_layers import NamedLayers
from qat.quantization.keras.float_weights import load_either
from qat.quantization.keras.freezing import freeze_alike, freeze_as_now, set_momentum_as_now
from qat.quantization.keras.layer_updates import run_updates
from qat.quantization.keras.lent_variables import NOTHING_LENT, lend_again
from qat.quantization.keras.misuse import (
    warn_of_frozen_originals,
    warn_of_frozen_parts,
    warn_of_left_variables,
    warn_of_moved_settings,
    warn_of_zeros,
)
from qat.quantization.keras.output_masks import mask_outputs
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.registered import by_bare_names
from qat.quantization.keras.result_shapes import equal_layers_alike
from qat.quantization.keras.save_formats import refuse_other_formats
from qat.quantization.keras.to_float import (
    clone,
    own_objects,
    rebuild,
    set_variables,
    warn_of_lost_losses,
)
from qat.quantization.keras.to_float_messages import warn_of_other_layers
from qat.quantization.keras.traced_once import traced_once
from qat.quantization.keras.training_layers import is_training
from qat.quantization.keras.unbuilt_parts import make_missing_variables
from qat.quantization.keras.unsaved import Unsaved, UnsavedProperty
from qat.quantization.keras.variables import FloatVariables, LayerVariables, building
from qat.quantization.keras.wrapper import CanonicalWrapper
from qat.quantization.report import QuantizationReport


@tf_keras.utils.register_keras_serializable("qat")
class QatModel(EvaluatedInIntegers):
    """A functional model of canonical layers, whole again after `tf_keras.models.load_model`.

    At inference it computes with the integer kernels' arithmetic, as the file does; in training by fake quantization.
    """

    # No constructor of its own: Keras revives from a file only what is built as a functional model is.
    teacher = None
    distilling = False  # while a training step is traced
    bound = False
    gives_all = False  # in training too; another model around it leaves out what only inference gives
    origin: Unsaved | None = None  # a float model that only the process that has quantized it can build again
    qat_config: Any = None  # see `hold`
    check_rows = None  # some calibration rows, one array per input: `qat.quantization.keras.check_rows`

    driver = None  # name of the float model's class, whose `train_step` and the like this one has

    def _init_graph_network(self, inputs: TensorNest, outputs: TensorNest) -> None:
        super()._init_graph_network(inputs, outputs)
        self._nodes_by_depth = ordered_by_calls(self._nodes_by_depth)

    @property
    def post_training(self) -> bool:
        """Whether it was calibrated alone, by `quantize_model` with `name="ptq"`, and not trained; saved with it."""
        return bool((self.qat_config or {}).get("post_training"))

    @post_training.setter
    def post_training(self, value: bool) -> None:
        if self.qat_config is not None:  # as a part of a QAT model has none
            self.qat_config["post_training"] = bool(value)

    def make_train_function(self, force: bool = False) -> Any:
        """As Keras has it, at the start of `fit`: from here on the model is a trained one."""
        self.post_training = False
        return super().make_train_function(force)

    def save(self, filepath: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
        """Save as Keras does, which would make a folder of any other name, as of `model.tflite`; such are refused.

        Args:
            filepath: path of the file to write, as `model.keras`.
            arguments, options: as `tf_keras.Model.save` takes them.

        Raises:
            ConfigError: the path ends as files of another format do, as `.tflite` or `.onnx`.
        """
        refuse_other_formats(str(filepath))
        super().save(filepath, *arguments, **options)

    def load_weights(self, filepath: str | os.PathLike[str], *arguments: Any, **options: Any) -> Any:
        """As Keras has it; of a file of the float model's weights those are taken, and the ranges stay.

        Args:
            filepath: path of the file.
            arguments, options: as `tf_keras.Model.load_weights` takes them.
        """
        return load_either(self, super().load_weights, filepath, *arguments, **options)

    def to_float(self) -> tf_keras.Model:
        """The float model with the weights as they are now; ranges are dropped.

        If Keras can write the float model down and read it again (functional, sequential, with `get_config`), this is
        a model of its class. If not, and for one with `Lambda` functions once it has been saved, it is the same
        function and variables in this model's own layers, without quantization.

        Raises:
            ModelError: a class of the float model is not known in this process.
        """
        config = self.qat_config.get("float_model")
        if self.origin is not None:
            model = clone(self.origin.model)
        else:
            model = None if config is None else rebuild(config, self._nested_inputs, self.name)
        if model is None:
            warn_of_other_layers(self.name)
            return self._unquantized()
        lend_again(model, self.qat_config.get("lent", NOTHING_LENT))
        names = [None if each is None else each.name for each in self.float_variables.variables]
        values, caller = self.float_variables.values(), model if self.origin is None else self.origin.model
        make_missing_variables(model, values, self.inputs, caller, self._nested_inputs)
        set_variables(model, values, names, self.name)
        freeze_alike(model, self.qat_config.get("trained"))
        freeze_as_now(model, self.float_variables, self.qat_config["order"], bool(self._trainable))
        set_momentum_as_now(model, self.float_variables)
        warn_of_lost_losses(model, len(self.qat_config["penalties"]))
        return model

    @UnsavedProperty
    def quantization_report(self) -> QuantizationReport:
        """What is quantized on which grid, as it is now; what is not, and why; and what was rewritten into what."""
        if not self.bound:
            bind_ranges(self)
        return build_report(self, self.qat_config.get("outcome", {}))

    def _unquantized(self) -> tf_keras.Model:
        replica = clone_qat_model(self)
        for mine, other in zip(self.layers, replica.layers, strict=True):
            other.set_weights(mine.get_weights())
        replica.fake_quantization(False)
        return replica

    def hold(self, variables: FloatVariables, qat_config: dict[str, Any]) -> None:
        """Take the copies of the float model's variables, and what else training does.

        Args:
            variables: copies of the float model's variables, from which the layers compute their weights.
            qat_config: `order`, the places of the variables in the order of `trainable_variables`; `penalties`,
                `updates` and `masks`, as `Graph` has them; `real`, the dtype of real numbers; `fake_quantization`,
                whether anything is rounded; `post_training`, where it is calibrated alone.
        """
        object.__setattr__(self, "float_variables", variables)
        object.__setattr__(self, "qat_config", dict(qat_config))
        for penalty in qat_config["penalties"]:
            self.add_loss(_Penalty(Program.from_json(penalty["program"]), variables, penalty.get("of")))
        if not qat_config["fake_quantization"]:
            self._switch(False)

    def call(self, inputs: TensorNest, training: Training = None, mask: TensorNest | None = None) -> Any:
        if not self.bound:
            self._begin()
        if tf.is_tensor(training) and tf.get_static_value(training) is None:
            modes = [partial(self, inputs, training=mode, mask=mask) for mode in (True, False)]
            return tf.cond(tf.cast(training, tf.bool), *modes)
        if self.float_variables is None:  # a part of a QAT model
            return super().call(inputs, training=training, mask=mask)
        with self.float_variables.one_pass(), self._arithmetic(training), in_reals(self.float_variables.real):
            self._update(training, after=False)
            outputs = super().call(inputs, training=training, mask=mask)
            self._update(training, after=True)
            mask_outputs(self, inputs, outputs)
        if self.gives_all or not is_training(training):
            return outputs
        return given_in_training(self.qat_config.get("training_nest"), outputs)

    def _should_use_autograph(self) -> bool:
        """Of Keras: nothing in `call` needs it, and it is slow. Layers in the model that need it use it still."""
        return False

    def _begin(self) -> None:
        """Once, before the first call of a model that Keras has read."""
        bind_ranges(self)
        if self.float_variables is not None:
            warn_of_zeros(self.name, self.float_variables, self.qat_config["order"])

    def _update(self, training: Training, after: bool) -> None:
        if is_training(training):
            run_updates(self.qat_config["updates"], self.float_variables, after)

    def _arithmetic(self, training: Training) -> contextlib.AbstractContextManager:
        """The kernels' arithmetic, with the gradients of fake quantization, for a call at inference; else nothing.

        What is traced for a file stays fake quantization, which TensorFlow's converter knows.
        """
        as_it_is = is_training(training) or not self.qat_config["fake_quantization"]
        if as_it_is or arithmetic_is_chosen() or is_traced_for_a_file():
            return contextlib.nullcontext()
        return integer_arithmetic(with_gradients=True)

    def add_loss(self, losses: TensorNest, **kwargs: Any) -> None:
        """As Keras has it; what a SavedModel holds of the penalties is left out: they are here already."""
        kept = [loss for loss in tf.nest.flatten(losses) if not isinstance(loss, RestoredFunction)]
        super().add_loss(kept, **kwargs)

    @property
    def trainable_weights(self) -> list:
        """The float model's, in its order; ranges that are learned come after them."""
        if self.float_variables is None or not self._trainable:
            return super().trainable_weights
        warn_of_frozen_parts(self, self.float_variables)
        return [*self.float_variables.trainable(self.qat_config["order"]), *self.range_variables]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """As Keras has it; a name that a layer of the float model and an output share is that of the layer.

        Args:
            name: name of a layer of the float model, or of this model; None to take `index`.
            index: place among this model's own layers, from 0; None to take `name`.

        Returns:
            The layer; of the float model's, the one that holds its variables, or a `FloatLayer` where others hold them.

        Raises:
            ValueError: there is no such layer, or neither or both of name and index are given.
        """
        if name is None or index is not None or self.float_variables is None:
            return super().get_layer(name, index)
        named = self.named_layers()
        own = next((layer for layer in self.layers if layer.name == name), None)
        if name in named.layers or (own is None and named.find(name) is not None):
            computing = None if isinstance(own, LayerVariables) else own
            return named.layer(name, computing)
        if own is None:
            raise ValueError(named.no_such(name))
        return own

    def named_layers(self, shown: Callable[[Any], Any] = lambda held: held) -> NamedLayers:
        """The float model's layers that have variables, by name; `shown` as `NamedLayers` takes it."""
        return NamedLayers(self.float_variables, self.qat_config.get("layers"), self.name, shown)

    @property
    def range_variables(self) -> list:
        """Ends of ranges that are trained (`quant.learned_ranges`)."""
        layers = [layer for layer in self.layers if isinstance(layer, RangeLayer) and layer.trainable]
        return [variable for layer in layers for variable in layer.trainable_weights]

    def fake_quantization(self, on: bool) -> None:
        """Switch rounding and ranges on or off, from the next call or `compile` on, in training and at inference.

        Switched off, the model is the float model in training, with the same variables. The switch is saved with it.
        """
        self.qat_config["fake_quantization"] = bool(on)
        self._switch(bool(on))

    def _switch(self, on: bool) -> None:
        self.float_variables.quantized = on
        self._compute_in(self.float_variables.real)
        for layer in self.layers:
            if isinstance(layer, RangeLayer):
                layer.quantizer.enabled = on
            elif isinstance(layer, CanonicalWrapper):
                for _, quantizer, _ in layer._weight_vars:
                    quantizer.enabled = on
        self.forget_traces()
        self.train_function = self.train_tf_function = None

    def _compute_in(self, real: str) -> None:
        """Let all layers compute in this dtype: a float model of float64 trains in it, without grids."""
        policy = tf_keras.mixed_precision.Policy(real)
        for layer in self._flatten_layers(include_self=False):
            if layer.compute_dtype in ("float32", "float64") and not isinstance(layer, LayerVariables):
                layer._set_dtype_policy(policy)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"quantization": describe_now(self.qat_config)}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict[str, type] | None = None) -> Any:
        config = dict(config)
        qat_config = config.pop("quantization", None)
        if qat_config is None:  # a part of a QAT model
            with deep_recursion():
                return super().from_config(config, custom_objects)
        driver = cls.driver or qat_config.get("driver")
        made_by = cls
        if driver is not None and cls.driver is None:
            found = found_driver(driver, custom_objects, cls)
            made_by = cls if found is None else driven_class(cls, found, qat_config.get("parts", {}))
        variables = FloatVariables(qat_config["real"])
        with deep_recursion(), by_bare_names(), building(variables), equal_layers_alike():
            made = super(QatModel, made_by).from_config(config, custom_objects)
        give_attributes(made, qat_config.get("attributes", {}), variables.variables)
        made.hold(variables, qat_config)
        return made

    def load_own_variables(self, store: Any) -> None:
        """Leave in the file, and say so, what a class of the user's has made and nothing here has made again."""
        self._update_trackables()
        if self._trainable_weights or self._non_trainable_weights:
            super().load_own_variables(store)
        else:
            warn_of_left_variables(self, len(store.keys()))

    def learn_from(self, teacher: tf_keras.Model, weight: float, temperature: float) -> None:
        """Mix the float model's answers into the loss of `fit` (Hinton et al. 2015).

        Args:
            teacher: the float model; it is not trained, and stays as it is.
            weight: share of the teacher's part of the loss, 0-1.
            temperature: a number above 0: both answers are softened by p^(1/temperature) before they are compared.
        """
        object.__setattr__(self, "teacher", (Unsaved(teacher), float(weight), float(temperature)))

    def reset_metrics(self) -> None:
        """As Keras has it, at the start of each epoch."""
        if self.float_variables is not None:
            warn_of_moved_settings(self.name, self.float_variables)
            warn_of_frozen_originals(self, self.float_variables)
        super().reset_metrics()

    def train_step(self, data: TensorNest) -> dict:
        object.__setattr__(self, "distilling", True)
        try:
            with traced_once(self, self):
                return super().train_step(data)
        finally:
            object.__setattr__(self, "distilling", False)

    def compute_loss(
        self,
        x: TensorNest | None = None,
        y: TensorNest | None = None,
        y_pred: TensorNest | None = None,
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Keras' own loss, `mixed_with_teacher`."""
        return mixed_with_teacher(self, super().compute_loss(x, y, y_pred, sample_weight), x, y_pred)


def part_of(model: QatModel, tensors: list[Any]) -> QatModel:
    """The model that ends in these tensors of it: the same layers and variables, bound as they are.

    Args:
        model: the quantized model; it stays as it is, but that its ranges are bound if they were not yet.
        tensors: Keras tensors of its graph, of any shape and dtype, or lists of such.

    Returns:
        A model with the inputs of `model`, and outputs nested as `tensors`.
    """
    if not model.bound:
        bind_ranges(model)
    part = QatModel(model.inputs, tensors)
    for name in ("float_variables", "qat_config", "bound"):
        object.__setattr__(part, name, getattr(model, name))
    return part


def clone_qat_model(model: QatModel) -> QatModel:
    """The same model with variables of its own, zeros yet: made under the scope of the strategy that will train it."""
    with tf_keras.utils.custom_object_scope(own_objects(model)):
        replica = type(model).from_config(model.get_config())
    if model.teacher is not None:
        object.__setattr__(replica, "teacher", model.teacher)
    return replica


class _Penalty:
    """A loss on weights alone, as Keras wants one: a function of nothing, which gives None for no loss.

    Args:
        program: what computes it from the variables.
        variables: of the model.
        of: place, from 0, of the variable that it counts with as long as that is trained; None where it always counts.
    """

    def __init__(self, program: Program, variables: FloatVariables, of: int | None) -> None:
        self.program, self.variables, self.of = program, variables, of
        self.outside = find_variables(program.to_json())

    def __call__(self) -> tf.Tensor | None:
        frozen = self.of is not None and not self.variables.is_penalized(self.of)
        return None if frozen else self.program.run([], self.variables.readable)[0]


tf_keras.utils.get_custom_objects()["QatModel"] = QatModel  # as an .h5 file names it
