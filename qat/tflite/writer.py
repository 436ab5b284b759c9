"""Write the schema's objects as the bytes of a `.tflite`."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.tflite.reader import IDENTIFIER

STRUCTURE_BYTES = 1 << 16  # buffer for everything but constants
ALIGNMENT = 16  # of constant data: kernels on ARM and microcontrollers load vectors straight from the file


class _AlignedBuffer(schema.BufferT):
    """The generated writer forgets the schema's `force_align: 16`; this one keeps it."""

    def Pack(self, builder: flatbuffers.Builder) -> Any:
        data = None
        if self.data is not None and len(self.data):
            raw = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(raw), ALIGNMENT)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def pack(content: schema.ModelT) -> bytes:
    """The bytes of a `ModelT`."""
    for buffer in content.buffers:
        buffer.__class__ = _AlignedBuffer
    constants = sum(len(buffer.data) + ALIGNMENT for buffer in content.buffers if buffer.data is not None)
    # A builder that is too small copies itself into one of twice the size.
    builder = flatbuffers.Builder(constants + STRUCTURE_BYTES)
    builder.Finish(content.Pack(builder), IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])
