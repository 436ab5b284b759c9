"""A canonical graph as a functional Keras model: tfmot wrappers around what has weights, range layers between."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.mixed_precision.policy import policy_scope

from qat.config import QuantConfig
from qat.models.keras_types import KerasModel, KerasTensor, TensorNest
from qat.quantization.importing.keras_version import is_keras3, version_of
from qat.quantization.importing.model_inputs import nest_inputs
from qat.quantization.ir.graph import Graph, Node, Tensor, Weight, is_fixed
from qat.quantization.ir.operations import LINEAR
from qat.quantization.keras.activation_quantizer import ActivationQuantizer
from qat.quantization.keras.bind_ranges import bind_ranges
from qat.quantization.keras.carried_attributes import carried_attributes, give_attributes
from qat.quantization.keras.copied_variables import copy_variables
from qat.quantization.keras.custom_training import driven_class, drives_itself, parts_of
from qat.quantization.keras.deep_recursion import deep_recursion
from qat.quantization.keras.float_layers import float_layers
from qat.quantization.keras.freezing import trained_parts
from qat.quantization.keras.lent_variables import NOTHING_LENT, lent_variables
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.lstm import Lstm
from qat.quantization.keras.model import QatModel
from qat.quantization.keras.names import (
    keras_name,
    name_apart,
    name_of_given,
    names_in_nest,
    part_name,
    range_name,
    refuse_same_names,
)
from qat.quantization.keras.observing import cuts_nothing_off, is_square, observes, own_end
from qat.quantization.keras.op import Op
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.result_shapes import resulting_in
from qat.quantization.keras.to_float import architecture, foreign_classes
from qat.quantization.keras.training_layers import Added, DropoutMask, Dropped, InTraining
from qat.quantization.keras.unsaved import Unsaved
from qat.quantization.keras.variables import FloatVariables, building
from qat.quantization.keras.wrapper import CanonicalWrapper, LinearScheme, LstmScheme, OperandScheme
from qat.quantization.placement import ONE_RANGE_FOR_ALL, SAME_SCALE, QuantSpec
from qat.quantization.rewrites.normalizations import NORM

UNSIGNED = ("relu", "relu6")  # ops whose results are never below 0
DROPPED = ("dropout", "recurrent_dropout", "per_gate", "per_step", "seed", "programs")  # and an LSTM of its dropout


class Emitter:
    """The state of one emission: layers made so far, by what they share."""

    def __init__(self, settings: QuantConfig, scheme_of: Any, real: str) -> None:
        self.settings, self.scheme_of, self.real = settings, scheme_of, real
        self.tensors: dict[Tensor, Any] = {}
        self.range_layers: dict[QuantSpec, RangeLayer | Lstm] = {}  # an LSTM holds its cell's range itself
        self.shared: dict[tuple, CanonicalWrapper] = {}
        self.uses: Counter[QuantSpec] = Counter()
        self.consumers: dict[Tensor, list[Node]] = {}
        self.samples: Any = None  # an input of the model

    def emit(self, node: Node) -> None:
        inputs = [self.tensors[tensor] for tensor in node.inputs if not is_fixed(tensor)]
        if node.op == "in_training" and len(inputs) < len(node.inputs):
            inputs = self._for_training(node.inputs)
        if node.op == "fake_quant":
            with resulting_in(inputs[0].type_spec):
                results = self._range(node, inputs[0])
        elif node.op == "clamp" and not node.in_float:
            results = inputs[0]  # the range after it saturates
        elif node.op in LINEAR or node.op == "embedding":
            with resulting_in(self._result(node)):
                results = self._linear(node, inputs[0])
        elif node.op == "lstm":
            results = self._lstm(node, inputs[0])
        elif node.op == "in_training":
            results = self._in_training(node, inputs)
        elif node.op in ("dropout_mask", "dropped"):
            results = self._mask(node, inputs)
        else:
            with resulting_in(self._result(node)):
                results = self._op(node, inputs)
        flat = results if isinstance(results, (list, tuple)) else [results]
        self.tensors.update(zip(node.outputs, flat, strict=False))

    def _result(self, node: Node) -> tf.TensorSpec | None:
        """What the node's layer gives, where that is one tensor of real numbers with a shape that is known."""
        shape, dtype = node.output.shape, node.output.dtype
        is_known = len(node.outputs) == 1 and shape is not None and dtype == self.real == "float32"
        return tf.TensorSpec(shape, tf.float32) if is_known else None

    def _range(self, node: Node, tensor: KerasTensor) -> Any:
        quant_spec = node.attrs["quant_spec"].root()
        if quant_spec not in self.range_layers:
            quantizer = ActivationQuantizer(
                ema_decay=self.settings.ema_decay,
                learned=self.settings.learned_ranges,
                fixed=quant_spec.fixed,
                bounds=quant_spec.bounds,
                masked=quant_spec.masked,
            )
            name, calls = range_name(quant_spec), max(self.uses[quant_spec], 1)
            layer = RangeLayer(quantizer, source=quant_spec.layer, calls=calls, name=name, dtype=self.real)
            self.range_layers[quant_spec] = layer
        layer = self.range_layers[quant_spec]
        if not observes(node):
            return layer(tensor, observe="loose" if cuts_nothing_off(node, self.consumers) else "off")
        unsigned = node.inputs[0].node.op in UNSIGNED
        return layer(tensor, observe="together" if self.uses[quant_spec] > 1 else "ema", unsigned=unsigned)

    def _linear(self, node: Node, tensor: KerasTensor) -> Any:
        keys = tuple((name, weight.key) for name, weight in node.weights.items())
        attrs = {name: value for name, value in node.attrs.items() if name != "norm"}
        identity = (node.op, keys, repr((attrs, _norm_of(node))), node.in_float)
        wrapper = self._again(node, identity, [key for _, key in keys], self._new_linear)
        return _called(wrapper, tensor, next(iter(_input_ranges(node)), None), _name_of(node.output_range))

    def _again(self, node: Node, identity: tuple, keys: list, make: Callable[[Node], Any]) -> Any:
        """The layer for a node: the one that has its variables already, if all of its weights are variables."""
        if not keys or any(key is None for key in keys):
            return make(node)
        if identity not in self.shared:
            self.shared[identity] = make(node)
        return self.shared[identity]

    def _new_linear(self, node: Node) -> Any:
        norm = _norm_of(node)
        inner = Linear(
            kind=node.op,
            attrs={name: value for name, value in node.attrs.items() if name != "norm"},
            norm=norm and {"call": node.attrs["norm"].get("call", 0)} | norm,
            **self._weights(node.weights),
            name=_inner_name(node),
        )
        if node.in_float:
            return inner
        return CanonicalWrapper(
            inner, LinearScheme(**self.scheme_of(node.layer or node.name), one_range=node.one_range), dtype=self.real
        )

    def _lstm(self, node: Node, tensor: KerasTensor) -> Any:
        keys = [weight.key for weight in node.weights.values()]
        identity = (node.op, tuple(keys), repr(_dropped_by(node)), node.in_float)
        wrapper = self._again(node, identity, keys, self._new_lstm)
        if not node.in_float:
            self.range_layers[node.attrs["cell_range"]] = wrapper.layer
        return _called(wrapper, tensor, _input_ranges(node)[0], _name_of(node.output_range))

    def _new_lstm(self, node: Node) -> Any:
        units = node.attrs["units"]
        held = {"bias": Weight.constant(np.zeros(4 * units)), "cell_limit": Weight.constant(0.0), **node.weights}
        names = ("kernel", "recurrent", "bias", "cell_limit")  # as the wrapper lists them
        layer = Lstm(
            units=units,
            dropped=_dropped_by(node),
            **self._weights({name: held[name] for name in names}),
            name=_inner_name(node),
        )
        if node.in_float:
            return layer
        return CanonicalWrapper(layer, LstmScheme(self.scheme_of(node.layer)["bits"]), dtype=self.real)

    def _op(self, node: Node, inputs: list[Any]) -> Any:
        keys = [t.node.weights["value"].key for t in node.inputs if is_fixed(t)]
        places = tuple(is_fixed(t) for t in node.inputs)
        identity = (node.op, tuple(keys), places, repr(node.attrs), own_end(node), node.in_float)
        layer = self._again(node, identity, keys, self._new_op)
        values = inputs if len(inputs) > 1 else inputs[0]
        return _called(layer, values, _input_ranges(node), _name_of(node.output_range))

    def tapped(self, output: KerasTensor, taps: list[Node]) -> Any:
        """The output, on whose way the losses and metrics of the model are added.

        Args:
            output: a Keras tensor of any shape and dtype.
            taps: nodes of op "tap", each with the `kind`, `metric` and `program` of a loss or metric; their inputs are
                emitted already.

        Returns:
            A Keras tensor with the values and shape of `output`, real numbers in the dtype `real`; `output` itself
            where nothing is added.
        """
        for tap in taps:
            config = {name: tap.attrs[name] for name in ("kind", "metric", "program", "in_training", "inference_alone")}
            name = f"training_{part_name(tap.name, tap.layer)}--"
            inputs = self._for_training(tap.inputs)
            output = Added(**config, name=name, dtype=self.real)([output, *inputs])
        return output

    def _for_training(self, tensors: Sequence[Tensor]) -> list[Any]:
        """What training alone reads: constants, too, of as many rows as there are samples where they stand for each."""
        return [self._constant(each) if is_fixed(each) else self.tensors[each] for each in tensors]

    def _constant(self, tensor: Tensor) -> Any:
        node = tensor.node
        key = ("for_training", node.name)
        if key not in self.shared:
            self.shared[key] = Op(
                op="for_training",
                attrs={"each": bool(node.attrs.get("open_batch"))},
                operands=["operand_0", "x"],
                **self._weights({"operand_0": node.weights["value"]}),
                name=f"training_{part_name(node.name, node.layer)}--",
            )
        return self.shared[key](self.samples)

    def named(self, tensor: KerasTensor, name: str) -> Any:
        """The tensor as the output of a layer with the float model's output name.

        Args:
            tensor: a Keras tensor of any shape and dtype.
            name: name of the new layer; no other layer of the model has it.

        Returns:
            A Keras tensor with the same values and shape, real numbers in the dtype `real`.
        """
        return Op(op="identity", attrs={}, operands=["x"], weights={}, name=name, dtype=self.real)(tensor)

    def _in_training(self, node: Node, inputs: list[Any]) -> Any:
        """What acts in training alone; calls of one layer share it, and so its random numbers."""
        config = {name: node.attrs[name] for name in ("layer", "program", "output") if name in node.attrs}
        key = ("in_training", node.attrs["path"], repr(config))
        if key not in self.shared:
            name = f"training_{part_name(node.name, node.layer)}--"
            self.shared[key] = InTraining(**config, name=name, dtype=self.real)
        return self.shared[key](inputs if len(inputs) > 1 else inputs[0])

    def _mask(self, node: Node, inputs: list[Any]) -> Any:
        name = f"training_{part_name(node.name, node.layer)}--"
        if node.op == "dropped":
            return Dropped(name=name, dtype=self.real)(inputs)
        config = {word: node.attrs[word] for word in ("rate", "seed", "sizes", "batch_axis")}
        config["program"] = next(iter(node.attrs.get("programs", {}).values()), None)
        return DropoutMask(**config, name=name, dtype=self.real)(inputs[0])

    def _weights(self, weights: dict[str, Weight]) -> dict[str, Any]:
        """The weights of a layer as `Holder` takes them."""
        return {
            "weights": {name: self._spec(weight) for name, weight in weights.items()},
            "held": {name: weight.value for name, weight in weights.items() if weight.source is None},
            "dtype": self.real,
        }

    def _spec(self, weight: Weight) -> dict[str, Any]:
        kind = weight.value.dtype
        spec = {"shape": list(weight.value.shape), "dtype": self.real if kind.kind == "f" else str(kind)}
        return spec if weight.source is None else spec | {"source": weight.source.to_json()}

    def _new_op(self, node: Node) -> Any:
        fixed = {f"operand_{i}": t.node.weights["value"] for i, t in enumerate(node.inputs) if is_fixed(t)}
        layer = Op(
            op=node.op,
            attrs=node.attrs,
            operands=[f"operand_{i}" if is_fixed(t) else "x" for i, t in enumerate(node.inputs)],
            **self._weights(fixed),
            own_end=own_end(node),
            is_square=is_square(node),
            name=_inner_name(node) if fixed else f"op_{part_name(node.name, node.layer)}--",
        )
        quantized = (
            fixed and not node.in_float and node.op not in ONE_RANGE_FOR_ALL
        )  # of those the result has the one range
        return CanonicalWrapper(layer, OperandScheme(), dtype=self.real) if quantized else layer


