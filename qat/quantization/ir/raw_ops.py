"""TensorFlow ops as plain data: read from a traced graph, held as JSON, and run again on other tensors.

What an op needs is said by the signature of its function in `tf.raw_ops`: its operands first, in the order of the op's
definition, then the attributes that do not follow from them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import tensorflow as tf

PREFIX = "raw:"  # of a word for an op that has no word of its own in `OPERATIONS`


def can_run(op: tf.Operation) -> bool:
    """Whether the op is a function of tensors alone: no resource, no variant, no function as an attribute."""
    tensors = [*op.inputs, *op.outputs]
    if any(tensor.dtype in (tf.resource, tf.variant) for tensor in tensors) or not hasattr(tf.raw_ops, op.type):
        return False
    known = set(op.node_def.attr)
    if any(name not in known for name in _parameters(op.type)[len(op.op_def.input_arg) :]):
        return False
    return not any(kind.HasField("func") for kind in op.node_def.attr.values())


def described(op: tf.Operation) -> dict[str, Any]:
    """The attributes that `run` needs, as JSON values."""
    return {name: _encoded(op.get_attr(name)) for name in _parameters(op.type)[len(op.op_def.input_arg) :]}


def run(word: str, inputs: Sequence[tf.Tensor], attrs: dict[str, Any]) -> list[tf.Tensor]:
    """The results of the op `raw:<type>`; `inputs` in the order of the op's definition.

    Args:
        word: `raw:` and the op's type.
        inputs: tensors, lists of operands flattened.
        attrs: what `described` gave, and `operand_sizes`: how many tensors each operand takes.
    """
    kind = word.removeprefix(PREFIX)
    given, at = {}, 0
    for name, size in attrs["operands"]:
        given[name] = inputs[at] if size is None else list(inputs[at : at + size])
        at += 1 if size is None else size
    rest = {name: _decoded(value) for name, value in attrs["attrs"].items()}
    if "seed2" in rest:
        rest |= _seeds(rest["seed2"] or None)
    result = getattr(tf.raw_ops, kind)(**given, **rest)
    if result is None or isinstance(result, tf.Operation):
        return []
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _seeds(own: int | None) -> dict[str, int]:
    """A random op's seeds in the call that is being made: `tf.random.set_seed` and the op's own, as TensorFlow joins
    them."""
    of_all, of_op = tf.compat.v1.get_seed(own)
    return {"seed": of_all or 0, "seed2": of_op or 0}


def spelled(op: tf.Operation) -> dict[str, Any]:
    """All of `run`'s `attrs` for this op."""
    operands = []
    for name, argument in zip(_parameters(op.type), op.op_def.input_arg, strict=False):
        size = None
        if argument.number_attr:
            size = int(op.get_attr(argument.number_attr))
        elif argument.type_list_attr:
            size = len(op.get_attr(argument.type_list_attr))
        operands.append([name, size])
    return {"operands": operands, "attrs": described(op)}


@lru_cache(maxsize=512)
def _parameters(kind: str) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(getattr(tf.raw_ops, kind)).parameters if name != "name")


def _encoded(value: Any) -> Any:
    if isinstance(value, tf.DType):
        return {"dtype": value.name}
    if isinstance(value, bytes):
        return {"text": value.decode("latin-1")}
    if isinstance(value, (list, tuple)):
        return [_encoded(each) for each in value]
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    return {"shape": tf.TensorShape(value).as_list() if tf.TensorShape(value).rank is not None else None}


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if isinstance(value, dict) and "dtype" in value:
        return tf.as_dtype(value["dtype"])
    if isinstance(value, dict) and "text" in value:
        return value["text"].encode("latin-1")
    if isinstance(value, dict) and "shape" in value:
        return tf.TensorShape(value["shape"])
    return value
