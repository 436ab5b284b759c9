"""Which Keras a float model is of, and what is asked of a model in either.

`keras2` (of tf_keras) and `keras3` answer the same questions. Keras 3 is imported only where a model of it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.models.keras_types import KerasLayer, KerasModel, KerasTensor, KerasVariable
from qat.models.which_keras import is_keras3

if TYPE_CHECKING:
    from qat.quantization.importing.tracer import Tracer


class KerasVersion(Protocol):
    """What is asked of a model, its layers and its variables. Both know `_flatten_layers` and `trainable_variables`."""

    @property
    def package(self) -> str:
        """The name under which users import it."""

    @property
    def layers(self) -> Any:
        """The namespace of Keras' own layers."""

    @property
    def activations(self) -> Any:
        """The namespace of its activations."""

    @property
    def rnn_backend(self) -> Any:
        """The module whose `rnn` its recurrent layers loop by."""

    def reading(self, tracer: Tracer, readers: dict[Any, Any]) -> AbstractContextManager[None]:
        """Inside, the tracer gets each layer call, and the calls of `readers` are read instead of run.

        Args:
            tracer: the `trace.Tracer` of the model that is called inside. Losses and metrics that layers add go to it.
            readers: function `(tracer, layer, original, args, kwargs)`, which gives what the layer gives, by the `call`
                function of the layer's class.

        Returns:
            A context manager that gives nothing. Keras' own classes are as before after it.
        """

    def own_readers(self) -> dict[Any, Any]:
        """Readers of layers that only this version has, or that mean something else in the other."""

    def dropping(self, layer: KerasLayer, marks: Callable | None) -> AbstractContextManager[dict[str, Any]]:
        """Inside, recurrent cells take what they drop by from `marks`.

        Args:
            layer: the recurrent layer that is called inside.
            marks: function `(cell, kind, inputs, count)`, with a kind of "dropout" or "recurrent_dropout" and inputs
                [n, ...], to `count` tensors of the inputs' shape, by which the cell multiplies. None where the cells do
                not drop.

        Returns:
            A context manager. It gives the keyword arguments with which the layer must be called for its cells to drop.
        """

    def dropout_of(self, cell: KerasLayer) -> Callable[[tf.Tensor, float], tf.Tensor] | None:
        """How a recurrent cell draws a mask, as a function of ones [n, ...] and the rate; None where its random numbers
        are no variable of the model, and need not be followed."""

    def input_tensors(self, model: KerasModel) -> list[Any]:
        """The model's inputs, described by shape, dtype and name; an empty list where it was never built."""

    def nested_inputs(self, model: KerasModel) -> Any:
        """How the inputs are nested; None where they are a plain list, or one."""

    def is_graph(self, model: KerasModel) -> bool:
        """Whether it is a graph of layers, whose outputs know where they come from."""

    def source_of(self, tensor: KerasTensor) -> tuple[Any, list[Any]]:
        """The layer that made a tensor of such a graph, and what it read to do so."""

    def readers_of(self, model: KerasModel, tensor: KerasTensor) -> list[Any]:
        """The layers of a graph of layers that read one of its tensors, once for each call.

        Args:
            model: a Keras model that `is_graph`.
            tensor: a KerasTensor of it, of any shape, compared by identity.

        Returns:
            The layers, in the model's order; operations of Keras 3 among them.
        """

    def output_names(self, model: KerasModel) -> list[str] | None:
        """The names of its outputs; None where it has none."""

    def own_variables(self, layer: KerasLayer) -> list[Any]:
        """The variables that the layer itself holds, and not a layer inside of it."""

    def trained_places(self, model: KerasModel) -> frozenset[int]:
        """Places, among `model.variables`, of those that are trained as long as their layers are."""

    def name_of(self, variable: KerasVariable) -> str:
        """The variable's name, with its layer's where Keras says so."""

    def counters(self, model: KerasModel) -> list[Any]:
        """Variables that Keras itself moves when a model is called at inference: of metrics, and of random numbers."""

    def has_call(self, model: KerasModel) -> bool:
        """Whether the model's class says what a call of it computes."""

    def is_part(self, value: object) -> bool:
        """Whether it is a layer or a model, and no metric."""

    def penalties(self, model: KerasModel) -> Iterator[tuple[str, Callable[[], Any], KerasVariable | None]]:
        """Losses on weights alone, in the order of `model.losses`: the layer's name, what computes each, and the
        variable that it counts with as long as that is trained; None where it always counts."""

    def is_plain(self, model: KerasModel, known: Container[Any]) -> bool:
        """Whether nothing but the layers in `known` can tell training from inference.

        Args:
            model: a Keras model.
            known: the `call` functions of classes whose difference between the modes is known.

        Returns:
            True where one trace at inference says everything of the model; False where it must be traced in training
            mode, too.
        """

    def is_training(self, layer: KerasLayer, args: tuple, kwargs: dict) -> bool:
        """Whether a call, as a reader of layers gets it, is in training mode.

        Args:
            layer: the Keras layer that is called.
            args: positional arguments of the call.
            kwargs: keyword arguments of the call.

        Returns:
            True for training; False for inference, and where nothing is said.
        """


def version_of(model: KerasModel) -> KerasVersion:
    """What answers for the model, or for a layer."""
    name = "keras3" if is_keras3(model) else "keras2"
    return cast(KerasVersion, import_module(f"qat.quantization.importing.{name}"))


def dtype_of(variable: KerasVariable) -> tf.DType:
    """The variable's dtype, which Keras 3 says by a word."""
    return tf.as_dtype(variable.dtype)


def value_of(variable: KerasVariable) -> NDArray:
    """What the variable holds now, read only. Nothing is copied where the variable's memory can be seen: what assigns
    the variable later gives it other memory as long as this is held."""
    return np.asarray(tf.convert_to_tensor(variable))