def _norm_of(node: Node) -> dict[str, Any] | None:
    """What a linear op holds of the BatchNormalization inside it; it differs between calls in two modes."""
    norm = node.attrs.get("norm")
    return norm and {name: norm[name] for name in NORM}


def _dropped_by(node: Node) -> dict[str, Any]:
    """What an LSTM holds of its dropout; nothing where it is called for inference while the model trains."""
    return {name: node.attrs[name] for name in DROPPED if name in node.attrs}


def _inner_name(node: Node) -> str:
    """The name of a layer inside a wrapper; one left in float needs another name than a model's output has."""
    name = part_name(node.name, node.layer)
    return f"float_{name}--" if node.in_float else name


def _name_of(quant_spec: QuantSpec | None) -> str | None:
    return range_name(quant_spec.root()) if quant_spec is not None else None


def _scale_of(tensor: Tensor, quant_spec: QuantSpec | None) -> str | None:
    """The name of what says the tensor's scale: its range, or the embedding whose rows it holds."""
    if quant_spec is not None:
        return _name_of(quant_spec)
    while tensor.node.op in SAME_SCALE and tensor.node.op != "embedding":
        tensor = tensor.node.inputs[0]
    return _inner_name(tensor.node) if tensor.node.op == "embedding" else None


def _input_ranges(node: Node) -> list[str | None]:
    """What says the scale of each operand, for an op that asks."""
    return [_scale_of(tensor, quant_spec) for tensor, quant_spec in zip(node.inputs, node.input_ranges, strict=False)]


