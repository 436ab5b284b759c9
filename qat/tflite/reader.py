"""Read a `.tflite` without running it and without TensorFlow.

The file may be hostile: the flatbuffer runtime checks every offset that it follows, the work is bounded by the file's
size, and every damage is a `TfliteFileError`.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from qat.errors import TfliteFileError, naming
from qat.limits import read_file
from qat.plain_text import address_hint
from qat.tflite.graph import Op, Signature, Subgraph, Tensor, TfliteGraph
from qat.tflite.operand_types import check_types

IDENTIFIER = b"TFL3"
_OTHER_KINDS = {  # by their first bytes
    b"PK\x03\x04": "a zip archive, as a .keras or an .npz is",
    b"\x89HDF": "an HDF5 file, as Keras' .h5 is",
    b"\x1f\x8b": "compressed by gzip",
    b"version https://git-lfs": "the stand-in of a file in Git LFS: fetch the file by git lfs pull",
}
_WRONG_VALUES = (struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, AssertionError)
DAMAGE = (*_WRONG_VALUES, OverflowError, MemoryError, RecursionError)


def _names_of(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


_DTYPE_NAMES = {value: name.lower() for value, name in _names_of(schema.TensorType).items()}
_OP_NAMES = _names_of(schema.BuiltinOperator)
_ENUM_FIELDS = {
    "fused_activation_function": _names_of(schema.ActivationFunctionType),
    "padding": _names_of(schema.Padding),
    "in_data_type": _DTYPE_NAMES,
    "out_data_type": _DTYPE_NAMES,
}


class _Budget:
    """Bounds the work: a hostile file can point a thousand times at the same table."""

    def __init__(self, size_bytes: int) -> None:
        self.left = 64 * size_bytes + 1_000_000

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise ValueError("its tables point at each other more often than any real model's do")


def read_bytes(model: bytes | bytearray | memoryview | str | Path) -> bytes:
    """The bytes of a model, from bytes or a path, with the file identifier checked.

    Raises:
        TfliteFileError: no such file, not readable, too short, or not a TFLite flatbuffer.
    """
    if isinstance(model, (bytes, bytearray, memoryview)):
        content, origin = bytes(model), f"{len(model)} bytes"
    elif not isinstance(model, (str, os.PathLike)):
        raise TfliteFileError(
            f"a {type(model).__name__} is no TFLite file: give its path or its bytes. "
            "Of a Keras model, qat.tflite.convert(model) makes them."
        )
    else:
        origin = str(model)
        try:
            content = read_file(model, "file_mb", TfliteFileError)
        except TfliteFileError:
            raise
        except OSError as error:
            raise TfliteFileError(
                f"{origin}: cannot be read ({error.strerror}). Give the path of a .tflite.{address_hint(origin)}"
            ) from None
        except ValueError as error:  # a name that no file can have
            raise TfliteFileError(f"{origin[:200]!r}: no path ({error}). Give the path of a .tflite.") from None
    if len(content) < 16 or content[4:8] != IDENTIFIER:
        raise TfliteFileError(f"{origin}: no TFLite file; {_describe_content(content)}.")
    return content


def _describe_content(content: bytes) -> str:
    """What a file is that is no TFLite file.

    >>> _describe_content(b""), _describe_content(b"PK\x03\x04")
    ('it is empty', 'it is a zip archive, as a .keras or an .npz is')
    """
    kind = next((kind for start, kind in _OTHER_KINDS.items() if content.startswith(start)), None)
    if not content or kind is not None:
        return f"it is {kind or 'empty'}"
    return f"bytes 4-8 are {content[4:8]!r}, expected {IDENTIFIER!r}: a file of another kind, or a damaged one"


def read(model: bytes | bytearray | memoryview | str | Path) -> TfliteGraph:
    """Parse a `.tflite`.

    Args:
        model: the file's bytes, or its path.

    Returns:
        Everything in the file but the attributes of its ops, which `Op.options` reads on first use.

    Raises:
        TfliteFileError: it is no usable TFLite file; the message says where it breaks.
    """
    content = read_bytes(model)
    with name_file(model):
        try:
            return _read_model(content)
        except DAMAGE as error:
            if isinstance(error, TfliteFileError):
                raise
            raise TfliteFileError(
                f"damaged TFLite file of {len(content)} bytes, perhaps not copied whole ({_explain_damage(error)})"
            ) from error


def name_file(model: object) -> AbstractContextManager[None]:
    """Put the path of a file before errors about it that do not have it.

    Args:
        model: the path of a `.tflite`; of bytes nothing is said.

    Returns:
        The context manager for what may raise a TfliteFileError.
    """
    return naming(f"{model}: " if isinstance(model, (str, os.PathLike)) else "", TfliteFileError)


def _explain_damage(error: BaseException) -> str:
    """The reason of ours, of which a person can make something; what libraries say of their buffers is left out."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    is_ours = last is not None and Path(last.tb_frame.f_code.co_filename).parent == Path(__file__).parent
    return str(error) if is_ours and isinstance(error, ValueError) else "its tables point outside of the file"


