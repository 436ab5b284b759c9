"""A Keras model read as the TensorFlow ops that it computes at inference, with a few layers kept whole.

Every model is read the same way, whatever it is made of: nested models, shared layers, `Lambda`, TFOpLambda, custom
and subclassed layers all become ops. Kept whole are the layers whose meaning is lost in ops (BatchNormalization, which
must stay trainable) or whose ops say it badly (Dense on three axes, normalizations); recurrent layers are unrolled.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import func_graph as func_graph_lib

from qat.errors import ModelError, QatError
from qat.models.keras_types import KerasLayer, KerasModel, TensorNest, Training
from qat.quantization.importing.assignments import forced_to_train
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.open_sizes import is_open, rebuilding
from qat.quantization.importing.unrolling import Budget

Key = tuple[str, int]  # of a layer call: the layer's path, and how many calls of it came before


@dataclass(eq=False)
class WholeLayer:
    """A layer call that stands in the trace as one op (a placeholder that the importer replaces)."""

    op: str
    inputs: list[tf.Tensor]
    weights: dict[str, tf.Variable]
    attrs: dict[str, Any]


@dataclass(eq=False)
class LayerCall:
    """One call of a layer while a model was traced: its ops are numbers `start` to `end` of the graph's."""

    layer: Any
    key: Key
    acts: bool  # whether it is called in training mode while the model trains
    start: int
    end: int = 0
    children: list[LayerCall] = field(default_factory=list)
    arguments: list[tf.Tensor] = field(default_factory=list)
    outputs: list[tf.Tensor] = field(default_factory=list)


Exchange = Callable[["Tracer", "LayerCall", list[tf.Tensor]], dict[Any, tf.Tensor]]  # the tensors to what they become


@dataclass
class Region:
    """What training changes of one layer call: what it is called with, what it gives."""

    arguments: Exchange | None = None
    outputs: Exchange | None = None


@dataclass(eq=False)
class Added:
    """A loss or metric that a layer added in its call, or variables that it assigns."""

    kind: str  # "loss", "metric" or "update"
    layer: Any
    key: Key
    value: tf.Tensor | None
    name: str = ""  # of a metric
    cut: tuple[dict[str, Any], list[tf.Tensor]] | None = None  # of what training alone does: program, and its inputs


@dataclass(eq=False)
class Drawn:
    """Random numbers that a layer draws in training: `rows`, whose shape they depend on, and the numbers."""

    rows: tf.Tensor
    numbers: tf.Tensor


@dataclass
class Trace:
    graph: func_graph_lib.FuncGraph
    inputs: list[tf.Tensor]
    outputs: list[tf.Tensor]
    input_names: list[str]
    nest: Any = None  # how the model nests its outputs: the structure with their places in it
    masks: list[tf.Tensor | None] = field(default_factory=list)  # by which Keras weights the loss of each output
    whole: dict[str, WholeLayer] = field(default_factory=dict)  # by placeholder op name
    layer_of: dict[str, str] = field(default_factory=dict)  # op name -> Keras layer path
    step_of: dict[str, str] = field(default_factory=dict)  # op name -> its place in one step of an unrolled layer
    added: list[Added] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)  # of variables, before each training step
    call: LayerCall | None = None  # of the model itself
    forced: dict[str, str] = field(default_factory=dict)  # Keras layer path -> what it does at inference, and must not
    drawn: dict[str, Drawn] = field(default_factory=dict)  # masks of dropout in recurrent cells, in training


