"""Keras model in, `.tflite` bytes out; the file is read back and verified before it is returned."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.calibration_data import Calibration, as_batches
from qat.calls import explain_calls
from qat.config import QuantConfig
from qat.errors import CalibrationError, CalibrationWarning, ConfigError, LongLoopError, ModelError, WrongFileError
from qat.export.convert_options import OURS, TRAINED, is_switched_off, refuse_unusable_options, warn_of_idle_options
from qat.export.float_io import make_io_integer
from qat.export.last_files import Exported
from qat.export.lowered_file import write_qat_file
from qat.export.lowering import is_lowerable, read_weights_once, refuse_unknown_layers
from qat.export.self_check import check_against_model
from qat.export.tf_conversion import ConverterOptions, convert_traced
from qat.export.traced_function import TracedModel, find_broken_weights, graph_name, trace_model
from qat.models.keras_types import KerasModel
from qat.models.leading_layers import find_unscaled_inputs
from qat.models.which_keras import unwrap
from qat.quantization import quantize_model
from qat.quantization.keras.in_float32 import in_float32
from qat.tflite.broken_numbers import refuse_broken_numbers
from qat.tflite.editing import apply_edit, restore_order, set_metadata, set_names
from qat.tflite.graph import TfliteGraph, layer_name
from qat.tflite.metadata import METADATA_NAME, Metadata
from qat.tflite.reader import read
from qat.tflite.trusted_files import trust
from qat.tflite.verify import Verification, verify
from qat.warning import warn

INTEGER = ("trained", "int8", "int16x8")  # "trained": what a QAT model of others asks for
COMPARES = {"EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL"}


@explain_calls()
def convert(
    model: KerasModel | TracedModel | Exported,
    *,
    calibration: Calibration | None = None,
    scheme: str | None = None,
    io: str = "int8",
    engine: str = "auto",
    allow_float: bool = False,
    low_bit: bool | None = None,
    per_channel: bool = True,
    batch_size: int | None = None,
    signature: str = "serving_default",
    check: bool = True,
) -> bytes:
    """Convert a Keras model to a TFLite file.

    A QAT model (its graph holds FakeQuant ops) becomes the int8 file that it was trained to be. A float model becomes
    what `scheme` says: "int8" (the default when there is calibration), "int16x8", "dynamic_range", "float16",
    "float32". An int8 file of a float model is made as that of an untrained QAT model: the canonical form, its
    ranges from calibration; that is what `quant=ptq` writes. The file has the model's input names and its outputs in
    the model's order, one signature, and an open batch unless `batch_size` or an op fixes it, or the
    `Input(batch_size=...)` of a model that is not of `quantize_model`.
    A warning names an option that is given and does not count for the model or the scheme.

    Args:
        model: a model of Keras 3 or of tf_keras (Keras 2), float or of `quantize_model`; or, for one that is converted
            repeatedly while it trains, a `qat.export.last_files.Exported` (of a model of `quantize_model`) or a result
            of `qat.export.traced_function.trace_model`: converted again if its weights have changed.
        calibration: for "int8" and "int16x8": an array [N, ...], a list in `model.inputs` order, a dict by input name,
            or an iterable of batches of these.
        scheme: one of the words above; None chooses; a QAT model takes "int8" only.
        io: dtype of the file's inputs and outputs for integer schemes: "int8", "uint8", "float32" ("int16x8": int16 or
            "float32"). The other schemes have float32 there, always. Integer inputs (token ids) keep their dtype.
        engine: what computes the ranges of a float model's int8 file: "auto" (`qat.quantization`; TFLite's calibrator
            where a model has no canonical form, with a warning), or "tflite". For a QAT model that is not
            ours (stock tfmot's), "tflite" gives the file as TensorFlow's converter leaves it. A model of
            `quantize_model` has its ranges; of other schemes, TensorFlow's converter makes the file either way.
        allow_float: keep a file in which some ops stayed in float, instead of raising.
        low_bit: of QAT models, store weights of 4 bits as int4; of those of `quantize_model`, None does so where there
            are any. As int8 (False) they have kernels that round otherwise: codes may be up to 4 away from the model's.
        per_channel: of float models with an integer scheme or "dynamic_range", one scale for each output channel of a
            weight, not one for the tensor. A model of `quantize_model` has its scales, by `QuantConfig.per_channel`.
        batch_size: of all models, samples per call, fixed, as microcontrollers and some accelerators need; None leaves
            it open. It gives way to the size that a model's own `Input(batch_size=...)` has.
        signature: the name of the file's signature, by which a runtime finds its inputs and outputs by name.
        check: of a model of `qat.quantization`, and an int8 file made by it: run file and model on up to four
            calibration rows and compare their output codes. Where they differ by more than the thresholds of
            `qat.config`'s ParityConfig, a warning names the first layer that differs. It takes up to
            a third of the conversion's time.

    Returns:
        Bytes of the file.

    Raises:
        CalibrationError: calibration is missing, empty, not finite or misshapen, or the converter did not take it all.
        ConfigError: an option has a value that it does not take, or two of them contradict each other.
        ModelError: the model does not convert, or weights are not finite, or ops stayed in float and `allow_float` is
            off; each is named.
        WrongFileError: a ModelError: the file's outputs are constant, all zero or not finite where the model's are not,
            or it holds scales or biases that its kernels cannot compute with; the layer is named.
    """
    given: dict[str, Any] = {
        "scheme": scheme,
        "io": io,
        "engine": engine,
        "allow_float": allow_float,
        "low_bit": low_bit,
    }
    given |= {"per_channel": per_channel, "batch_size": batch_size, "signature": signature, "check": check}
    refuse_unusable_options(given)
    given["calibration"] = calibration
    model = unwrap(model)
    qat_model = in_float32(unwrap(model.model) if isinstance(model, (Exported, TracedModel)) else model)
    if not is_lowerable(qat_model):
        refuse_unknown_layers(qat_model)
        traced = trace_model(model if isinstance(model, TracedModel) else qat_model, batch_size)
        scheme = _choose_scheme(qat_model, traced.fake_quantized, calibration, scheme)
        warn_of_idle_options(scheme, qat_model, given)
        _warn_of_own_batch(traced, batch_size)
        options = ConverterOptions(scheme, io, allow_float, bool(low_bit), per_channel)
        return _convert_by_tensorflow(traced, traced is not model, options, calibration, engine, signature, check)
    _choose_scheme(qat_model, True, calibration, scheme)
    warn_of_idle_options(OURS, qat_model, given)
    settings = (batch_size, io, allow_float, low_bit is not False, signature)
    return _convert_quantized(qat_model, settings, check, model)


def _convert_quantized(
    qat_model: KerasModel, settings: tuple[int | None, str, bool, bool, str], check: bool, kept: Any = None
) -> bytes:
    """`convert` of a model of `quantize_model`, by arguments of `_write_qat_file`; `kept` may hold its last files."""
    with read_weights_once(qat_model):
        if isinstance(kept, (Exported, TracedModel)):
            file = None
            content = kept.files.get_or_make((kept.state(), settings), lambda: _write_qat_file(qat_model, *settings)[0])
        else:
            content, file = _write_qat_file(qat_model, *settings)
        if check:
            check_against_model(qat_model, content, file)
    return content


def _convert_by_tensorflow(
    traced: TracedModel,
    is_fresh: bool,
    options: ConverterOptions,
    calibration: Calibration | None,
    engine: str,
    signature: str,
    check: bool,
) -> bytes:
    """`convert` by TensorFlow's converter: of any model but one of `qat.quantization`."""
    if options.scheme == "trained" and engine == "tflite":
        options = replace(options, scheme="stock")
    batches = []
    if options.scheme in ("int8", "int16x8"):
        batches = as_batches(calibration, traced.inputs, unscaled_inputs=find_unscaled_inputs(traced.model))
    if options.scheme == "int8" and engine == "auto":
        content = _convert_by_canonical_form(traced, batches, options, signature, check)
        if content is not None:
            return content
    if is_fresh or batches:
        return _convert_trace(traced, batches, options, signature)
    origin = (traced.state(), options, signature)
    return traced.files.get_or_make(origin, lambda: _convert_trace(traced, batches, options, signature))


def _write_qat_file(
    model: KerasModel, batch_size: int | None, io: str, allow_float: bool, low_bit: bool, signature: str
) -> tuple[bytes, TfliteGraph]:
    """The file of a model of the layers of `qat.quantization`, written op by op, and its graph as `read` returns it."""
    _refuse_broken_weights(find_broken_weights(model.variables))
    content = write_qat_file(model, batch_size=batch_size, io=io, low_bit=low_bit, signature=signature)
    file = read(content)
    _check_arithmetic(verify(file), "trained", io, allow_float)
    _refuse_large_comparisons(file)
    refuse_broken_numbers(file)
    trust(content)
    return content, file


def _convert_trace(
    traced: TracedModel, batches: list[list[NDArray]], options: ConverterOptions, signature: str
) -> bytes:
    """The finished file of a trace."""
    _refuse_broken_weights(traced.broken_weights())
    unroll = bool(traced.loops) and options.scheme in INTEGER
    if unroll:
        traced = trace_model(traced, traced.requested[0], unroll=True)
        _refuse_loops(traced.loops)
    content, traced = convert_traced(
        traced, lambda size: trace_model(traced.model, size, unroll=unroll), batches, options
    )
    return _finish(content, traced, options, signature)


def _finish(content: bytes, traced: TracedModel, options: ConverterOptions, signature: str) -> bytes:
    """The converter's file with names, order and metadata of the Keras model, verified."""

    def finish(unpacked: schema.ModelT) -> None:
        restore_order(unpacked, [graph_name(spec.name) for spec in traced.inputs])
        if options.scheme in ("trained", "int8"):
            make_io_integer(unpacked, options.io)
        names = [spec.name for spec in traced.inputs]
        set_names(unpacked, names, traced.output_names, traced.output_locations, signature)
        if traced.outputs_by_name:
            set_metadata(unpacked, {METADATA_NAME: Metadata(outputs_by_name=True).to_json().encode()})

    named = apply_edit(content, finish)
    _check_arithmetic(verify(named), options.scheme, options.io, options.allow_float)
    file = read(named)
    _refuse_large_comparisons(file)
    if options.scheme in INTEGER:
        refuse_broken_numbers(file)
    trust(named)
    return named


def _convert_by_canonical_form(
    traced: TracedModel, batches: list[list[NDArray]], options: ConverterOptions, signature: str, check: bool
) -> bytes | None:
    """The file of the model's canonical form, calibrated and not trained; None where it has none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=CalibrationWarning)  # the same ones were given before
        try:
            config = QuantConfig(name="ptq", per_channel=options.per_channel)
            quantized = in_float32(unwrap(quantize_model(traced.model, batches, config=config)))
            settings = (traced.batch_size, options.io, options.allow_float, True, signature)
            return _convert_quantized(quantized, settings, check)
        except (LongLoopError, WrongFileError):
            raise
        except ModelError as error:
            reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
    warn(f"calibrated by TFLite itself, because {reason}")
    return None


def _warn_of_own_batch(traced: TracedModel, batch_size: int | None) -> None:
    if batch_size is not None and traced.batch_size != batch_size:
        warn(f"batch_size={batch_size} is not used: the model's own input has a batch of {traced.batch_size}")


def _choose_scheme(model: KerasModel, fake_quantized: bool, calibration: Calibration | None, scheme: str | None) -> str:
    if fake_quantized:
        if scheme not in (None, "int8"):
            raise ConfigError(f"scheme={scheme!r}: a QAT model carries int8 ranges and converts to int8 only")
        return TRAINED
    if scheme in (None, "int8") and calibration is None and is_switched_off(model):
        raise ModelError(
            "the model's fake quantization is switched off, by fake_quantization(False) or by quant.delay, so that it "
            "is a float model: call model.fake_quantization(True) first, or take scheme='float32'"
        )
    if scheme is None and calibration is None:
        raise CalibrationError(
            "a float model needs calibration to become int8: give calibration=, or say scheme='float32', "
            "'float16' or 'dynamic_range', which need none"
        )
    return scheme or "int8"


def _refuse_broken_weights(broken: list[str]) -> None:
    """Refuse weights with NaN or infinity, by name: the converter writes them, or ends the process."""
    if broken:
        named = ", ".join(repr(name) for name in broken[:5]) + (", …" if len(broken) > 5 else "")
        raise ModelError(
            f"{len(broken)} weights hold NaN or infinity: {named}. "
            "A training has diverged; convert its last good weights."
        )


def _refuse_loops(loops: tuple[str, ...]) -> None:
    if loops:
        raise ModelError(
            f"the graph has loops that no integer kernel runs: {', '.join(loops)}. "
            "Write the steps out (unroll=True and a fixed number of time steps), or take a float scheme."
        )


def _refuse_large_comparisons(file: TfliteGraph) -> None:
    for op in file.ops:
        scales = [scale for index in op.inputs for scale in file.tensors[index].scales] if op.name in COMPARES else []
        if scales and max(scales) >= 1:
            raise ModelError(
                f"{op.name} of layer {layer_name(file.tensors[op.outputs[0]].name)!r} compares codes of scale "
                f"{max(scales):.4g}: at 1 and above, LiteRT's kernel ends the process. Compare smaller numbers "
                "(x / 256 > limit / 256), or leave the layer in float (quant.skip)"
            )


def _check_arithmetic(verification: Verification, scheme: str, io: str, allow_float: bool) -> None:
    """Refuse ops that stay in float."""
    if scheme not in INTEGER or allow_float:
        return
    if verification.integer_only or (io == "float32" and verification.body_integer_only):
        return
    named = [str(report) for report in (*verification.unknown_ops, *verification.float_ops)]
    named = named or [f"inputs {verification.input_dtypes}, outputs {verification.output_dtypes}"]
    raise ModelError(
        f"{len(named)} ops stayed out of integer arithmetic:\n    "
        + "\n    ".join(named[:20])
        + ("\n    ..." if len(named) > 20 else "")
        + "\nQuantize these layers (qat.quantization rewrites what it can), or take allow_float=True for a mixed file."
    )
