"""Variables that a float model reads and does not list: a weight of a loss that a user's callback moves.

The quantized model reads the same objects, as the float model does. Another process, which has not got them, reads the
values that they had when the quantized model was written down; so does what is traced to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import tensorflow as tf

from qat.quantization.ir.weight_source import pack_array, unpack_array

STEP = "outside"  # kind of the program's step that reads one
_HELD: WeakValueDictionary[str, Any] = WeakValueDictionary()  # by names that no other process gives
is_written: list[Callable[[], bool]] = []  # asked whether a graph is being made for a file


def describe(variable: Any) -> dict[str, Any]:
    """What `read` needs to know of a variable, as JSON values."""
    name = next((name for name, held in _HELD.items() if held is variable), None)
    if name is None:
        name = uuid4().hex
        _HELD[name] = variable
    with tf.init_scope():
        return {"name": name, "value": pack_array(tf.convert_to_tensor(variable).numpy())}


def read(described: dict[str, Any]) -> tf.Tensor:
    """The variable as it is now; where this process has not got it, as it was described."""
    held = _HELD.get(described["name"])
    if held is None or any(asked() for asked in is_written):
        return tf.constant(unpack_array(described["value"] if held is None else describe(held)["value"]))
    return tf.convert_to_tensor(held)


def find_variables(value: Any) -> list[Any]:
    """The variables that are described among JSON values, for those who must keep them alive."""
    return [held for described in _described(value) if (held := _HELD.get(described["name"])) is not None]


def describe_now(value: Any) -> Any:
    """JSON values, with each described variable among them as it is now."""
    if isinstance(value, list):
        described = value[2] if len(value) == 3 and isinstance(value[2], dict) else {}
        held = _HELD.get(str(described.get("name")))
        return [describe_now(each) for each in value] if held is None else [STEP, value[1], describe(held)]
    return {name: describe_now(each) for name, each in value.items()} if isinstance(value, dict) else value


def _described(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str) and value[0] == STEP:
        yield value[2]
    elif isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _described(each)