class Tracer:
    """What a layer reader may do while the model is being traced.

    Args:
        graph: what is traced into.
        training: whether the model is called in training mode.
        acting: of each layer call, whether it is in training mode while the model trains; None where only this trace
            can tell.
        regions: layer calls that compute something else in training, or are called with something else.
        written_out: layer calls of which nothing is kept whole.
    """

    def __init__(
        self,
        graph: func_graph_lib.FuncGraph,
        training: bool = False,
        acting: dict[Key, bool] | None = None,
        regions: dict[Key, Region] | None = None,
        written_out: frozenset[Key] = frozenset(),
    ) -> None:
        self.graph, self.training, self.acting, self.regions = graph, training, acting, regions or {}
        self.written_out = written_out
        self.whole: dict[str, WholeLayer] = {}
        self.layer_of: dict[str, str] = {}
        self.step_of: dict[str, str] = {}
        self.added: list[Added] = []
        self.updates: list[dict[str, Any]] = []
        self.masks: dict[Any, list[tf.Tensor]] = {}  # of dropout in recurrent cells
        self.drawn: dict[str, Drawn] = {}
        self.forced: dict[str, str] = {}
        self._told: set[int] = set()  # layers in `forced`, which some wrappers call twice
        self.budget = Budget()
        self.unrolling: list[int] = []  # how deep the recurrent layers are that are being written out
        self.root: LayerCall | None = None
        self._stack: list[LayerCall] = []
        self._counts: Counter[str] = Counter()
        self._path: list[str] = []
        self._places: list[Counter[str]] = []  # of each layer in the path: how many ops of a type its call has made
        self._seen = 0

    @property
    def current(self) -> LayerCall:
        """The innermost layer call."""
        return self._stack[-1]

    @property
    def acts(self) -> bool:
        """Whether the innermost layer is called in training mode while the model trains."""
        return self.current.acts

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
        self._path.append(layer.name)
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
        call = LayerCall(layer, key, self._acts(key, training), len(self.graph.get_operations()))
        call.arguments = [tensor for tensor in tf.nest.flatten((args, kwargs)) if tf.is_tensor(tensor)]
        if self._stack:
            self._stack[-1].children.append(call)
        else:
            self.root = call
        self._stack.append(call)
        return call

    def _acts(self, key: Key, given: Training) -> bool:
        if self.acting is not None:
            return self.acting.get(key, False)
        if given is None or not self._stack:
            return not self._stack or self._stack[-1].acts
        return bool(tf.get_static_value(given)) if tf.is_tensor(given) else bool(given)

    def add(self, kind: str, layer: KerasLayer, value: tf.Tensor, name: str = "") -> None:
        """Take in a loss or metric that the innermost layer adds in its call.

        Args:
            kind: what is added, "loss" or "metric".
            layer: the Keras layer that adds it.
            value: the loss or metric, a tensor of any shape, mostly a scalar, of the graph that is traced into.
            name: name of the metric; "" for a loss.
        """
        self.added.append(Added(kind, layer, self.current.key, value, name))

    def look_at_mode(self, layer: KerasLayer, args: tuple, kwargs: dict) -> None:
        """Note a layer whose call says that it is to train, though this is inference; each layer once.

        Args:
            layer: the layer that is being called, one with a reader.
            args: positional arguments of its call, its inputs first.
            kwargs: keyword arguments of its call, `training` perhaps among them.
        """
        found = None if self.training else forced_to_train(layer, args, kwargs)
        if found is not None and id(layer) not in self._told:
            self._told.add(id(layer))
            self.forced["/".join(self._path[1:]) or layer.name] = found

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
        path = "/".join([*self._path, layer.name])
        region = self.regions.get((path, self._counts[path]))
        if region is None or region.arguments is None or not self._stack:
            return args, kwargs
        given = [tensor for tensor in tf.nest.flatten((args, kwargs)) if tf.is_tensor(tensor)]
        return _exchanged((args, kwargs), region.arguments(self, self.current, given))


def _exchanged(nest: TensorNest, made: dict[Any, tf.Tensor]) -> Any:
    """The nest with tensors exchanged; what stands for a tensor has the mask that Keras has put on it."""
    flat = [made.get(each.ref(), each) if tf.is_tensor(each) else each for each in tf.nest.flatten(nest)]
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


@contextlib.contextmanager
def _functions_inline() -> Iterator[None]:
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def input_tensors(model: KerasModel) -> list[Any]:
    """The model's inputs in `model.inputs` order: KerasTensors, or the specs that a subclassed model was called with.

    Raises:
        ModelError: the model was never built.
    """
    tensors = version_of(model).input_tensors(model)
    if tensors:
        return tensors
    keras = version_of(model).package
    raise ModelError(
        f"model {model.name!r} has no known inputs: a subclassed model must be called once, or be given as a "
        f"functional model: entry = {keras}.Input(shape); {keras}.Model(entry, model(entry))"
    )


