"""TensorFlow ops as plain data: read from a traced graph, held as JSON, and run again on other tensors.

The arguments of an op are those of its function in `tf.raw_ops`: its operands first, in the order of the op's
definition, then the attributes that do not follow from them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import tensorflow as tf

from qat.errors import ModelError
from qat.json_values import Json
from qat.models.untrusted.graph_ops import PREFIX

RENAMED = {("Squeeze", "axis"): "squeeze_dims"}  # arguments that are not called as the attributes that they are


def can_run(op: tf.Operation, lists: bool = False) -> bool:
    """Whether the op is a function of tensors alone: no resource, no function as an attribute.

    Args:
        op: of a traced graph.
        lists: whether lists of tensors, as loops have them, count as tensors.

    Returns:
        Whether `run` can run it on what `describe_op` says.
    """
    tensors, other = [*op.inputs, *op.outputs], (tf.resource,) if lists else (tf.resource, tf.variant)
    if any(tensor.dtype in other for tensor in tensors) or not hasattr(tf.raw_ops, op.type):
        return False
    if any(attribute not in op.node_def.attr for attribute in _attributes(op).values()):
        return False
    return not any(kind.HasField("func") for kind in op.node_def.attr.values())


def encode_attributes(op: tf.Operation) -> dict[str, Any]:
    """The op's attributes by the names of its function's arguments, as JSON values."""
    return {name: _encoded(op.get_attr(attribute)) for name, attribute in _attributes(op).items()}


def _attributes(op: tf.Operation) -> dict[str, str]:
    """The arguments of the op's function after its operands, and the attributes that they are."""
    names = _parameters(op.type)[len(op.op_def.input_arg) :]
    return {name: RENAMED.get((op.type, name), name) for name in names}


def run(word: str, inputs: Sequence[tf.Tensor], attrs: dict[str, Any]) -> list[tf.Tensor]:
    """Run a TensorFlow op.

    Args:
        word: name of the node's op: `raw:` and the type of TensorFlow's op.
        inputs: tensors of any shapes in the order of the op's definition, lists of operands flattened.
        attrs: attributes of the op, as `describe_op` returned them.

    Returns:
        The op's outputs, of the shapes and dtypes that TensorFlow infers; none of an op that has no output.

    Raises:
        ModelError: the word does not begin with `raw:`.
    """
    if not word.startswith(PREFIX):  # what loads a file of somebody looks at the words that begin so
        raise ModelError(f"{word!r} is no op that a quantized model runs")
    kind = word.removeprefix(PREFIX)
    operands, index = {}, 0
    for name, size in attrs["operands"]:
        operands[name] = inputs[index] if size is None else list(inputs[index : index + size])
        index += 1 if size is None else size
    rest = {name: _decoded(value) for name, value in attrs["attrs"].items()}
    if "seed2" in rest:
        rest |= _seeds(rest["seed2"] or None)
    result = getattr(tf.raw_ops, kind)(**operands, **rest)
    if result is None or isinstance(result, tf.Operation):
        return []
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _seeds(own: int | None) -> dict[str, int]:
    """A random op's seeds now: `tf.random.set_seed` and the op's own, as TensorFlow combines them."""
    global_seed, op_seed = tf.compat.v1.get_seed(own)
    return {"seed": global_seed or 0, "seed2": op_seed or 0}


def describe_op(op: tf.Operation) -> dict[str, Any]:
    """The `attrs` of `run` for this op: attributes, and operands with the number of tensors of those that are lists."""
    operands = []
    for name, argument in zip(_parameters(op.type), op.op_def.input_arg, strict=False):
        size = None
        if argument.number_attr:
            size = int(op.get_attr(argument.number_attr))
        elif argument.type_list_attr:
            size = len(op.get_attr(argument.type_list_attr))
        operands.append([name, size])
    return {"operands": operands, "attrs": encode_attributes(op)}


@lru_cache(maxsize=512)
def _parameters(kind: str) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(getattr(tf.raw_ops, kind)).parameters if name != "name")


def _encoded(value: object) -> Any:
    if isinstance(value, tf.DType):
        return {"dtype": value.name}
    if isinstance(value, bytes):
        return {"text": value.decode("latin-1")}
    if isinstance(value, (list, tuple)):
        return [_encoded(each) for each in value]
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    return {"shape": tf.TensorShape(value).as_list() if tf.TensorShape(value).rank is not None else None}


def _decoded(value: Json) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if isinstance(value, dict) and "dtype" in value:
        return tf.as_dtype(value["dtype"])
    if isinstance(value, dict) and "text" in value:
        return value["text"].encode("latin-1")
    if isinstance(value, dict) and "shape" in value:
        return tf.TensorShape(value["shape"])
    return value
