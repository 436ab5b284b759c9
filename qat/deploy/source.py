"""Write a `.tflite` as C source for microcontrollers: the model, its scales, its operators, and test vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qat.contract import Contract
from qat.deploy.c_text import C_TYPES, array_body, bytes_body, float_literal, identifier
from qat.deploy.golden import GoldenVectors, golden_vectors
from qat.deploy.template import fill
from qat.errors import ConfigError
from qat.tflite.cost import arena_lower_bound
from qat.tflite.graph import Tensor, TfliteGraph
from qat.tflite.metadata import read_metadata
from qat.tflite.micro_ops import resolver_calls
from qat.tflite.reader import read, read_bytes
from qat.tflite.writer import ALIGNMENT


def c_source(
    model: bytes | str | Path,
    name: str = "model",
    *,
    contract: Contract | None = None,
    samples: NDArray | Sequence[NDArray] | None = None,
) -> dict[str, str]:
    """C and C++ files for TensorFlow Lite Micro.

    Args:
        model: content or path of a .tflite file, preferably of a fixed batch of 1.
        name: prefix of all files and identifiers, a C identifier.
        contract: how raw samples become inputs; None takes the one that the file carries.
        samples: real inputs for the golden vectors, float32 [N, ...] per input; None takes random codes.

    Returns:
        File name to text: `{name}.h` (C and C++: sizes, scales, zero points, quantize and dequantize, arena bound),
        `{name}_data.cc` (the bytes, 16-byte aligned), `{name}_ops.h` (C++: the operators to register),
        `{name}_golden.h` and `{name}_golden.cc` (test vectors).

    Raises:
        ConfigError: `name` is no identifier, or C has no type for the dtype of an input or output.
        TfliteFileError: the model is no usable file.
    """
    if identifier(name) != name:
        raise ConfigError(f"name={name!r}: expected a C identifier, such as {identifier(name)!r}")
    content = read_bytes(model)
    graph = read(content)
    _check_types(graph)
    contract = contract or read_metadata(content).contract
    vectors = golden_vectors(content, samples)
    return {
        f"{name}.h": _header(name, content, graph, contract),
        f"{name}_data.cc": _data(name, content),
        f"{name}_ops.h": _operators(name, graph),
        f"{name}_golden.h": _golden_header(name, graph, vectors),
        f"{name}_golden.cc": _golden_data(name, graph, vectors),
    }


def _check_types(graph: TfliteGraph) -> None:
    for tensor in (*graph.inputs, *graph.outputs):
        if tensor.dtype not in C_TYPES:
            raise ConfigError(f"tensor {tensor.name!r} is {tensor.dtype}, which has no plain C type")


def _io_tensors(graph: TfliteGraph) -> Iterator[tuple[str, Tensor]]:
    """Each input and output with its word in identifiers: input, input1, output, ..."""
    for word, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for index, tensor in enumerate(tensors):
            yield (word if index == 0 else f"{word}{index}"), tensor


def _elements(tensor: Tensor) -> int:
    return int(np.prod([max(size, 1) for size in tensor.shape[1:]], dtype=np.int64))


def _words(name: str, part: str = "") -> dict[str, str]:
    """What all templates take: the model's name, in capitals, and in the guard of the file."""
    return {"name": name, "prefix": name.upper(), "guard": f"{name}{part}_h_".upper()}


def _header(name: str, content: bytes, graph: TfliteGraph, contract: Contract | None) -> str:
    parts = [_tensor(name, word, tensor) for word, tensor in _io_tensors(graph)]
    if contract is not None:
        parts.append(_preprocessing(name, graph.inputs[0], contract))
    sizes = {"bytes": len(content), "alignment": ALIGNMENT, "arena_bytes": arena_lower_bound(graph)}
    return fill("model.h", {**_words(name), **sizes, "tensors": "\n".join(parts)})


def _tensor(name: str, word: str, tensor: Tensor) -> str:
    """Size, scale, zero point and the conversion of one tensor."""
    values = {
        **_words(name),
        "prefix": f"{name}_{word}".upper(),
        "word": word,
        "tensor": tensor.name.split(";")[0],
        "dtype": tensor.dtype,
        "shape": " x ".join(str(max(size, 1)) for size in tensor.shape),
        "c_type": C_TYPES[tensor.dtype],
        "elements": _elements(tensor),
    }
    params = tensor.quantization
    low, high = (0, 0) if params is None else params.code_limits
    values |= {"low": low, "high": high, "scale": "", "zero_point": ""}
    if params is not None:
        values |= {"scale": float_literal(float(params.scale[0])), "zero_point": int(params.zero_point[0])}
    return fill("tensor.h", values, {"quantized": params is not None})


def _preprocessing(name: str, tensor: Tensor, contract: Contract) -> str:
    """The input contract as a C function of one raw value."""
    multiplier, offset = contract.affine
    channels = max(len(multiplier), len(offset))
    values = {
        "name": name,
        "facts": ", ".join(f"{key}={value}" for key, value in contract.to_dict().items() if value is not None),
        "raw_type": "uint8_t" if contract.raw_dtype == "uint8" else "float",
        "multipliers": ", ".join(map(float_literal, multiplier)),
        "offsets": ", ".join(map(float_literal, offset)),
        "index": f"channel % {channels}" if channels > 1 else "0",
        "c_type": C_TYPES[tensor.dtype],
    }
    facts = {"bgr": contract.colour_order == "bgr", "quantized": tensor.quantization is not None}
    return fill("contract.h", values, facts)


def _data(name: str, content: bytes) -> str:
    return fill("data.cc", {**_words(name), "alignment": ALIGNMENT, "body": bytes_body(content)})


def _operators(name: str, graph: TfliteGraph) -> str:
    calls, missing = resolver_calls(op for subgraph in graph.subgraphs for op in subgraph.ops)
    notes = [f"// TensorFlow Lite Micro has no kernel for {label}: register your own.\n" for label in missing]
    values = {
        "camel": "".join(part.capitalize() for part in name.split("_")),
        "notes": "".join(notes),
        "count": len(calls) + len(missing),
        "calls": "".join(f"  if (resolver.{call}() != kTfLiteOk) return kTfLiteError;\n" for call in calls),
    }
    return fill("ops.h", {**_words(name, "_ops"), **values})


def _golden_header(name: str, graph: TfliteGraph, vectors: GoldenVectors) -> str:
    kernels = "its default and its reference kernels agree on them" if vectors.exact else "by its default kernels"
    tensors = "".join(
        f"extern const {name}_{word}_t {name}_golden_{word}[{len(vectors)}][{_elements(tensor)}];\n"
        for word, tensor in _io_tensors(graph)
    )
    values = {"kernels": kernels, "samples": len(vectors), "tensors": tensors}
    return fill("golden.h", {**_words(name, "_golden"), **values})


def _golden_data(name: str, graph: TfliteGraph, vectors: GoldenVectors) -> str:
    parts = [f'#include "{name}_golden.h"\n']
    arrays = (*vectors.inputs, *vectors.outputs)
    for (word, tensor), values in zip(_io_tensors(graph), arrays, strict=True):
        rows = "".join(f"  {{\n{array_body(row)}  }},\n" for row in values)
        size = f"[{len(vectors)}][{_elements(tensor)}]"
        parts.append(f"const {name}_{word}_t {name}_golden_{word}{size} = {{\n{rows}}};\n")
    return "\n".join(parts)
