"""A quantization-aware model as a TFLite model."""

from __future__ import annotations

import contextlib
from typing import Any

import tf_keras
from ai_edge_litert import schema_py_generated as schema

from qat.errors import ModelError
from qat.export.lowering.lowering import Lowering, make_context
from qat.export.lowering.network import Call, Network, read_network
from qat.export.lowering.op_writer import OpWriter
from qat.export.lowering.operators import OPERATORS
from qat.export.lowering.planned_ops import refuse_tiny_sums
from qat.export.lowering.reshapes import remove_reshapes
from qat.export.lowering.simplify import Uses, simplify
from qat.export.lowering.weights import read_weights
from qat.quantization.keras.deep_recursion import deep_recursion
from qat.quantization.keras.lstm import Lstm
from qat.quantization.keras.range_layer import RangeLayer


def lower(
    model: tf_keras.Model, *, batch_size: int | None = None, io: str = "int8", low_bit: bool = True
) -> schema.ModelT:
    """The operators of a model for which `is_lowerable` holds, without signature and metadata.

    Inputs and outputs are in the order of `model.inputs` and `model.outputs`.

    Args:
        model: what `quantize_model` returned, or a model of its layers.
        batch_size: samples per call, which fixes the batch; None leaves open what the model leaves open.
        io: dtype of inputs and outputs that are codes inside: "int8", "uint8", "float32".
        low_bit: store kernels of 4 bits as int4, not as int8.

    Returns:
        A file of one subgraph, not packed.

    Raises:
        ModelError: an op is missing in `OPERATORS`, the model begins after a range, or a sum is tiny next to what is
            added.
    """
    with deep_recursion():
        network = read_network(model)
    _refuse_inputs_after_a_range(network)
    lowering = Lowering(network, read_weights(network), batch_size)
    for key, tensor in zip(network.input_keys, network.inputs, strict=True):
        lowering.values[key] = lowering.add_input(tensor)
    for call in network.calls:
        results = _lower_call(lowering, call)
        lowering.values.update(zip(call.outputs, results, strict=True))
    inputs = [lowering.values[key] for key in network.input_keys]
    outputs = [lowering.values[key] for key in network.outputs]
    uses = Uses(lowering.ops, inputs, outputs)
    simplify(uses)
    remove_reshapes(uses)
    refuse_tiny_sums(uses.ops)
    return OpWriter(uses.ops, lowering.is_open, low_bit).write_model(inputs, uses.outputs, io)


def _refuse_inputs_after_a_range(network: Network) -> None:
    """Refuse a part of a model with an input that a kernel reads as codes and that has no range within the part."""
    for call in network.calls:
        names = getattr(call.inner, "input_ranges", None) or []
        ranges = names[min(call.call_index, len(names) - 1)] if names else None
        has_range = any(ranges) if isinstance(ranges, list) else ranges is not None
        if has_range and any(key in network.input_keys for key in call.inputs):
            raise ModelError(
                f"layer {call.layer.name!r} reads an input of this part of the model, whose range stands before "
                "the part: begin it one layer earlier, at what its range layer reads"
            )


def keeps_state(model: tf_keras.Model) -> bool:
    """Whether a kernel keeps a state, which fixes the batch."""
    return any(isinstance(call.inner, Lstm) for call in read_network(model).calls)


def read_weights_once(model: tf_keras.Model) -> contextlib.AbstractContextManager[None]:
    """Inside, the model's weights do not change, and are folded and quantized once."""
    return read_network(model).one_pass()


def _lower_call(lowering: Lowering, call: Call) -> list[Any]:
    if isinstance(call.layer, RangeLayer):
        name = f"{lowering.network.name}/{call.layer.name}/range"
        return [lowering.quantize(lowering.values[call.inputs[0]], call.layer, name)]
    op = "lstm" if isinstance(call.inner, Lstm) else getattr(call.inner, "kind", None) or call.inner.op
    if op not in OPERATORS:
        raise ModelError(
            f"layer {call.layer.name!r}: the op {op!r} has no operator in a file; add a function for it to a table of "
            "qat/export/lowering/ops, as ELEMENTWISE in elementwise.py"
        )
    values = OPERATORS[op](make_context(lowering, call))
    return values if isinstance(values, list) else [values]
