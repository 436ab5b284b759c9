"""What a trace says of a model's layers: their calls, those that are kept whole, and what training adds to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.framework import func_graph as func_graph_lib

if TYPE_CHECKING:
    from qat.quantization.importing.tracer import Tracer

Key = tuple[str, int]  # key of a layer call: the layer's path, and how many calls of it came before


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
    in_training_mode: bool  # whether it is called in training mode while the model trains
    start: int
    end: int = 0
    children: list[LayerCall] = field(default_factory=list)
    arguments: list[tf.Tensor] = field(default_factory=list)
    masks: list[tf.Tensor] = field(default_factory=list)  # that Keras has put on the arguments: the layer may read them
    outputs: list[Any] = field(default_factory=list)  # tensors; None for one of the model's that only inference gives
    made: Counter[str] = field(default_factory=Counter)  # how many layers of a class it has made, without a name


Exchange = Callable[["Tracer", "LayerCall", list[tf.Tensor]], list[tf.Tensor]]  # what each of the tensors becomes


@dataclass
class Region:
    """What training changes of one layer call: what it is called with, what it gives."""

    arguments: Exchange | None = None
    outputs: Exchange | None = None


@dataclass(frozen=True)
class MetricCall:
    """What becomes of the values of an added metric: their mean, or the state of a metric object that they update."""

    name: str
    keywords: list[str] = field(default_factory=list)  # names of the arguments that are given to an object
    described: dict[str, Any] | None = None  # the object, as `object_configs` describes it
    number: int = 0  # which of the model's objects it is

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "keywords": self.keywords, "described": self.described, "number": self.number}

    @classmethod
    def from_json(cls, data: Any) -> MetricCall | None:
        """What `to_json` gave, or the name alone, as earlier versions wrote it; None of a loss."""
        return (cls(data) if data else None) if isinstance(data, str) or data is None else cls(**data)


@dataclass(eq=False)
class AddedLoss:
    """A loss or metric that a layer added in its call, or variables that it assigns."""

    kind: str  # "loss", "metric" or "update"
    layer: Any
    key: Key
    values: list[tf.Tensor] = field(default_factory=list)  # the loss, the metric, or what a metric is updated with
    metric: MetricCall | None = None
    cut: tuple[dict[str, Any], list[tf.Tensor]] | None = None  # what training alone does: program, and its inputs
    inference_alone: bool = False  # whether training adds another one, or none


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
    added: list[AddedLoss] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)  # they assign variables before each training step
    call: LayerCall | None = None  # the call of the model itself
    forced: dict[str, str] = field(default_factory=dict)  # Keras layer path -> what it does at inference, and must not
    drawn: dict[str, Drawn] = field(default_factory=dict)  # masks of dropout in recurrent cells, in training


def is_on_tensors(args: tuple, kwargs: dict) -> bool:
    """Whether a layer is called on tensors: a number or a function may come first, as in `ops.power(2.0, x)`.

    Args:
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.

    Returns:
        True where there is a tensor among them, or in what they nest.
    """
    return any(map(tf.is_tensor, tf.nest.flatten((args, kwargs))))
