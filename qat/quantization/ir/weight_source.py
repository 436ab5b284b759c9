"""How a weight of the canonical form is computed from the float model's variables: `derive(variables) -> kernel`.

Rewrites fold, scale, reshape and concatenate weights. None of that is written into a variable: a rewritten weight is an
expression over the float model's own variables, which the quantization-aware model computes in each forward pass. So
an optimizer's step has the effect that it has in the float model, and penalties, constraints and shared weights stay.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.models.keras_types import TensorNest

VARIABLE, CONSTANT, CORRECTED = "variable", "constant", "corrected"


class Results(dict):
    """Values computed in a forward pass, by name, up to a number of bytes; others are computed at each use.

    Args:
        budget: bytes of eager tensors; symbolic ones take none. The default keeps all.
    """

    def __init__(self, budget: float = math.inf) -> None:
        super().__init__()
        self.budget = budget

    def keep(self, name: str, value: TensorNest, copied: bool = True) -> None:
        """Keep a value, if the budget allows it.

        Args:
            name: key under which the value is found.
            value: a tensor of any shape and dtype, or a list of tensors.
            copied: whether the value takes memory of its own; a variable that is read does not.
        """
        size = sum(map(_size, as_list(value))) if copied and self.budget < math.inf else 0
        if size <= self.budget:
            self[name] = value
            self.budget -= size


def _size(value: object) -> int:
    """Bytes of a tensor."""
    return value.shape.num_elements() * value.dtype.size if isinstance(value, tf.Tensor) else 0


class Source:
    """One expression over the float model's variables; equal expressions have equal keys.

    Attributes:
        op: `variable`, `constant`, or a name that `operation` knows.
        attrs: plain JSON values; of a variable its index among the float model's ("place"), of a constant its value.
        inputs: the expressions that it is computed from.
        index: which of the op's results it is.
        key: a digest of all of this.
        is_trainable: whether training may change it.
    """

    __slots__ = ("attrs", "index", "inputs", "is_trainable", "key", "op")

    def __init__(
        self, op: str, attrs: dict[str, Any], inputs: Sequence[Source] = (), index: int = 0, is_trainable: bool = False
    ) -> None:
        self.op, self.attrs, self.inputs, self.index = op, attrs, tuple(inputs), index
        self.is_trainable = is_trainable or any(each.is_trainable for each in self.inputs)
        data = json.dumps([op, index, _to_json_values(attrs), [each.key for each in self.inputs]], sort_keys=True)
        self.key = hashlib.blake2b(data.encode(), digest_size=16).hexdigest()

    @classmethod
    def variable(cls, variable_index: int, is_trainable: bool) -> Source:
        """One variable of the float model.

        Args:
            variable_index: place of the variable in the model's `variables`, from 0.
            is_trainable: whether training may change it.

        Returns:
            An expression that is the variable itself.
        """
        return cls(VARIABLE, {"place": variable_index, "is_trainable": is_trainable}, is_trainable=is_trainable)

    @classmethod
    def constant(cls, value: NDArray) -> Source:
        return cls(CONSTANT, {"value": np.asarray(value)})

    @property
    def variable_index(self) -> int | None:
        """Index of the variable, where the expression is one and nothing else."""
        return self.attrs["place"] if self.op == VARIABLE else None

    def variable_indices(self) -> set[int]:
        """Indices of all variables in it."""
        if self.op == VARIABLE:
            return {self.attrs["place"]}
        return set().union(*(each.variable_indices() for each in self.inputs))

    def to_json(self) -> Any:
        """Lists and plain values, for a Keras config."""
        if self.op == VARIABLE:
            return ["variable", self.attrs["place"], self.attrs["is_trainable"]]
        return [self.op, _to_json_values(self.attrs), self.index, [each.to_json() for each in self.inputs]]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Source:
        if data[0] == VARIABLE:
            return cls.variable(int(data[1]), bool(data[2]))
        op, attrs, index, inputs = data
        return cls(op, _from_json_values(attrs), [cls.from_json(each) for each in inputs], index)

    def evaluate(self, variables: Sequence[Any], results: Results, real: str, corrected: bool = True) -> tf.Tensor:
        """Its value for these variables.

        Args:
            variables: those of the float model, or copies of them, in its order.
            results: values of this forward pass, by key; filled on the way.
            real: float dtype of constants and results, as "float32".
            corrected: whether corrections for quantization (op `corrected`) are added.

        Returns:
            A tensor of the expression's shape.
        """
        result = results.get(self.key)
        if result is None:
            result = self._evaluate(variables, results, real, corrected)
            results.keep(self.key, result, copied=self.op != VARIABLE)
        return result

    def _evaluate(self, variables: Sequence[Any], results: Results, real: str, corrected: bool) -> tf.Tensor:
        if self.op == CORRECTED and not corrected:
            return self.inputs[0].evaluate(variables, results, real, corrected)
        if self.op == VARIABLE:
            value = tf.convert_to_tensor(variables[self.attrs["place"]])
            return tf.cast(value, real) if value.dtype.is_floating and value.dtype != real else value
        if self.op == CONSTANT:
            value = self.attrs["value"]
            return tf.constant(value, real if value.dtype.kind == "f" else value.dtype)
        all_key = f"{self.op} {sorted(_to_json_values(self.attrs).items())} {[each.key for each in self.inputs]}"
        result = results.get(all_key)
        if result is None:
            inputs = [each.evaluate(variables, results, real, corrected) for each in self.inputs]
            more = {"variables": variables} if self.op == "custom_gradient" else {}
            result = as_list(operation(self.op)(*inputs, **self.attrs, **more))
            if len(result) > 1:  # the others have keys of their own
                results.keep(all_key, result)
        return result[self.index]


def operation(op: str) -> Callable[..., Any]:
    """The function of an op: of `OPERATIONS`, of a layer with a kernel, or a TensorFlow op (`raw:...`)."""
    from qat.quantization.ir import raw_ops
    from qat.quantization.ir.interpret import WEIGHTED
    from qat.quantization.ir.operations import find_operation

    if op.startswith(raw_ops.PREFIX):
        return lambda *inputs, **attrs: raw_ops.run(op, inputs, attrs)
    if op not in WEIGHTED:
        return find_operation(op)
    return lambda x, *weights, names, attrs: WEIGHTED[op](x, dict(zip(names, weights, strict=True)), attrs)


def as_list(result: TensorNest) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _to_json_values(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: pack_array(value) if isinstance(value, np.ndarray) else value for name, value in attrs.items()}


def _from_json_values(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: unpack_array(v) if isinstance(v, dict) and "array" in v else v for name, v in attrs.items()}


def pack_array(value: NDArray) -> dict[str, Any]:
    """An array of any shape and dtype as JSON values: compressed, in base64."""
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 6)).decode()
    return {"array": data, "dtype": value.dtype.name, "sizes": list(value.shape)}


def unpack_array(packed: Mapping[str, Any]) -> NDArray:
    """The array that `pack_array` was given."""
    dtype = np.dtype(packed["dtype"])
    most = math.prod(packed["sizes"]) * dtype.itemsize + 1  # more than these bytes are an error, and are not inflated
    data = zlib.decompressobj().decompress(base64.b64decode(packed["array"]), most)
    return np.frombuffer(data, dtype).reshape(packed["sizes"]).copy()
