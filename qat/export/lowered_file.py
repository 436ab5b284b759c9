"""The file of a quantization-aware model, from the operators that `qat.export.lowering` writes."""

from __future__ import annotations

from functools import partial

from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering import keeps_state, lower
from qat.export.tf_conversion import warn_of_one_sample, why_batch_is_fixed
from qat.export.traced_function import input_specs, output_names
from qat.models.keras_types import KerasModel
from qat.tflite.editing import set_metadata, set_names
from qat.tflite.metadata import METADATA_NAME, Metadata
from qat.tflite.writer import pack

STATE_REASON = "the LSTM kernel keeps a state for a fixed number of samples"


def write_qat_file(model: KerasModel, *, batch_size: int | None, io: str, low_bit: bool, signature: str) -> bytes:
    """Write the file of a QAT model; of one sample, with a warning, where an operator cannot have an open batch.

    Args:
        model: a QAT model for which `is_lowerable` holds.
        batch_size: samples per call, which fixes the batch; None leaves it open.
        io: dtype of inputs and outputs that are codes inside: "int8", "uint8", "float32".
        low_bit: store weights of 4 bits as int4.
        signature: name of the file's signature, as "serving_default".

    Returns:
        Bytes of the file, not verified yet.
    """
    lower_model = partial(lower, model, io=io, low_bit=low_bit)
    is_open = batch_size is None and any(tensor.shape[0] is None for tensor in model.inputs)
    reason = STATE_REASON if is_open and keeps_state(model) else None
    if reason is None:
        content = _add_names_and_pack(model, lower_model(batch_size=batch_size), signature)
        reason = why_batch_is_fixed(content) if is_open else None
    if reason is not None:  # an op may need it
        content = _add_names_and_pack(model, lower_model(batch_size=1), signature)
        warn_of_one_sample(reason)
    return content


def _add_names_and_pack(model: KerasModel, content: schema.ModelT, signature: str) -> bytes:
    names, by_name = output_names(model, model._nested_outputs)
    set_names(content, [spec.name for spec in input_specs(model)], names, names, signature)
    post_training = bool(getattr(model, "post_training", False))
    if by_name or post_training:
        metadata = Metadata(outputs_by_name=by_name, post_training=post_training)
        set_metadata(content, {METADATA_NAME: metadata.to_json().encode()})
    return pack(content)
