"""The bytes of a `.tflite`, from the schema's objects."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.tflite.reader import IDENTIFIER

ROOM = 1 << 16  # bytes for what is no constant
ALIGNMENT = 16  # of constant data: kernels on ARM and microcontrollers load vectors straight from the file


class _AlignedBuffer(schema.BufferT):
    """The generated writer forgets the schema's `force_align: 16`; this one keeps it."""

    def Pack(self, builder: Any) -> Any:
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


def pack(content: Any) -> bytes:
    """The bytes of a `ModelT`."""
    for buffer in content.buffers:
        buffer.__class__ = _AlignedBuffer
    constants = sum(len(buffer.data) + ALIGNMENT for buffer in content.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(constants + ROOM)  # where that is too little, it copies itself into twice as much
    builder.Finish(content.Pack(builder), IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])