def _called(
    wrapper: tf_keras.layers.Layer,
    inputs: TensorNest,
    input_range: str | list[str | None] | None,
    output_range: str | None,
) -> Any:
    """What the layer gives; the ranges of each of its calls are told apart."""
    layer = getattr(wrapper, "layer", wrapper)
    layer.input_ranges.append(input_range)
    layer.output_ranges.append(output_range)
    call_index = len(layer.output_ranges) - 1
    return wrapper(inputs, place=call_index) if call_index else wrapper(inputs)  # saved models call it `place`


def emit(graph: Graph, model: KerasModel, settings: QuantConfig, scheme_of: Any) -> tuple[tf_keras.Model, dict]:
    """The graph as a Keras model with `model`'s name, nesting, and input and output names, and copies of its variables.

    Args:
        graph: the canonical graph, with the nodes of its ranges placed.
        model: the float model that it was made from, of either Keras; it stays as it is.
        settings: section `quant` of the config, of which `ema_decay` and `learned_ranges` are read.
        scheme_of: function of a Keras layer's name to its `bits` and `per_channel`, as `weight_scheme` gives them.

    Returns:
        The `QatModel`, with inputs [None, ...] where the float model has an open batch, and the layer that holds each
        range: a `RangeLayer`, or an `Lstm` for its cell.
    """
    names = version_of(model).output_names(model) or names_in_nest(graph)
    entries = [node.name for node in graph.inputs]
    outputs_named = [name_of_given(name) if name in entries else name for name in names]
    with policy_scope(tf_keras.mixed_precision.Policy(graph.real)), building(FloatVariables(graph.real)) as variables:
        variables.constants = [(weakref.ref(each), each.numpy()) for each in graph.constants]
        taken = {*entries, *outputs_named}
        copies, order = copy_variables(model, taken, keras_name, graph.preserved, graph.assigned)
        made, ranges = _emitted(graph, model, outputs_named, Emitter(settings, scheme_of, graph.real))
        name_apart(copies, made.layers)
        made._insert_layers(copies)
    qat_config = {"real": graph.real, "fake_quantization": True, "order": order}
    qat_config |= {"penalties": graph.penalties, "updates": graph.updates, "float_model": None, "lent": NOTHING_LENT}
    qat_config |= {"attributes": {}, "masks": graph.masks, "trained": trained_parts(model)}
    qat_config["layers"] = float_layers(model, keras_name)
    if not is_keras3(model):
        _add_keras2_config(made, qat_config, variables, model)
    made.hold(variables, qat_config)
    return made, ranges


