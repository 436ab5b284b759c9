"""The TFLite converter, driven on a traced model: quietly, with an open batch where that works, its count checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from tensorflow.lite.python.convert_phase import ConverterError

from qat.errors import CalibrationError, ModelError
from qat.export import schemes
from qat.export.deep_stack import with_deep_stack
from qat.export.tf_converter import Converter
from qat.export.traced_function import TracedModel
from qat.tflite.runtime.quiet import quiet
from qat.warning import warn

# Whatever the converter's Python and C++ layers raise for a graph that they do not take.
_REFUSALS = (ConverterError, tf.errors.OpError, ValueError, RuntimeError, NotImplementedError)

OPEN_SIZE = 64  # tried for a dimension that the model leaves open, as the length of a sequence


@dataclass(frozen=True)
class ConverterOptions:
    scheme: str  # one of convert.SCHEMES, or "trained", or "stock": trained, whatever the converter leaves in float
    io: str
    allow_float: bool
    low_bit: bool
    per_channel: bool


def convert_traced(
    traced: TracedModel, retrace: Callable[[int], TracedModel], batches: list[list[NDArray]], options: ConverterOptions
) -> tuple[bytes, TracedModel]:
    """Convert; with the batch fixed at 1 if, and only if, the model does not convert or run with an open one.

    Args:
        traced: trace of the model, as `trace_model` returns it.
        retrace: function of a batch size: the model's trace for it.
        batches: calibration data, arrays [n, ...] in input order; empty where the scheme needs none.
        options: scheme, io and the other options of the conversion.

    Returns:
        Bytes of the file, and the trace that it was made from.

    Raises:
        CalibrationError: the converter did not take all batches.
        ModelError: the converter refused the model.
    """
    try:
        content = _convert_once(traced, batches, options)
        reason = None if traced.batch_size is not None else why_batch_is_fixed(content)
    except CalibrationError:
        raise
    except _REFUSALS as error:
        if traced.batch_size is not None:
            raise ModelError(f"the TFLite converter refused the model: {_explain(error)}") from error
        reason = _explain(error)
    if reason is None:
        return content, traced
    fixed = retrace(1)  # an op may need it
    try:
        content = _convert_once(fixed, batches, options)
    except _REFUSALS as error:
        raise ModelError(f"the TFLite converter refused the model: {_explain(error)}") from error
    warn_of_one_sample(reason)
    return content, fixed


def warn_of_one_sample(reason: str) -> None:
    """Warn that a file's batch is fixed at 1; the reason is one sentence."""
    warn(f"the file takes one sample at a time; with an open batch it does not work: {reason}")


def _convert_once(traced: TracedModel, batches: list[list[NDArray]], options: ConverterOptions) -> bytes:
    converter = Converter.from_concrete_functions([traced.function], traced.module)
    # A SavedModel round trip costs most of the time, and only fusable recurrent layers need what it carries.
    converter.experimental_lower_to_saved_model = traced.composite
    converter._experimental_disable_per_channel = not options.per_channel
    counted = schemes.CountedBatches(_rebatched(batches, traced.batch_size))
    if options.scheme in ("trained", "stock"):
        schemes.trained(converter, options.io, options.low_bit)
    elif options.scheme in schemes.CALIBRATED:
        schemes.CALIBRATED[options.scheme](converter, counted, options.io, options.allow_float)
    else:
        schemes.UNCALIBRATED[options.scheme](converter)
    with quiet():
        content = with_deep_stack(converter.convert)
    if batches and not counted.all_taken:
        raise CalibrationError(f"the converter took {len(counted.seen_batches)} of {counted.total} calibration batches")
    return content


def _rebatched(batches: list[list[NDArray]], batch_size: int | None) -> list[list[NDArray]]:
    """The same samples in batches of one size, the last filled up by repeating from the start.

    The calibrator of a model with several inputs breaks on a last, shorter batch; and ranges do not mind a repetition.
    """
    shapes = {tuple(values.shape[1:] for values in batch) for batch in batches}
    if len(shapes) != 1:  # nothing to do, or open sizes, where each batch has its own
        return batches
    arrays = [np.concatenate(values) for values in zip(*batches, strict=True)]
    count = len(arrays[0])
    size = batch_size or len(batches[0][0])
    order = np.arange(-(-count // size) * size) % count
    return [[values[order[i : i + size]] for values in arrays] for i in range(0, len(order), size)]


def why_batch_is_fixed(content: bytes) -> str | None:
    """None if the file allocates with a batch of 2, else what it says."""
    with quiet():
        interpreter = Interpreter(
            model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        try:
            for detail in interpreter.get_input_details():
                shape = detail["shape_signature"]
                sizes = [size if size > 0 else OPEN_SIZE for size in shape[1:]]
                interpreter.resize_tensor_input(detail["index"], [2, *sizes])
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            return " ".join(str(error).split())[:300]
    return None


def _explain(error: Exception) -> str:
    """The converter's reasons, without its stack of locations."""
    text = str(error).strip()
    reasons = re.findall(r"error: (.+)", text) or [line for line in text.splitlines() if line.strip()]
    ops = re.findall(r"Flex ops: (.+)|Custom ops: (.+)", text)
    named = [f"no TFLite kernel for {', '.join(filter(None, pair))}" for pair in ops]
    return "; ".join(dict.fromkeys([*named, *(reason.strip()[:200] for reason in reasons[:2])]))[:400]