def _read_model(content: bytes) -> TfliteGraph:
    budget = _Budget(len(content))
    model = schema.Model.GetRootAs(content, 0)
    if model.Version() != 3:
        raise ValueError(f"schema version {model.Version()}, expected 3")
    if model.SubgraphsLength() == 0:
        raise ValueError("it has no subgraph")
    buffers = _Buffers(content, model, budget)
    codes = [_read_code(model.OperatorCodes(i), budget) for i in range(model.OperatorCodesLength())]
    subgraphs = tuple(
        _read_subgraph(i, model.Subgraphs(i), codes, buffers, budget) for i in range(model.SubgraphsLength())
    )
    for subgraph in subgraphs:
        check_types(subgraph)
    signatures = tuple(
        _read_signature(model.SignatureDefs(i), subgraphs, budget) for i in range(model.SignatureDefsLength())
    )
    metadata = {}
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        metadata[_text(entry.Name(), budget)] = bytes(buffers.content(entry.Buffer()) or b"")
    return TfliteGraph(_text(model.Description(), budget), subgraphs, signatures, metadata, len(content))


class _Buffers:
    """The model's constant data; buffer 0 is the empty one by definition."""

    def __init__(self, content: bytes, model: schema.Model, budget: _Budget) -> None:
        self._file = memoryview(content)
        self._model = model
        self._budget = budget
        self.count = model.BuffersLength()

    def content(self, index: int) -> memoryview | None:
        if not 0 <= index < max(self.count, 1):
            raise ValueError(f"buffer {index} of {self.count} does not exist")
        if index == 0:
            return None
        self._budget.spend(8)
        buffer = self._model.Buffers(index)
        if buffer.Offset() > 1:  # a model beyond 2 GB keeps its data behind the flatbuffer
            end = buffer.Offset() + buffer.Size()
            if end > len(self._file):
                raise ValueError(f"buffer {index} ends at byte {end} of {len(self._file)}")
            return self._file[buffer.Offset() : end]
        if buffer.DataIsNone() or buffer.DataLength() == 0:
            return None
        return memoryview(buffer.DataAsNumpy())


def _text(raw: bytes | None, budget: _Budget) -> str:
    budget.spend(len(raw or b"") + 1)
    return (raw or b"").decode("utf-8", errors="replace")


def _numbers(table: object, field: str, budget: _Budget) -> tuple:
    length = getattr(table, f"{field}Length")()
    budget.spend(length + 1)
    if length == 0:
        return ()
    return tuple(getattr(table, f"{field}AsNumpy")().tolist())


def _read_code(code: schema.OperatorCode, budget: _Budget) -> tuple[str, str | None, int]:
    # Ops beyond 126 stand in the newer field; older writers filled only the deprecated one.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number not in _OP_NAMES:
        raise ValueError(f"operator code {number} is none of this schema's")
    custom = _text(code.CustomCode(), budget) if number == schema.BuiltinOperator.CUSTOM else None
    return _OP_NAMES[number], custom, code.Version()


