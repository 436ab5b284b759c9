"""Variables that a float model reads and does not list: a weight of a loss that a user's callback moves.

The quantized model reads the same objects, as the float model does. Another process, which has not got them, reads the
values that they had when the quantized model was written down.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import tensorflow as tf

from qat.quantization.ir.weight_source import pack_array, unpack_array

STEP = "outside"  # kind of the program's step that reads one
_HELD: dict[str, Any] = {}  # by names that no other process gives


def describe(variable: Any) -> dict[str, Any]:
    """What `read` needs to know of a variable, as JSON values."""
    name = next((name for name, held in _HELD.items() if held is variable), None)
    if name is None:
        name = uuid4().hex
        _HELD[name] = variable
    return {"name": name, "value": pack_array(tf.convert_to_tensor(variable).numpy())}


def read(described: dict[str, Any]) -> tf.Tensor:
    """The variable as it is now; where this process has not got it, as it was described."""
    held = _HELD.get(described["name"])
    return tf.constant(unpack_array(described["value"])) if held is None else tf.convert_to_tensor(held)


def described_now(value: Any) -> Any:
    """JSON values, with each described variable among them as it is now."""
    if isinstance(value, list):
        described = value[2] if len(value) == 3 and isinstance(value[2], dict) else {}
        if described.get("name") in _HELD:
            return [STEP, value[1], describe(_HELD[described["name"]])]
        return [described_now(each) for each in value]
    return {name: described_now(each) for name, each in value.items()} if isinstance(value, dict) else value