def _specs(model: KerasModel) -> tuple[list[tf.TensorSpec], list[str]]:
    tensors = input_tensors(model)
    names = [(tensor.name or f"input_{i + 1}").split(":")[0].split("/")[0] for i, tensor in enumerate(tensors)]
    for tensor, name in zip(tensors, names, strict=True):
        if is_open(tensor):
            version = version_of(model)
            code = rebuilding(version.nested_inputs(model), tensors, version.package)
            raise ModelError(
                f"input {name!r} has shape {tensor.shape}: an integer file needs every size but the batch known. Say "
                f"the sizes that the model will be given; it keeps its weights: {code}"
            )
    return [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in tensors], names


def nest_inputs(model: KerasModel, tensors: list[Any]) -> Any:
    """Nest tensors as the model wants to be called.

    Args:
        model: a Keras model.
        tensors: one per input, in `model.inputs` order, of any shapes and dtypes.

    Returns:
        The tensor itself for a model of one plain input, the list for several, else the model's own structure with the
        tensors in their places.
    """
    structure = version_of(model).nested_inputs(model)
    if structure is None:
        return tensors[0] if len(tensors) == 1 else tensors
    return tf.nest.pack_sequence_as(structure, tensors)


@contextlib.contextmanager
def _symbolically(model: KerasModel) -> Iterator[None]:
    """Code of the model that wants numbers where tensors are only described fails in many ways; here, in one."""
    try:
        yield
    except QatError:
        raise
    except (
        AttributeError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        TypeError,
        ValueError,
        tf.errors.OpError,
    ) as error:
        raise ModelError(
            f"model {model.name!r} cannot be run on tensors without values, as a file's graph is made: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:400]}. Code in its layers must be TensorFlow ops "
            "that work with an open batch size"
        ) from error


def _mask_of(output: tf.Tensor) -> tf.Tensor | None:
    """The mask that Keras has put on an output, as a tensor of the graph."""
    mask = getattr(output, "_keras_mask", None)
    return None if mask is None else tf.identity(mask)


def trace(
    model: KerasModel,
    readers: dict[Any, Reader],
    *,
    training: bool = False,
    acting: dict[Key, bool] | None = None,
    regions: dict[Key, Any] | None = None,
    written_out: frozenset[Key] = frozenset(),
) -> Trace:
    """Trace `model` with the batch size open.

    Args:
        model: the Keras model; it stays as it is.
        readers: function that reads a layer that is kept whole, by the `call` function of the layer's class.
        training: whether to trace in training mode, else at inference.
        acting: whether a layer call is in training mode while the model trains, by the call's key; None where only this
            trace can tell.
        regions: what training computes in another way, by the call's key, as `Tracer` takes it; None for nothing.
        written_out: keys of the layer calls that no reader reads, as `Tracer` takes them.

    Returns:
        The trace: a graph with a placeholder [None, ...] per input, and what it computes. Outputs are a flat list,
        their structure is the trace's `nest`.

    Raises:
        ModelError: the model's input sizes are not known, or it cannot be run symbolically.
    """
    specs, names = _specs(model)
    graph = func_graph_lib.FuncGraph("canonical")
    graph.seed = None  # random ops are read with the seeds of their own alone
    with graph.as_default(), _functions_inline():
        inputs = [tf.compat.v1.placeholder(s.dtype, s.shape, name=f"input_{i}") for i, s in enumerate(specs)]
        tracer = Tracer(graph, training, acting, regions, written_out)
        tracer._seen = len(graph.get_operations())
        with version_of(model).reading(tracer, readers), _symbolically(model):
            outputs = model(nest_inputs(model, inputs), training=training)
        given = tf.nest.flatten(outputs)
        flat, masks = [tf.identity(each) for each in given], [_mask_of(each) for each in given]
    graph.variables = graph._watched_variables  # also those that the model does not list
    nest = tf.nest.pack_sequence_as(outputs, list(range(len(flat))))
    told = {
        name: getattr(tracer, name) for name in ("whole", "layer_of", "step_of", "added", "updates", "forced", "drawn")
    }
    return Trace(graph, inputs, flat, names, nest, masks, **told, call=tracer.root)
