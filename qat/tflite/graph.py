"""The content of a `.tflite` as frozen values: tensors, ops, subgraphs, signatures. NumPy only."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.codes import QuantParams
from qat.errors import TfliteFileError

FLOAT_DTYPES = frozenset({"float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2"})
PACKED_BITS = {"int4": 4, "uint4": 4, "int2": 2}  # several codes per byte, the first in the lowest bits
_UNPACKED = {"int4": np.int8, "uint4": np.uint8, "int2": np.int8}
_PLAIN = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_PLAIN |= {"bool", "float16", "float32", "float64", "complex64", "complex128"}


def unpack_codes(packed: NDArray[np.uint8], dtype: str, count: int) -> NDArray:
    """Unpack codes of 2 or 4 bits, as the schema's `TensorType` stores them.

    Args:
        packed: the stored bytes, [ceil(count * bits / 8)]; the first code is in the lowest bits.
        dtype: name of the packed dtype, as "int4": a key of `PACKED_BITS`.
        count: number of codes in `packed`.

    Returns:
        One code per element, [count], int8 (uint8 for an unsigned dtype).

    >>> unpack_codes(np.array([0xF1, 0x07], np.uint8), "int4", 3).tolist()
    [1, -1, 7]
    """
    bits = PACKED_BITS[dtype]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = ((packed[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count]
    if dtype.startswith("u"):
        return codes.astype(np.uint8)
    signed = codes.astype(np.int8)
    return np.where(signed >= 1 << (bits - 1), signed - (1 << bits), signed).astype(np.int8)


def layer_name(location: str, layers: Iterable[str] = ()) -> str:
    """The Keras layer that a tensor's name in the file tells.

    Args:
        location: the tensor's name; only what stands before the first ";" counts.
        layers: names of the Keras model's layers; one of them that stands in `location` is preferred. Empty where they
            are not known.

    Returns:
        The layer's name, without the prefix "quant_".

    >>> layer_name("mobilenet/quant_block_1_expand/Conv2D;mobilenet/quant_pad/Pad")
    'block_1_expand'
    >>> layer_name("outer/encoder/conv_2/BiasAdd", layers=["conv_2"])
    'conv_2'
    >>> layer_name("outer/op_encoder.act--Relu/Relu")  # of a model of ours: what follows "--" is an op of that layer
    'encoder.act'
    """
    first = location.split(";")[0].split(":")[0]
    parts = [_keras_layer(part) for part in first.split("/")]
    layers = set(layers)
    for part in reversed(parts):
        if part in layers or re.sub(r"_\d+$", "", part) in layers:
            return part if part in layers else re.sub(r"_\d+$", "", part)
    if len(parts) > 2:
        return parts[1]
    return parts[0]


def _keras_layer(part: str) -> str:
    name, is_ours, _ = part.partition("--")
    return re.sub(r"^(quant_|op_|float_)" if is_ours else r"^quant_", "", name)


@dataclass(frozen=True)
class Tensor:
    """One tensor. `dtype` is TFLite's name in lower case ("int8", "int4", "float32", ...)."""

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]  # -1 where the size is open
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int  # of the scales, where there are several
    is_variable: bool
    content: memoryview | None = field(repr=False, default=None)  # stored bytes of a constant
    sparse: bool = False

    @property
    def is_constant(self) -> bool:
        return self.content is not None

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOAT_DTYPES

    @property
    def per_channel(self) -> bool:
        return len(self.scales) > 1

    @property
    def layer(self) -> str:
        return layer_name(self.name)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        if self.dtype in PACKED_BITS:
            return -(-self.size * PACKED_BITS[self.dtype] // 8)
        return self.size * np.dtype(self.dtype).itemsize if self.dtype in _PLAIN else 0

    def to_dict(self) -> dict[str, Any]:
        """Name, dtype, shape, scale and zero point, as JSON has them; both None of a tensor that is not quantized."""
        is_quantized = bool(self.scales) and not self.is_float
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape_signature or self.shape),
            "scale": self.scales[0] if is_quantized else None,
            "zero_point": (*self.zero_points, 0)[0] if is_quantized else None,
        }

    @cached_property
    def quantization(self) -> QuantParams | None:
        """Scale and zero point; None for a tensor that is not quantized.

        Raises:
            TfliteFileError: a scale in the file is 0, negative or not finite.
        """
        if not self.scales or self.is_float:
            return None
        zero_points = self.zero_points or (0,)
        try:
            dtype = np.dtype(_UNPACKED.get(self.dtype, self.dtype))
            return QuantParams.make(np.array(self.scales), np.array(zero_points), dtype, self.axis)
        except (ValueError, TypeError, OverflowError) as error:
            raise TfliteFileError(f"tensor {self.index} ({self.name}): {error}") from error

    @cached_property
    def data(self) -> NDArray | None:
        """A constant's values in the tensor's shape, packed codes unpacked to int8; None for a computed tensor.

        Raises:
            TfliteFileError: the stored bytes do not fill the shape, or are stored sparse.
        """
        if self.content is None:
            return None
        if self.sparse:
            raise TfliteFileError(f"tensor {self.index} ({self.name}) is stored sparse, which is not read here")
        stored = np.frombuffer(self.content, np.uint8)
        if stored.size != self.size_bytes:
            raise TfliteFileError(
                f"tensor {self.index} ({self.name}): {stored.size} bytes stored, expected {self.size_bytes} "
                f"for {self.dtype}{list(self.shape)}; the file is damaged"
            )
        if self.dtype in PACKED_BITS:
            return unpack_codes(stored, self.dtype, self.size).reshape(self.shape)
        return np.frombuffer(self.content, self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class Op:
    """One operator: `name` as in TFLite's enumeration ("CONV_2D"); tensor indices, -1 for an absent optional input."""

    index: int
    name: str
    custom_code: str | None
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    read_options: Callable[[], dict[str, Any]] = field(repr=False, compare=False, default=dict)

    @property
    def label(self) -> str:
        return self.custom_code or self.name

    @cached_property
    def options(self) -> dict[str, Any]:
        """The op's attributes, names in snake case ("stride_w", "fused_activation_function": "RELU6")."""
        return self.read_options()


@dataclass(frozen=True)
class Subgraph:
    index: int
    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    input_indices: tuple[int, ...]
    output_indices: tuple[int, ...]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(self.tensors[i] for i in self.input_indices)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return tuple(self.tensors[i] for i in self.output_indices)

    @cached_property
    def producers(self) -> Mapping[int, Op]:
        return {index: op for op in self.ops for index in op.outputs}

    @cached_property
    def consumers(self) -> Mapping[int, tuple[Op, ...]]:
        consumers: dict[int, list[Op]] = {}
        for op in self.ops:
            for index in set(op.inputs) - {-1}:
                consumers.setdefault(index, []).append(op)
        return {index: tuple(ops) for index, ops in consumers.items()}

    def output_of(self, op: Op) -> Tensor | None:
        """The op's first output; None for an op without outputs."""
        return self.tensors[op.outputs[0]] if op.outputs else None

    def tensors_of(self, op: Op) -> tuple[Tensor, ...]:
        return tuple(self.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0)


@dataclass(frozen=True)
class Signature:
    """A named entry point: names to tensor indices of one subgraph."""

    key: str
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    subgraph: int


@dataclass(frozen=True)
class TfliteGraph:
    """A file. `tensors`, `ops`, `inputs`, `outputs` are those of the first subgraph, where inference starts."""

    description: str
    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]
    metadata: Mapping[str, bytes] = field(repr=False)
    size_bytes: int

    @property
    def main(self) -> Subgraph:
        return self.subgraphs[0]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.main.tensors

    @property
    def ops(self) -> tuple[Op, ...]:
        return self.main.ops

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.main.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self.main.outputs

    @property
    def remembers(self) -> bool:
        """Whether a kernel, such as that of an LSTM, keeps a state from one call to the next."""
        return any(tensor.is_variable for subgraph in self.subgraphs for tensor in subgraph.tensors)

    @property
    def keeps_resources(self) -> bool:
        """Whether a state is kept in resource variables, which nothing resets and no resizing of inputs fits."""
        return any(op.name == "VAR_HANDLE" for subgraph in self.subgraphs for op in subgraph.ops)

    @property
    def lacks_weights(self) -> bool:
        """Whether it reads variables that nothing in it sets: what they held was not converted."""
        names = {op.name for subgraph in self.subgraphs for op in subgraph.ops}
        return "READ_VARIABLE" in names and "ASSIGN_VARIABLE" not in names

    @property
    def batch(self) -> int:
        """Number of samples per call; 1 where the file leaves it open."""
        return max([1, *(tensor.shape_signature[0] for tensor in self.inputs if tensor.shape_signature)])

    def by_sample(self, output: Tensor) -> bool:
        """Whether the first axis of an output counts samples; else the output belongs to one sample."""
        return bool(output.shape_signature) and output.shape_signature[0] in (-1, self.batch)

    def sample_shape(self, output: Tensor) -> tuple[int, ...]:
        """Shape of the part of an output that belongs to one sample."""
        return output.shape[1:] if self.by_sample(output) else output.shape
