"""Write code that feeds a file from Python, Kotlin, Swift and C++ with its own scale, zero point, shape and contract.

This is where most apps go wrong: a cast in place of a scale, another normalization than in training, codes read as
probabilities. Each snippet has one function each for preprocessing, quantizing and dequantizing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qat.contract import Contract
from qat.deploy.c_text import C_TYPES, float_literal
from qat.deploy.template import fill
from qat.tflite.graph import Tensor, TfliteGraph
from qat.tflite.metadata import read_metadata
from qat.tflite.reader import read, read_bytes

FILES = ("feed.py", "Feed.kt", "Feed.swift", "feed.cc")
_WHY_RESET = "the state of a recurrent layer outlives a call, and each sample starts afresh"
_KOTLIN_TYPES = {"int8": "Byte", "uint8": "Byte", "int16": "Short", "int32": "Int", "int64": "Long", "float32": "Float"}
_KOTLIN_TYPES |= {"bool": "Byte"}
_SWIFT_TYPES = {name: name.replace("i", "I").replace("u", "U") for name in C_TYPES}
_SWIFT_TYPES |= {"float32": "Float", "bool": "UInt8"}


def feeding_snippets(
    model: bytes | str | Path, *, file_name: str = "model.tflite", contract: Contract | None = None
) -> dict[str, str]:
    """Feeding code for the first input and the first output of a file.

    Args:
        model: content or path of a .tflite file.
        file_name: name that the file has in the app, as the code opens it.
        contract: how raw samples become inputs; None takes the one that the file carries. Without one, the snippets
            take preprocessed inputs and say so.

    Returns:
        File name to its text: feed.py, Feed.kt, Feed.swift, feed.cc.

    Raises:
        TfliteFileError: `model` is no usable file.
    """
    content = read_bytes(model)
    graph = read(content)
    contract = contract or read_metadata(content).contract
    values, facts = _values(graph, contract, file_name), _facts(graph, contract)
    return {name: fill(name, values, facts) for name in FILES}


@dataclass(frozen=True)
class _Affine:
    multiplier: tuple[float, ...]
    offset: tuple[float, ...]


def _values(graph: TfliteGraph, contract: Contract | None, file_name: str) -> dict[str, str]:
    source, target = graph.inputs[0], graph.outputs[0]
    affine = _Affine(*contract.affine) if contract is not None else _Affine((1.0,), (0.0,))
    return {
        "FILE": file_name,
        "STEM": Path(file_name).stem,
        "EXTENSION": Path(file_name).suffix.lstrip("."),
        "CONTRACT": _describe_contract(contract),
        "SHAPE": ", ".join(str(max(size, 1)) for size in source.shape),
        "ELEMENTS": str(source.size),
        "OUT_ELEMENTS": str(target.size),
        "CHANNELS": str(source.shape[-1] if source.shape else 1),
        "MULTIPLIERS": ", ".join(f"{value:.9g}" for value in affine.multiplier),
        "OFFSETS": ", ".join(f"{value:.9g}" for value in affine.offset),
        "MULTIPLIERS_F": ", ".join(map(float_literal, affine.multiplier)),
        "OFFSETS_F": ", ".join(map(float_literal, affine.offset)),
        "RAW_DTYPE": contract.raw_dtype if contract is not None else "float32",
        "RAW_C": C_TYPES[contract.raw_dtype] if contract is not None else "float",
        "BATCH": str(graph.batch),
        "WHY_RESET": _WHY_RESET,
        **_numbers("IN", source),
        **_numbers("OUT", target),
    }


def _facts(graph: TfliteGraph, contract: Contract | None) -> dict[str, bool]:
    """The conditions that lines of the templates depend on."""
    source, target = graph.inputs[0], graph.outputs[0]
    return {
        "bgr": contract is not None and contract.colour_order == "bgr",
        "quantized_in": source.quantization is not None,
        "quantized_out": target.quantization is not None,
        "remembers": graph.remembers,
        "of_any_size": any(size < 0 for size in source.shape_signature[1:]),  # each sample has its own
        "of_one_sample": graph.batch == 1,
        "out_by_sample": graph.by_sample(target),
    }


def _numbers(side: str, tensor: Tensor) -> dict[str, str]:
    params = tensor.quantization
    scale = float(params.scale[0]) if params else 1.0
    zero_point = int(params.zero_point[0]) if params else 0
    low, high = params.code_limits if params else (0, 0)
    kotlin = _KOTLIN_TYPES.get(tensor.dtype, tensor.dtype)
    return {
        f"{side}_DTYPE": tensor.dtype,
        f"{side}_C": C_TYPES.get(tensor.dtype, tensor.dtype),
        f"{side}_KOTLIN": kotlin,
        f"{side}_BUFFER": "" if kotlin == "Byte" else kotlin,  # of ByteBuffer's get and put
        f"{side}_NUMBER_KOTLIN": "(code.toInt() and 0xff)" if tensor.dtype == "uint8" else "code",
        f"{side}_SWIFT": _SWIFT_TYPES.get(tensor.dtype, tensor.dtype),
        f"{side}_SCALE": f"{scale:.9g}",
        f"{side}_SCALE_F": float_literal(scale),
        f"{side}_ZERO": str(zero_point),
        f"{side}_LOW": str(low),
        f"{side}_HIGH": str(high),
    }


def _describe_contract(contract: Contract | None) -> str:
    if contract is None:
        return "unknown: the file carries no contract, so hand over inputs that are preprocessed as in training"
    shape = " x ".join(map(str, contract.shape))
    steps = [f"resize to {shape} ({contract.resize})"] if contract.layout == "NHWC" else [f"shape {shape}"]
    if contract.colour_order == "bgr":
        steps.append("swap red and blue")
    if contract.range is not None:
        steps.append(f"0..255 becomes {contract.range[0]:g}..{contract.range[1]:g}")
    elif contract.mean is not None:
        steps.append(f"(raw / 255 - {contract.mean}) / {contract.std}")
    else:
        steps.append("values unscaled")
    return "; ".join(steps)
