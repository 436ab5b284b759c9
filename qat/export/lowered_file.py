"""The file of a quantization-aware model, from the operators that `qat.export.lowering` writes."""

from __future__ import annotations

from functools import partial
from typing import Any

from qat.export.lowering import keeps_state, lower
from qat.export.tf_conversion import warn_of_one_sample, why_batch_is_fixed
from qat.export.traced_function import input_specs, output_names
from qat.tflite.editing import set_metadata, set_names
from qat.tflite.metadata import ENTRY, Metadata
from qat.tflite.writer import pack

OF_STATE = "the LSTM kernel keeps a state for a fixed number of samples"


def lowered_file(model: Any, *, batch_size: int | None, io: str, low_bit: bool, signature: str) -> bytes:
    """The bytes of the model's file, not looked at yet; of one sample, with a warning, where it must be.

    Args:
        model: one for which `is_lowerable` holds.
        batch_size, io, low_bit, signature: as `convert` is told.
    """
    lowered = partial(lower, model, io=io, low_bit=low_bit)
    is_open = batch_size is None and any(entry.shape[0] is None for entry in model.inputs)
    reason = OF_STATE if is_open and keeps_state(model) else None
    if reason is None:
        content = _named(model, lowered(batch_size=batch_size), signature)
        reason = why_batch_is_fixed(content) if is_open else None
    if reason is not None:  # an op may need it
        content = _named(model, lowered(batch_size=1), signature)
        warn_of_one_sample(reason, stacklevel=5)
    return content


def _named(model: Any, content: Any, signature: str) -> bytes:
    names, by_name = output_names(model, model._nested_outputs)
    set_names(content, [spec.name for spec in input_specs(model)], names, names, signature)
    post_training = bool(getattr(model, "post_training", False))
    if by_name or post_training:
        about = Metadata(outputs_by_name=by_name, post_training=post_training)
        set_metadata(content, {ENTRY: about.to_json().encode()})
    return pack(content)
