"""The state of one trace: which layer is being called, and what its reader may do."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import func_graph as func_graph_lib

from qat.models.keras_types import KerasLayer, TensorNest, Training
from qat.quantization.importing.assignments import forced_to_train
from qat.quantization.importing.layer_calls import (
    AddedLoss,
    Drawn,
    Key,
    LayerCall,
    MetricCall,
    Region,
    WholeLayer,
    is_on_tensors,
)
from qat.quantization.importing.unrolling import Budget

# attributes under which layers that are read whole hold their variables, in both versions of Keras
VARIABLES = (
    *("kernel", "_kernel", "recurrent_kernel", "bias"),
    *("gamma", "beta", "moving_mean", "moving_variance"),
    *("vector_u", "u"),
)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # where a word begins in the name of a class


class Tracer:
    """What a layer reader may do while the model is being traced.

    Args:
        graph: what is traced into.
        training: whether the model is called in training mode.
        training_modes: whether a layer call is in training mode while the model trains, by the call's key; None where
            only this trace can tell.
        regions: layer calls that compute something else in training, or are called with something else.
        written_out: layer calls of which nothing is kept whole.
    """

    def __init__(
        self,
        graph: func_graph_lib.FuncGraph,
        training: bool = False,
        training_modes: dict[Key, bool] | None = None,
        regions: dict[Key, Region] | None = None,
        written_out: frozenset[Key] = frozenset(),
    ) -> None:
        self.graph, self.training, self.training_modes, self.regions = graph, training, training_modes, regions or {}
        self.written_out = written_out
        self.whole: dict[str, WholeLayer] = {}
        self.layer_of: dict[str, str] = {}
        self.step_of: dict[str, str] = {}
        self.added: list[AddedLoss] = []
        self.updates: list[dict[str, Any]] = []
        self.masks: dict[Any, list[tf.Tensor]] = {}  # masks of dropout in recurrent cells
        self.drawn: dict[str, Drawn] = {}
        self.forced: dict[str, str] = {}
        self._listed: set[int] = set()  # layers in `forced`, which some wrappers call twice
        self.budget = Budget()
        self.unrolling: list[int] = []  # how deep the recurrent layers are that are being written out
        self.root: LayerCall | None = None
        self._stack: list[LayerCall] = []
        self._counts: Counter[str] = Counter()
        self._path: list[str] = []
        self._places: list[Counter[str]] = []  # by layer in the path: how many ops of a type its call has made
        self._made: dict[int, tuple[KerasLayer, str]] = {}  # layers made in a call: they are held, so that no id recurs
        self._seen = 0
        self._thread = threading.get_ident()

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that traces: what others call meanwhile is no part of the model."""
        return threading.get_ident() == self._thread

    def sees(self, args: tuple, kwargs: dict) -> bool:
        """Whether a layer call belongs to the model: one on tensors, in this thread.

        Args:
            args: positional arguments of the call.
            kwargs: keyword arguments of the call.
        """
        return self.is_here and is_on_tensors(args, kwargs)

    def names(self, layer: KerasLayer) -> None:
        """Name a layer that is made without a name in the innermost call: by its class, and by how many of that class
        the call has made before. Keras counts on from call to call, so that its own name is another one in each trace.

        Layers that are made elsewhere, before any call or in another thread, keep their names.
        """
        if self._stack and self.is_here:
            kind = type(layer).__name__
            count = self.current.made[kind]
            self.current.made[kind] += 1
            word = _WORDS.sub("_", kind).lower()
            self._made[id(layer)] = layer, f"{word}_{count}" if count else word

    def name_of(self, layer: KerasLayer) -> str:
        """The name of a layer in paths: the same in every trace of a model."""
        return self._made[id(layer)][1] if id(layer) in self._made else layer.name

    @property
    def current(self) -> LayerCall:
        """The innermost layer call."""
        return self._stack[-1]

    @property
    def in_training_mode(self) -> bool:
        """Whether the innermost layer is called in training mode while the model trains."""
        return self.current.in_training_mode

    def keep(
        self,
        op: str,
        inputs: list[tf.Tensor],
        shape: Sequence[int | None] | tf.TensorShape,
        weights: dict[str, Any] | None = None,
        **attrs: Any,
    ) -> tf.Tensor:
        """Place one op for a whole layer in the graph; the importer makes a node of it.

        Args:
            op: name of the node's op, such as `dense`.
            inputs: the tensors that the node reads, of any shapes; the dtype of the first one is that of the result.
            shape: sizes of the result, None for an open size.
            weights: the layer's variables by the names of the node's weights; those that are None are left out. None
                for none.
            attrs: the node's attributes, plain JSON values.

        Returns:
            A placeholder of that shape, which stands for the layer's output in the trace.
        """
        held = {name: weight for name, weight in (weights or {}).items() if weight is not None}
        inputs = [tf.convert_to_tensor(each) for each in inputs]  # some layers are called on variables
        mark = tf.compat.v1.placeholder(inputs[0].dtype, shape, name=f"whole_{op.split(':')[-1].split(' ')[0]}")
        self.whole[mark.op.name] = WholeLayer(op, inputs, held, attrs)
        return mark

    def reads_whole(self, call: LayerCall, layer: KerasLayer) -> bool:
        """Whether a reader may take the place of a call: not of one that is written out, nor where another layer has
        put computed numbers in the place of its variables, as wrappers that normalise a kernel do."""
        held = (vars(layer).get(name) for name in VARIABLES)
        return call.key not in self.written_out and not any(map(tf.is_symbolic_tensor, held))

    @contextlib.contextmanager
    def inside(self, layer: KerasLayer, args: tuple, kwargs: dict, training: Training) -> Iterator[LayerCall]:
        """Inside, the layer is being called: ops that are made belong to it, or to layers that it calls.

        Args:
            layer: a Keras layer, or an operation of Keras 3.
            args: positional arguments of its call; its tensors are the call's arguments.
            kwargs: keyword arguments of its call; their tensors follow those of `args`.
            training: what the call itself says of the mode, a bool or a constant tensor; None for nothing.

        Yields:
            The layer call. Its first op is numbered at once, its last one at the end.
        """
        self._attribute()
        if self.unrolling and len(self._path) == self.unrolling[-1]:  # the cell of a step: a step begins
            self._places[-1].clear()
        self._path.append(self.name_of(layer))
        self._places.append(Counter())
        call = self._begun(layer, args, kwargs, training)
        try:
            yield call
        finally:
            self._attribute()
            self._path.pop()
            self._places.pop()
            self._stack.pop()
            call.end = len(self.graph.get_operations())

    def _begun(self, layer: KerasLayer, args: tuple, kwargs: dict, training: Training) -> LayerCall:
        path = "/".join(self._path)
        key = (path, self._counts[path])
        self._counts[path] += 1
        call = LayerCall(layer, key, self._is_in_training_mode(key, training), len(self.graph.get_operations()))
        call.arguments = [tensor for tensor in tf.nest.flatten((args, kwargs)) if tf.is_tensor(tensor)]
        masks = [getattr(tensor, "_keras_mask", None) for tensor in call.arguments]
        call.masks = [mask for mask in masks if tf.is_tensor(mask)]
        if self._stack:
            self._stack[-1].children.append(call)
        else:
            self.root = call
        self._stack.append(call)
        return call

    def _is_in_training_mode(self, key: Key, given: Training) -> bool:
        if self.training_modes is not None:
            return self.training_modes.get(key, False)
        if given is None or not self._stack:
            return not self._stack or self._stack[-1].in_training_mode
        return bool(tf.get_static_value(given)) if tf.is_tensor(given) else bool(given)

    def add(self, kind: str, layer: KerasLayer, values: list[tf.Tensor], metric: MetricCall | None = None) -> None:
        """Take in a loss or metric that the innermost layer adds in its call.

        Args:
            kind: what is added, "loss" or "metric".
            layer: the Keras layer that adds it.
            values: the loss or the metric, a tensor of any shape, mostly a scalar, or all that a metric object is
                updated with; of the graph that is traced into.
            metric: which metric; None for a loss.
        """
        self.added.append(AddedLoss(kind, layer, self.current.key, values, metric))

    def look_at_mode(self, layer: KerasLayer, args: tuple, kwargs: dict) -> None:
        """Note a layer whose call says that it is to train, though this is inference; each layer once.

        Args:
            layer: the layer that is being called, one with a reader.
            args: positional arguments of its call, its inputs first.
            kwargs: keyword arguments of its call, `training` perhaps among them.
        """
        found = None if self.training else forced_to_train(layer, args, kwargs)
        if found is not None and id(layer) not in self._listed:
            self._listed.add(id(layer))
            self.forced["/".join(self._path[1:]) or self.name_of(layer)] = found

    @contextlib.contextmanager
    def writing_out_steps(self) -> Iterator[None]:
        """Inside, a layer is called once for each time step: its ops are told apart by step, and known as the same."""
        self._attribute()
        self.unrolling.append(len(self._path))
        try:
            yield
        finally:
            self._attribute()
            self.unrolling.pop()

    def _attribute(self) -> None:
        operations = self.graph.get_operations()
        for operation in operations[self._seen :]:
            layer = "/".join(self._path[1:]) or (self._path[0] if self._path else "")
            self.layer_of[operation.name] = layer
            if self.unrolling:
                self._places[-1][operation.type] += 1
                self.step_of[operation.name] = f"{layer}/{operation.type}/{self._places[-1][operation.type]}"
        self._seen = len(operations)

    def ended(self, call: LayerCall, result: TensorNest) -> Any:
        """Note what a layer gives, and exchange it where training gives something else.

        Args:
            call: the layer call; its outputs become the tensors of what comes back.
            result: what the layer gives, a nest of tensors and other values.

        Returns:
            The same nest. Each tensor that training computes in another way is exchanged for a placeholder of its shape
            and dtype, which stands for both.
        """
        call.outputs = [tensor for tensor in tf.nest.flatten(result) if tf.is_tensor(tensor)]
        region = self.regions.get(call.key)
        if region is None or region.outputs is None:
            return result
        changed = _exchanged(result, region.outputs(self, call, call.outputs))
        call.outputs = [tensor for tensor in tf.nest.flatten(changed) if tf.is_tensor(tensor)]
        return changed

    def begins(self, layer: KerasLayer, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Exchange what a layer is called with where training calls it with something else.

        Args:
            layer: the layer that is called next, inside of the innermost one.
            args: positional arguments of its call.
            kwargs: keyword arguments of its call.

        Returns:
            `args` and `kwargs`. Each tensor that training computes in another way is exchanged for a placeholder of its
            shape and dtype, which stands for both.
        """
        path = "/".join([*self._path, self.name_of(layer)])
        region = self.regions.get((path, self._counts[path]))
        if region is None or region.arguments is None or not self._stack:
            return args, kwargs
        given = [tensor for tensor in tf.nest.flatten((args, kwargs)) if tf.is_tensor(tensor)]
        return _exchanged((args, kwargs), region.arguments(self, self.current, given))


def _exchanged(nest: TensorNest, made: Sequence[tf.Tensor]) -> Any:
    """The nest with its tensors exchanged, in order; what stands for a tensor has the mask that Keras has put on it."""
    following = iter(made)
    flat = [next(following) if tf.is_tensor(each) else each for each in tf.nest.flatten(nest)]
    for before, after in zip(tf.nest.flatten(nest), flat, strict=True):
        mask = getattr(before, "_keras_mask", None)
        if mask is not None and after is not before:
            after._keras_mask = mask
    return tf.nest.pack_sequence_as(nest, flat)


Reader = Callable[[Tracer, Any, Callable, tuple, dict], Any]


def argument(args: tuple, kwargs: dict) -> Any:
    """What a layer is called on: its first argument, under whatever name.

    Args:
        args: positional arguments of its call.
        kwargs: keyword arguments of its call, read where there are no positional ones.

    Returns:
        The argument as it is, a tensor or a nest of tensors.

    Raises:
        StopIteration: the call has no arguments.
    """
    return args[0] if args else next(iter(kwargs.values()))


def is_variable_or_constant(x: Any) -> bool:
    """Whether a layer is called on a variable or a constant, as on embeddings of relative places: its ops are computed
    then."""
    if not isinstance(x, tf.Tensor) or isinstance(x, tf.__internal__.EagerTensor):
        return True
    op = x.op
    while op.type in ("Cast", "ExpandDims", "Identity"):
        op = op.inputs[0].op
    return op.type == "ReadVariableOp"
