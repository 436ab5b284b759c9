"""The variables of a quantization-aware model: copies of the float model's, one each, layer by layer.

Each keeps its name, shape, value, constraint and ties. Kernels of the canonical form are computed from them in each
forward pass (`qat.quantization.ir.weight_source`), so that an optimizer's step means what it means in the float model.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.models.keras_types import Shape, TensorNest
from qat.quantization.ir.preserved_kernels import PreservedEntries, PreservedVariable, PreservingConstraint
from qat.quantization.ir.weight_source import Results, Source
from qat.quantization.keras.constraints import read_constraint
from qat.quantization.keras.misuse import warn_of_set_attribute

MOST_KEPT = 1 << 27  # bytes that one pass keeps which runs op by op: half a gigabyte of weights is computed once more


class FloatVariables:
    """The copies, in the order of the float model's `variables`, and what is computed from them in one forward pass.

    `real` is the dtype in which the float model holds real numbers.

    No Keras object: layers hold it out of Keras' sight, which would count its variables once for each of them.
    """

    def __init__(self, real: str = "float32") -> None:
        self.real, self.quantized = real, True
        self.frozen = False  # the model as a whole, whatever its layers say
        self.layers: list[LayerVariables] = []
        self.variables: list[Any] = []
        self.readable: list[Any] = []  # the same, as they are to be read
        self.owners: list[LayerVariables] = []
        self.norms: list[Any] = []  # layers with a BatchNormalization inside
        self.counters: dict[int, Any] = {}  # metric objects that layers update, by their number
        self.constants: list[tuple[Callable[[], Any], NDArray]] = []  # variables read once, and the values they had
        self.settings: list[tuple[Callable[[], Any], int, NDArray]] = []  # the float model's, place, value when copied

    def add(self, layer: LayerVariables) -> None:
        """Take in the variables of one more layer."""
        self.layers.append(layer)
        for place, variable, kept in zip(layer.places, layer.held, layer.kept, strict=True):
            missing = place + 1 - len(self.variables)
            self.variables += [None] * missing
            self.readable += [None] * missing
            self.owners += [None] * missing
            self.variables[place], self.owners[place] = variable, layer
            self.readable[place] = variable if kept is None else PreservedVariable(variable, kept)

    def value(self, source: Source) -> tf.Tensor:
        """What the expression gives with the variables as they are; computed once in a forward pass."""
        results = self._of_this_graph() if self.in_a_pass else Results()
        return source.evaluate(self.readable, results, self.real, self.quantized)

    def values(self) -> list[NDArray | None]:
        """The values of all variables as they are read, in order; None where there is no copy."""
        return [None if each is None else tf.convert_to_tensor(each).numpy() for each in self.readable]

    def note(self, name: str, value: TensorNest) -> None:
        """Put something down for the rest of this forward pass; outside of a pass nothing is kept.

        Args:
            name: key under which `noted` and `once` find it; what was there before is forgotten.
            value: a tensor of any shape, or anything else, as it is; None takes the note back.
        """
        if self.in_a_pass:
            self._of_this_graph()[f"note {name}"] = value

    def noted(self, name: str) -> Any:
        """What was put down under this name; None where nothing was."""
        return self._of_this_graph().get(f"note {name}") if self.in_a_pass else None

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """What `compute` gives; of one name, made once in a forward pass.

        Args:
            name: key of what is computed: what differs must have another one.
            compute: function of no arguments that makes it; called each time outside of a pass, and for what is larger
                than the bytes that are left of `MOST_KEPT`.

        Returns:
            What `compute` gave, as it is: tensors of any shape and dtype. Those of a graph are of this graph alone.
        """
        found = self.noted(name)
        if found is None:
            found = compute()
            if self.in_a_pass:
                self._of_this_graph().keep(f"note {name}", found)
        return found

    def _of_this_graph(self) -> Results:
        """A layer may be traced by itself in a pass, as for a SavedModel: its tensors are of no use outside of it."""
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        return _passes.get()[self].setdefault(graph, Results(MOST_KEPT if graph is None else math.inf))

    def is_trained(self, place: int) -> bool:
        """Whether the layer of this variable is trainable now, and so in training mode."""
        return bool(self.owners[place].trainable)

    def is_penalized(self, place: int) -> bool:
        """Whether a penalty on this variable counts now, where it does so as long as the variable is trained."""
        return not self.frozen and self.owners[place].trains(place)

    @property
    def in_a_pass(self) -> bool:
        """Whether the model that holds these variables is being called."""
        return self in _passes.get()

    @contextlib.contextmanager
    def one_pass(self) -> Iterator[None]:
        """Inside, equal expressions are computed once; inside of another pass, in all of that."""
        if self.in_a_pass:
            yield
            return
        token = _passes.set({**_passes.get(), self: {}})
        try:
            yield
        finally:
            _passes.reset(token)

    def trainable(self, order: Sequence[int]) -> list[tf.Variable]:
        """Those that are trained now, in this order of places."""
        held = ((self.variables[place], self.owners[place]) for place in order)
        return [variable for place, (variable, owner) in zip(order, held, strict=True) if owner.trains(place)]


# what forward passes have computed, by graph: of this thread, for each replica of a strategy has a thread and variables
_passes: ContextVar[Mapping[FloatVariables, dict[Any, Results]]] = ContextVar("passes", default=MappingProxyType({}))
_building: ContextVar[FloatVariables | None] = ContextVar("float_variables", default=None)


@contextlib.contextmanager
def building(variables: FloatVariables) -> Iterator[FloatVariables]:
    """Layers made inside compute their weights from these variables; `LayerVariables` made inside are added to them."""
    token = _building.set(variables)
    try:
        yield variables
    finally:
        _building.reset(token)


def being_built() -> FloatVariables:
    """The variables of the model that is being built."""
    found = _building.get()
    return FloatVariables() if found is None else found


@tf_keras.utils.register_keras_serializable("qat")
class LayerVariables(tf_keras.layers.Layer):
    """The variables of one layer of the float model, under its name; what they make is computed elsewhere.

    `trainable` is that of the layer: setting it freezes the layer in the quantization-aware model.

    Args:
        specs: of each variable its `place` among the float model's, `name`, `shape`, `dtype`, `trainable` and, where it
            has one, its `constraint`, as its `keras` writes it; `kept` where zeros or equal entries stay so.
        values: what they begin with; zeros where none are given.
        constraints: the constraints themselves, where a config need not have them.
        held_back: whether the float model, or one inside of it, is frozen and the layer itself is not: Keras 2 trains
            none of its variables then. Setting `trainable` ends this.
        apart: pairs of a variable's place and whether it is trained, where Keras 3 was told so of the variable itself;
            ended by setting `trainable`, too. None for none.
    """

    def __init__(
        self,
        specs: list[dict],
        values: Sequence[Any] | None = None,
        constraints: Sequence[Any] | None = None,
        held_back: bool = False,
        apart: Sequence[Sequence[Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        object.__setattr__(self, "held_back", held_back)
        object.__setattr__(self, "apart", {int(place): bool(trained) for place, trained in apart or ()})
        object.__setattr__(self, "specs", [dict(spec) for spec in specs])  # plain: Keras would wrap and track it all
        object.__setattr__(self, "places", [int(spec["place"]) for spec in specs])
        made, every_kept = [], []
        for at, spec in enumerate(self.specs):
            constraint = constraints[at] if constraints is not None else _constraint(spec)
            kept = PreservedEntries.from_json(spec["kept"]) if spec.get("kept") else None
            every_kept.append(kept)
            made.append(
                self.add_weight(
                    spec["name"],
                    shape=spec["shape"],
                    dtype=spec["dtype"],
                    initializer="zeros" if values is None else _Given(values[at]),
                    trainable=spec["trainable"],
                    constraint=constraint if kept is None else PreservingConstraint(kept, constraint),
                    aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA  # statistics are the same in each
                    if not spec["trainable"]
                    else tf.VariableAggregation.MEAN,
                )
            )
        object.__setattr__(self, "theirs", (lambda: None, True))  # the float model's layer, and whether it was trained
        object.__setattr__(self, "held", made)
        object.__setattr__(self, "kept", every_kept)
        self.built = True
        table = _building.get()
        if table is not None:
            table.add(self)
        object.__setattr__(self, "table", table)

    @property
    def trainable(self) -> bool:
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        object.__setattr__(self, "held_back", False)
        object.__setattr__(self, "apart", {})
        tf_keras.layers.Layer.trainable.fset(self, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if "table" in self.__dict__:
            self.set_later(name, value)
        super().__setattr__(name, value)

    def set_later(self, name: str, value: Any) -> None:
        """Do what setting an attribute after `quantize_model` does to the float model's layer, or say that it does
        nothing here.

        Args:
            name: of the attribute.
            value: what it is set to.
        """
        kept = hasattr(type(self), name) and name != "activity_regularizer"  # methods, too: a SavedModel has them again
        kept = kept or any(value is each for each in self.held)
        if name.startswith("_") or not name.isidentifier() or name == "built" or kept:
            return
        norms = [] if self.table is None or name != "momentum" else self.table.norms
        own = [norm for norm in norms if norm.mean_place in self.places]
        for norm in own:
            norm.set_momentum(float(value))
        if not own:
            warn_of_set_attribute(self, name)

    def trains(self, place: int) -> bool:
        """Whether the variable of this place is trained now, if it can be."""
        return bool(self.apart.get(place, self.trainable and not self.held_back))

    def call(self, inputs: TensorNest) -> Any:
        return inputs

    def of_output(self, layer: tf_keras.layers.Layer) -> LayerVariables:
        """These variables, with the input and output of the layer that gives an output of the model."""
        object.__setattr__(self, "computing", layer)
        return self

    def __getattr__(self, name: str) -> Any:
        """A variable by its own name, as `layer.kernel` is one in the float model."""
        if name in ("input", "output") and "computing" in self.__dict__:
            return getattr(self.__dict__["computing"], name)
        own = [each for each in self.__dict__.get("held", ()) if own_name(each.name) == name]
        if len(own) == 1:
            return own[0]
        names = [own_name(each.name) for each in self.__dict__.get("held", ())]
        raise AttributeError(no_attribute(str(self.__dict__.get("_name")), name, names, "tf_keras"))

    def _lookup_dependency(self, name: str, cached_dependencies: Any = None) -> Any:
        """As TensorFlow has it; a variable goes by its own name in the checkpoint of a layer of another name, too."""
        found = super()._lookup_dependency(name, cached_dependencies)
        if found is not None:
            return found
        own = [variable for variable in self.__dict__.get("held", ()) if own_name(variable.name) == own_name(name)]
        return own[0] if len(own) == 1 else None

    def get_config(self) -> dict[str, Any]:
        apart = {"apart": sorted(map(list, self.apart.items()))} if self.apart else {}
        return super().get_config() | {"specs": self.specs, "held_back": self.held_back} | apart


def no_attribute(layer: str, name: str, held: Sequence[str], package: str) -> str:
    """Why a layer of a quantization-aware model has no such attribute, and what to do.

    Args:
        layer: its name.
        name: name of the attribute.
        held: names of the variables that it has.
        package: "tf_keras" or "keras", whichever the model is of.

    Returns:
        The message of an `AttributeError`.
    """
    if name in ("input", "output"):
        return (
            f"layer {layer!r} of a quantization-aware model holds the layer's variables, and other layers compute with "
            f"them. Let its {name} be an output of the float model that is quantized: "
            f"{package}.Model(model.input, [model.output, model.get_layer({layer!r}).{name}])"
        )
    return (
        f"layer {layer!r} of a quantization-aware model has no {name!r}, but the layer's variables: {', '.join(held)}"
    )


def own_name(name: str) -> str:
    """A variable's own name, without its layer's."""
    return name.split(":")[0].rsplit("/", 1)[-1]


class _Given(tf_keras.initializers.Initializer):
    """An array as it is."""

    def __init__(self, value: tf.Tensor) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: tf.DType | None = None, **kwargs: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self.value, dtype=dtype)


def _constraint(spec: dict[str, Any]) -> Any:
    return read_constraint(spec.get("constraint"), spec.get("keras", "tf_keras"), spec["name"])
