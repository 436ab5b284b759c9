"""How to feed this very file from Python, Kotlin, Swift and C++: its own scale, zero point, shape and preprocessing.

This is where most apps go wrong: a cast where a scale belongs, another normalization than in training, codes read as
probabilities. Each snippet does the three steps apart: preprocess, quantize, dequantize.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qat.contract import Contract
from qat.deploy.c_text import C_TYPES, float_literal
from qat.deploy.snippet_texts import CPP, KOTLIN, PYTHON, SWIFT
from qat.tflite.graph import Tensor, TfliteGraph
from qat.tflite.metadata import read_metadata
from qat.tflite.reader import read, read_bytes

FILES = {"feed.py": PYTHON, "Feed.kt": KOTLIN, "Feed.swift": SWIFT, "feed.cc": CPP}
_KOTLIN_TYPES = {"int8": "Byte", "uint8": "Byte", "int16": "Short", "int32": "Int", "int64": "Long", "float32": "Float"}
_WHY_RESET = "the state of a recurrent layer outlives a call, and each sample starts afresh"
_SWIFT_TYPES = {name: "Float" if name == "float32" else name.replace("i", "I").replace("u", "U") for name in C_TYPES}


def feeding_snippets(
    model: bytes | str | Path, *, file_name: str = "model.tflite", contract: Contract | None = None
) -> dict[str, str]:
    """Feeding code for the first input and the first output of a file.

    Args:
        model: the file, as bytes or by path.
        file_name: how the app will call it.
        contract: how raw samples become inputs; by default the one that the file carries. Without one, the snippets
            take preprocessed inputs and say so.

    Returns:
        File name to text: feed.py, Feed.kt, Feed.swift, feed.cc.
    """
    content = read_bytes(model)
    graph = read(content)
    values = _values(graph, contract or read_metadata(content).contract, file_name)
    return {name: _filled(text, values) for name, text in FILES.items()}


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


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
        "CONTRACT": _in_words(contract),
        "SHAPE": ", ".join(str(max(size, 1)) for size in source.shape),
        "ELEMENTS": str(source.size),
        "OUT_ELEMENTS": str(target.size),
        "CHANNELS": str(source.shape[-1] if source.shape else 1),
        "MULTIPLIERS": ", ".join(f"{value:.9g}" for value in affine.multiplier),
        "OFFSETS": ", ".join(f"{value:.9g}" for value in affine.offset),
        "MULTIPLIERS_F": ", ".join(map(float_literal, affine.multiplier)),
        "OFFSETS_F": ", ".join(map(float_literal, affine.offset)),
        "BGR": "true" if contract is not None and contract.colour_order == "bgr" else "false",
        "BGR_PY": "[..., ::-1]" if contract is not None and contract.colour_order == "bgr" else "",
        "RAW_DTYPE": contract.raw_dtype if contract is not None else "float32",
        "RAW_C": C_TYPES[contract.raw_dtype] if contract is not None else "float",
        **_python(graph),
        **_resets(graph),
        **_numbers("IN", source),
        **_numbers("OUT", target),
    }


def _python(graph: TfliteGraph) -> dict[str, str]:
    """The lines of feed.py that are not in every file's; what they hold of the file's numbers is filled in later."""
    source, target = graph.inputs[0], graph.outputs[0]
    doc, quantize = "Real inputs as the file takes them.", ["    return real.astype(np.@IN_DTYPE@)"]
    if source.quantization:
        doc = "Real inputs to the file's codes: scale, round, zero point, saturate. Never a bare astype."
        quantize = [
            "    scaled = real.astype(np.float64) / @IN_SCALE@",
            "    rounded = np.trunc(scaled + np.copysign(0.5, scaled))",
            "    return np.clip(rounded + @IN_ZERO@, @IN_LOW@, @IN_HIGH@).astype(np.@IN_DTYPE@)",
        ]
    prepare, allocate = [], "interpreter.allocate_tensors()"
    if any(size < 0 for size in source.shape_signature[1:]):  # of each sample's own size
        prepare += ["interpreter.resize_tensor_input(source, codes[None].shape)", allocate]
    if graph.remembers:
        prepare.append(f"interpreter.reset_all_variables()  # {_WHY_RESET}")
    return {
        "QUANTIZE_DOC_PY": doc,
        "QUANTIZE_PY": "\n".join(quantize),
        "DEQUANTIZE_PY": "(codes.astype(np.float32) - @OUT_ZERO@) * np.float32(@OUT_SCALE@)"
        if target.quantization
        else "codes",
        "PREPARE_PY": "".join(f"        {line}\n" for line in prepare),
        "ALLOCATE_PY": "" if allocate in prepare else f"    {allocate}\n",
        "ONE_PY": "codes[None]" if graph.batch == 1 else f"np.repeat(codes[None], {graph.batch}, axis=0)",
        "FIRST_PY": "[0]" if graph.by_sample(target) else "",
    }


def _resets(graph: TfliteGraph) -> dict[str, str]:
    """What makes each sample start with an empty state; Swift's interpreter cannot do that, so it takes a new one."""
    if not graph.remembers:
        nothing = dict.fromkeys(("RESET_KOTLIN", "RESET_SWIFT", "RESET_C"), "")
        return {**nothing, "INTERPRETER_SWIFT": "_ interpreter: Interpreter, "}
    return {
        "RESET_KOTLIN": f"        interpreter.resetVariableTensors()  // {_WHY_RESET}\n",
        "RESET_SWIFT": f"        let interpreter = try load()  // a new one: {_WHY_RESET}\n",
        "RESET_C": f"  interpreter.ResetVariableTensors();  // {_WHY_RESET}\n",
        "INTERPRETER_SWIFT": "",
    }


def _numbers(side: str, tensor: Tensor) -> dict[str, str]:
    params = tensor.quantization
    scale = float(params.scale[0]) if params else 1.0
    zero_point = int(params.zero_point[0]) if params else 0
    low, high = params.code_limits if params else (0, 0)
    return {
        f"{side}_QUANTIZED": "true" if params else "false",
        f"{side}_DTYPE": tensor.dtype,
        f"{side}_C": C_TYPES.get(tensor.dtype, tensor.dtype),
        f"{side}_KOTLIN": _KOTLIN_TYPES.get(tensor.dtype, tensor.dtype),
        f"{side}_SWIFT": _SWIFT_TYPES.get(tensor.dtype, tensor.dtype),
        f"{side}_UNSIGNED": "true" if tensor.dtype == "uint8" else "false",
        f"{side}_SCALE": f"{scale:.9g}",
        f"{side}_SCALE_F": float_literal(scale),
        f"{side}_ZERO": str(zero_point),
        f"{side}_LOW": str(low),
        f"{side}_HIGH": str(high),
    }


def _in_words(contract: Contract | None) -> str:
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
