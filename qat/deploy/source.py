"""Write a `.tflite` as C source for microcontrollers: the model, its scales, its operators, and test vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qat.contract import Contract
from qat.deploy.c_text import C_TYPES, array_body, bytes_body, float_literal, identifier
from qat.deploy.golden import GoldenVectors, golden_vectors
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
        model: the file, as bytes or by path, preferably of a fixed batch of 1.
        name: prefix of all files and identifiers.
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


def _guard(name: str) -> tuple[str, str]:
    word = f"{name.upper()}_H_"
    return f"#ifndef {word}\n#define {word}\n", f"#endif  // {word}\n"


_EXTERN_C = '#ifdef __cplusplus\nextern "C" {\n#endif\n'
_END_EXTERN_C = '#ifdef __cplusplus\n}  // extern "C"\n#endif\n'


def _header(name: str, content: bytes, graph: TfliteGraph, contract: Contract | None) -> str:
    opening, closing = _guard(name)
    prefix = name.upper()
    parts = [
        f"// {name}: a TensorFlow Lite model of {len(content)} bytes. C and C++.\n",
        opening,
        "#include <math.h>\n#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n",
        _EXTERN_C,
        f"extern const unsigned char {name}_data[];  // {ALIGNMENT}-byte aligned\n"
        f"enum {{ {prefix}_DATA_SIZE = {len(content)} }};\n",
        "// What the activations need at least. The runtime's own structures and scratch buffers come on top:\n"
        "// begin with twice as much, and read arena_used_bytes() after AllocateTensors().\n"
        f"enum {{ {prefix}_ARENA_LOWER_BOUND = {arena_lower_bound(graph)} }};\n",
        *(_numbers(name, word, tensor) for word, tensor in _io_tensors(graph)),
        *([_preprocessing(name, graph.inputs[0], contract)] if contract is not None else []),
        _END_EXTERN_C,
        closing,
    ]
    return "\n".join(parts)


def _numbers(name: str, word: str, tensor: Tensor) -> str:
    """Size, scale, zero point and the conversion of one tensor."""
    prefix = f"{name}_{word}".upper()
    shape = " x ".join(str(max(size, 1)) for size in tensor.shape)
    lines = [
        f"// {word}: {tensor.name.split(';')[0]}, {tensor.dtype}, {shape}",
        f"typedef {C_TYPES[tensor.dtype]} {name}_{word}_t;",
        f"enum {{ {prefix}_ELEMENTS = {_elements(tensor)} }};",
    ]
    if tensor.quantization is None:
        return "\n".join([*lines, "// No scale: fed and read as it is.", ""])
    params, kind = tensor.quantization, C_TYPES[tensor.dtype]
    low, high = params.code_limits
    return "\n".join(
        [
            *lines,
            f"#define {prefix}_SCALE {float_literal(float(params.scale[0]))}",
            f"#define {prefix}_ZERO_POINT ({int(params.zero_point[0])})",
            f"static inline {kind} {name}_quantize_{word}(float real) {{",
            f"  float code = roundf(real / {prefix}_SCALE) + (float){prefix}_ZERO_POINT;",
            f"  if (!(code > ({low}.0f))) return ({low});  // NaN as well",
            f"  return code > {high}.0f ? ({kind}){high} : ({kind})code;",
            "}",
            f"static inline float {name}_dequantize_{word}({kind} code) {{",
            f"  return (float)((int32_t)code - {prefix}_ZERO_POINT) * {prefix}_SCALE;",
            "}",
            "",
        ]
    )


def _preprocessing(name: str, tensor: Tensor, contract: Contract) -> str:
    """The input contract as a C function of one raw value."""
    multiplier, offset = contract.affine
    channels = max(len(multiplier), len(offset))
    raw_type = "uint8_t" if contract.raw_dtype == "uint8" else "float"
    facts = ", ".join(f"{k}={v}" for k, v in contract.to_dict().items() if v is not None)
    index = f"channel % {channels}" if channels > 1 else "0"
    lines = [
        f"// Input contract: {facts}.",
        f"static inline float {name}_preprocess({raw_type} raw, int channel) {{",
        f"  static const float multiplier[] = {{{', '.join(map(float_literal, multiplier))}}};",
        f"  static const float offset[] = {{{', '.join(map(float_literal, offset))}}};",
        f"  (void)channel;\n  return (float)raw * multiplier[{index}] + offset[{index}];",
        "}",
    ]
    if contract.colour_order == "bgr":
        lines.insert(1, "// The model takes BGR: channel 0 is blue. Swap red and blue of an RGB image first.")
    if tensor.quantization is not None:
        lines += [
            "// From a raw value to the code that the model is fed.",
            f"static inline {C_TYPES[tensor.dtype]} {name}_code_of_raw({raw_type} raw, int channel) {{",
            f"  return {name}_quantize_input({name}_preprocess(raw, channel));",
            "}",
        ]
    return "\n".join([*lines, ""])


def _data(name: str, content: bytes) -> str:
    return (
        f'#include "{name}.h"\n\n'
        f"alignas({ALIGNMENT}) const unsigned char {name}_data[] = {{\n{bytes_body(content)}}};\n\n"
        f'static_assert(sizeof({name}_data) == {name.upper()}_DATA_SIZE, "the file is not whole");\n'
    )


def _operators(name: str, graph: TfliteGraph) -> str:
    calls, missing = resolver_calls(op for subgraph in graph.subgraphs for op in subgraph.ops)
    opening, closing = _guard(f"{name}_ops")
    notes = [f"// TensorFlow Lite Micro has no kernel for {label}: register your own.\n" for label in missing]
    body = "".join(f"  if (resolver.{call}() != kTfLiteOk) return kTfLiteError;\n" for call in calls)
    camel = "".join(part.capitalize() for part in name.split("_"))
    return "".join(
        [
            f"// The operators that {name} needs, and no others. C++.\n",
            opening,
            '\n#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"\n\n',
            *notes,
            f"constexpr int k{camel}OpCount = {len(calls) + len(missing)};\n\n",
            f"inline TfLiteStatus Register{camel}Ops(\n"
            f"    tflite::MicroMutableOpResolver<k{camel}OpCount>& resolver) {{\n",
            body,
            "  return kTfLiteOk;\n}\n\n",
            closing,
        ]
    )


def _golden_header(name: str, graph: TfliteGraph, vectors: GoldenVectors) -> str:
    opening, closing = _guard(f"{name}_golden")
    kernels = "its default and its reference kernels agree on them" if vectors.exact else "by its default kernels"
    tensors = "".join(
        f"extern const {name}_{word}_t {name}_golden_{word}[{len(vectors)}][{_elements(tensor)}];\n"
        for word, tensor in _io_tensors(graph)
    )
    return "\n".join(
        [
            f"// Codes in and codes out of {name}, computed by LiteRT; {kernels}.",
            opening,
            f'#include "{name}.h"\n',
            _EXTERN_C,
            f"enum {{ {name.upper()}_GOLDEN_SAMPLES = {len(vectors)} }};",
            tensors,
            _END_EXTERN_C,
            closing,
        ]
    )


def _golden_data(name: str, graph: TfliteGraph, vectors: GoldenVectors) -> str:
    parts = [f'#include "{name}_golden.h"\n']
    arrays = (*vectors.inputs, *vectors.outputs)
    for (word, tensor), values in zip(_io_tensors(graph), arrays, strict=True):
        rows = "".join(f"  {{\n{array_body(row)}  }},\n" for row in values)
        size = f"[{len(vectors)}][{_elements(tensor)}]"
        parts.append(f"const {name}_{word}_t {name}_golden_{word}{size} = {{\n{rows}}};\n")
    return "\n".join(parts)
