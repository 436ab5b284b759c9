"""Masks of outputs: Keras leaves padded positions, as of an Embedding with `mask_zero`, out of loss and metrics."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from qat.models.keras_types import TensorNest
from qat.quantization.ir.program import Program


def mask_outputs(model: Any, inputs: TensorNest, outputs: TensorNest) -> None:
    """Give outputs the masks that the float model's have, where Keras looks for them.

    Args:
        model: a `QatModel`, which holds the programs of the masks.
        inputs: what it was called with, nested as its inputs.
        outputs: what it gave, nested as its outputs; each tensor that has a mask gets it, bool [batch, ...].
    """
    programs = (model.qat_config or {}).get("masks", ())
    if not any(programs):
        return
    flat = model._flatten_to_reference_inputs(inputs)
    variables = model.float_variables.readable
    for output, program in zip(tf.nest.flatten(outputs), programs, strict=True):
        if program is not None and tf.is_tensor(output):  # calibration computes in NumPy
            (output._keras_mask,) = Program.from_json(program).run(flat, variables)