def _add_keras2_config(
    made: QatModel, qat_config: dict[str, Any], variables: FloatVariables, model: tf_keras.Model
) -> None:
    """Add what a model of Keras 2 is built again by, and what its own class does in training."""
    qat_config |= {"float_model": architecture(model), "lent": lent_variables(model)}
    if made.driver is not None:
        qat_config |= {"driver": tf_keras.saving.get_registered_name(type(model)), "parts": parts_of(model)}
    qat_config["attributes"] = carried_attributes(model, made)
    give_attributes(made, qat_config["attributes"], variables.variables, model)
    if qat_config["float_model"] is None or foreign_classes(qat_config["float_model"]):
        object.__setattr__(made, "origin", Unsaved(model))


def _emitted(
    graph: Graph, model: KerasModel, names: list[str], emitter: Emitter
) -> tuple[tf_keras.Model, dict[QuantSpec, Any]]:
    emitter.uses = Counter(node.attrs["quant_spec"].root() for node in graph.nodes_of("fake_quant") if observes(node))
    emitter.consumers = graph.consumers()
    entries = []
    for node in graph.inputs:
        kind = graph.real if node.output.dtype == "float32" else node.output.dtype
        entry = tf_keras.Input(node.output.shape[1:], dtype=kind, name=node.name)
        entries.append(entry)
        emitter.tensors[node.output] = entry
        emitter.samples = entry if emitter.samples is None else emitter.samples
    for node in graph.nodes:
        if node.op not in ("input", "const", "variable", "tap"):
            emitter.emit(node)
    outputs = [emitter.tensors[tensor] for tensor in graph.outputs]
    outputs[0] = emitter.tapped(outputs[0], graph.taps)
    outputs = [emitter.named(tensor, name) for tensor, name in zip(outputs, names, strict=True)]
    given = [*(entry.name for entry in entries), *names]
    refuse_same_names(model.name, given, [*emitter.tensors.values(), *outputs])
    nested = tf.nest.pack_sequence_as(graph.nest, outputs)
    with deep_recursion():
        own = not is_keras3(model) and drives_itself(model)
        kind = driven_class(QatModel, type(model), parts_of(model)) if own else QatModel
        made = kind(nest_inputs(model, entries), nested, name=model.name)
    bind_ranges(made)
    return made, emitter.range_layers