def _read_subgraph(index: int, graph: schema.SubGraph, codes: list, buffers: _Buffers, budget: _Budget) -> Subgraph:
    tensors = tuple(_read_tensor(i, graph.Tensors(i), buffers, budget) for i in range(graph.TensorsLength()))
    ops = tuple(_read_op(i, graph.Operators(i), codes, len(tensors), budget) for i in range(graph.OperatorsLength()))
    inputs, outputs = _numbers(graph, "Inputs", budget), _numbers(graph, "Outputs", budget)
    _check_indices(f"subgraph {index}", (*inputs, *outputs), len(tensors))
    return Subgraph(index, _text(graph.Name(), budget), tensors, ops, inputs, outputs)


def _check_indices(where: str, indices: tuple[int, ...], tensor_count: int, lowest: int = 0) -> None:
    for i in indices:
        if not lowest <= i < tensor_count:
            raise ValueError(f"{where} names tensor {i} of {tensor_count}")


def _read_tensor(index: int, tensor: schema.Tensor, buffers: _Buffers, budget: _Budget) -> Tensor:
    shape = _numbers(tensor, "Shape", budget)
    if any(size < 0 for size in shape):
        raise ValueError(f"tensor {index} has shape {list(shape)}")
    if tensor.Type() not in _DTYPE_NAMES:
        raise ValueError(f"tensor {index} has dtype number {tensor.Type()}, which is none of this schema's")
    parameters = tensor.Quantization()
    return Tensor(
        index=index,
        name=_text(tensor.Name(), budget),
        shape=shape,
        shape_signature=_numbers(tensor, "ShapeSignature", budget) or shape,
        dtype=_DTYPE_NAMES[tensor.Type()],
        scales=_numbers(parameters, "Scale", budget) if parameters else (),
        zero_points=_numbers(parameters, "ZeroPoint", budget) if parameters else (),
        axis=parameters.QuantizedDimension() if parameters else 0,
        is_variable=bool(tensor.IsVariable()),
        content=buffers.content(tensor.Buffer()),
        sparse=tensor.Sparsity() is not None,
    )


def _read_op(index: int, op: schema.Operator, codes: list, tensor_count: int, budget: _Budget) -> Op:
    if not 0 <= op.OpcodeIndex() < len(codes):
        raise ValueError(f"op {index} has operator code {op.OpcodeIndex()} of {len(codes)}")
    name, custom, version = codes[op.OpcodeIndex()]
    inputs, outputs = _numbers(op, "Inputs", budget), _numbers(op, "Outputs", budget)
    _check_indices(f"op {index} ({custom or name})", inputs, tensor_count, lowest=-1)
    _check_indices(f"op {index} ({custom or name})", outputs, tensor_count)
    return Op(index, name, custom, version, inputs, outputs, _options_reader(index, op))


def _options_reader(index: int, op: schema.Operator) -> Callable[[], dict[str, Any]]:
    def read_options() -> dict[str, Any]:
        try:
            options = schema.BuiltinOptionsCreator(op.BuiltinOptionsType(), op.BuiltinOptions())
            if options is None:
                options = schema.BuiltinOptions2Creator(op.BuiltinOptions2Type(), op.BuiltinOptions2())
        except DAMAGE as error:
            raise TfliteFileError(f"op {index}: its options are damaged ({error})") from error
        fields = vars(options) if options is not None else {}
        return {name: _value(name, value) for name, value in ((_snake(n), v) for n, v in fields.items())}

    return read_options


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _value(name: str, value: Any) -> Any:
    if name in _ENUM_FIELDS:
        return _ENUM_FIELDS[name].get(value, value)
    return value.tolist() if hasattr(value, "tolist") else value


def _read_signature(signature: schema.SignatureDef, subgraphs: tuple[Subgraph, ...], budget: _Budget) -> Signature:
    index = signature.SubgraphIndex()
    if not 0 <= index < len(subgraphs):
        raise ValueError(f"a signature names subgraph {index} of {len(subgraphs)}")

    def names(count: int, entry_at: Callable[[int], Any]) -> dict[str, int]:
        entries = [entry_at(i) for i in range(count)]
        indices = {_text(entry.Name(), budget): entry.TensorIndex() for entry in entries}
        _check_indices("a signature", tuple(indices.values()), len(subgraphs[index].tensors))
        return indices

    inputs = names(signature.InputsLength(), signature.Inputs)
    outputs = names(signature.OutputsLength(), signature.Outputs)
    return Signature(_text(signature.SignatureKey(), budget), inputs, outputs, index)
