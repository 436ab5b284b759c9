"""Where a case's file leaves its model: the first layer whose codes differ, with some of them; and who may."""

from __future__ import annotations

import numpy as np

from qat.export.layer_parity import _probes, _with_outputs
from qat.quantization.importing.model_inputs import nest_inputs
from qat.quantization.keras.model import part_of
from qat.tflite import Interpreter, read

PAIRS = 5
# Who departs, and why.
EXCEPTIONS: dict[str, str] = {}


def first_departure(model, content: bytes, inputs, *, reference_kernels: bool = False) -> str:
    """The first layer whose codes in the file are not the model's, and the first five pairs of codes that differ."""
    probes = _probes(model, content)
    indices = list(dict.fromkeys(probe.index for probe in probes))
    if not probes:
        return "no layer's tensor is found in the file by its name"
    runtime = Interpreter(_with_outputs(content, indices), trusted=True, reference_kernels=reference_kernels)
    held = runtime.predict_codes(runtime.quantized(list(inputs)))
    held = dict(zip(indices, held if isinstance(held, list) else [held], strict=True))
    part = part_of(model, [probe.keras for probe in probes])
    found = part.predict(nest_inputs(model, list(inputs)), verbose=0)
    for probe, real in zip(probes, found if isinstance(found, list) else [found], strict=True):
        told = _told(read(content).tensors[probe.index], real.reshape(-1), held[probe.index].reshape(-1))
        if told:
            return f"first departs layer {probe.source!r}, {told}"
    return "every layer that is found by its name is equal: the departure is behind the last of them"


def _told(tensor, real: np.ndarray, codes: np.ndarray) -> str:
    if real.size != codes.size:
        return ""
    wanted = np.round(real / tensor.quantization.scale[0]) + tensor.quantization.zero_point[0]
    apart = np.flatnonzero(wanted != codes)
    if not len(apart) or np.array_equal(np.sort(wanted), np.sort(codes)):  # equal, or the same values moved
        return ""
    pairs = ", ".join(f"{codes[at]:d} / {int(wanted[at]):d}" for at in apart[:PAIRS])
    return f"{tensor.name!r}: {len(apart)} of {real.size} codes, file / model: {pairs}"
