"""How a weight of the canonical form is computed from the float model's variables: `derive(variables) -> kernel`.

Rewrites fold, scale, reshape and join weights. None of that is written into a variable: a rewritten weight is an
expression over the float model's own variables, which the quantization-aware model computes in each forward pass. So
an optimizer's step means what it means in the float model, and penalties, constraints and ties stay what they are.
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

VARIABLE, CONSTANT, CORRECTED = "variable", "constant", "corrected"


class Results(dict):
    """What was computed in a forward pass, by name, as far as it has room: the rest is computed when it is asked for.

    Args:
        room: bytes of tensors with values; those of a graph take none.
    """

    def __init__(self, room: float = math.inf) -> None:
        super().__init__()
        self.room = room

    def keep(self, name: str, value: Any, copied: bool = True) -> None:
        """Keep a value; one that is not `copied`, as a variable that is read, takes no room."""
        size = sum(map(_size, as_list(value))) if copied and self.room < math.inf else 0
        if size <= self.room:
            self[name] = value
            self.room -= size


def _size(value: Any) -> int:
    """Bytes of a tensor."""
    return value.shape.num_elements() * value.dtype.size if isinstance(value, tf.Tensor) else 0


class Source:
    """One expression; parts that are equal have equal keys.

    Attributes:
        op: `variable`, `constant`, or a word that `operation` knows.
        attrs: plain JSON values; of a variable its place among the float model's, of a constant its value.
        inputs: the expressions that it is computed from.
        index: which of the op's results it is.
        key: a digest of all of this.
        live: whether training may change it.
    """

    __slots__ = ("attrs", "index", "inputs", "key", "live", "op")

    def __init__(
        self, op: str, attrs: dict[str, Any], inputs: Sequence[Source] = (), index: int = 0, live: bool = False
    ) -> None:
        self.op, self.attrs, self.inputs, self.index = op, attrs, tuple(inputs), index
        self.live = live or any(each.live for each in self.inputs)
        said = json.dumps([op, index, _jsonable(attrs), [each.key for each in self.inputs]], sort_keys=True)
        self.key = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()

    @classmethod
    def variable(cls, place: int, live: bool) -> Source:
        """The float model's variable at this place of its `variables`."""
        return cls(VARIABLE, {"place": place, "live": live}, live=live)

    @classmethod
    def constant(cls, value: NDArray) -> Source:
        return cls(CONSTANT, {"value": np.asarray(value)})

    @property
    def place(self) -> int | None:
        """Which variable it is, where it is one as it stands."""
        return self.attrs["place"] if self.op == VARIABLE else None

    def places(self) -> set[int]:
        """All variables in it."""
        if self.op == VARIABLE:
            return {self.attrs["place"]}
        return set().union(*(each.places() for each in self.inputs))

    def to_json(self) -> Any:
        """Lists and plain values, for a Keras config."""
        if self.op == VARIABLE:
            return ["variable", self.attrs["place"], self.attrs["live"]]
        return [self.op, _jsonable(self.attrs), self.index, [each.to_json() for each in self.inputs]]

    @classmethod
    def from_json(cls, said: Any) -> Source:
        if said[0] == VARIABLE:
            return cls.variable(int(said[1]), bool(said[2]))
        op, attrs, index, inputs = said
        return cls(op, _from_jsonable(attrs), [cls.from_json(each) for each in inputs], index)

    def evaluate(self, variables: Sequence[Any], results: Results, real: str, corrected: bool = True) -> tf.Tensor:
        """Its value for these variables.

        Args:
            variables: the float model's, or copies of them, in its order.
            results: what was computed already in this forward pass, by key; filled on the way.
            real: dtype of constants and results.
            corrected: whether what makes up for quantization (`corrected`) is added.
        """
        found = results.get(self.key)
        if found is None:
            found = self._evaluate(variables, results, real, corrected)
            results.keep(self.key, found, copied=self.op != VARIABLE)
        return found

    def _evaluate(self, variables: Sequence[Any], results: Results, real: str, corrected: bool) -> tf.Tensor:
        if self.op == CORRECTED and not corrected:
            return self.inputs[0].evaluate(variables, results, real, corrected)
        if self.op == VARIABLE:
            value = tf.convert_to_tensor(variables[self.attrs["place"]])
            return tf.cast(value, real) if value.dtype.is_floating and value.dtype != real else value
        if self.op == CONSTANT:
            value = self.attrs["value"]
            return tf.constant(value, real if value.dtype.kind == "f" else value.dtype)
        made = f"{self.op} {sorted(_jsonable(self.attrs).items())} {[each.key for each in self.inputs]}"
        found = results.get(made)
        if found is None:
            inputs = [each.evaluate(variables, results, real, corrected) for each in self.inputs]
            found = as_list(operation(self.op)(*inputs, **self.attrs))
            if len(found) > 1:  # of which others are asked for by keys of their own
                results.keep(made, found)
        return found[self.index]


def operation(word: str) -> Callable[..., Any]:
    """The function behind a word: of `OPERATIONS`, of a layer with a kernel, or a TensorFlow op (`raw:...`)."""
    from qat.quantization.ir import raw_ops
    from qat.quantization.ir.interpret import WEIGHTED
    from qat.quantization.ir.operations import OPERATIONS

    if word.startswith(raw_ops.PREFIX):
        return lambda *inputs, **attrs: raw_ops.run(word, inputs, attrs)
    if word in OPERATIONS:
        return OPERATIONS[word]
    return lambda x, *weights, names, attrs: WEIGHTED[word](x, dict(zip(names, weights, strict=True)), attrs)


def as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _jsonable(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: packed(value) if isinstance(value, np.ndarray) else value for name, value in attrs.items()}


def _from_jsonable(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: unpacked(v) if isinstance(v, dict) and "array" in v else v for name, v in attrs.items()}


def packed(value: NDArray) -> dict[str, Any]:
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 6)).decode()
    return {"array": data, "dtype": value.dtype.name, "sizes": list(value.shape)}


def unpacked(held: Mapping[str, Any]) -> NDArray:
    data = zlib.decompress(base64.b64decode(held["array"]))
    return np.frombuffer(data, held["dtype"]).reshape(held["sizes"]).copy()
