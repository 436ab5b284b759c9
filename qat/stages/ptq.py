"""Post-training quantization of the float model: the baseline of QAT, or a variant of its own."""

from __future__ import annotations

from dataclasses import replace

from numpy.typing import NDArray

from qat.config import QuantConfig
from qat.errors import CalibrationError, ModelError
from qat.export.convert_options import FLOAT_WEIGHTS
from qat.export.last_files import Exported
from qat.models.keras_types import KerasModel
from qat.quantization.preserve import preserves_anything
from qat.quantization.quantize import quantize_as_configured
from qat.stages.calibration import calibration_inputs, needs_own_calibrator
from qat.stages.export_files import export_tflite, write_quantization_report
from qat.stages.float_model import FloatModel
from qat.stages.monitoring import evaluate_on_val
from qat.stages.run import Run
from qat.variants import PTQ, QUANTIZERS, Quantizer, post_training_quantizer


def quantize_after_training(run: Run, float_model: FloatModel) -> Exported | None:
    """Export the PTQ variant that the config asks for; nothing for `quant=float`.

    Args:
        run: the run whose directory is written into.
        float_model: what is quantized; the number of epochs in its history is the x of the file's point on TensorBoard.

    Returns:
        The calibrated model and its files, where QAT starts from the very same; else None.

    Raises:
        ModelError: the variant cannot be converted, and the run cannot go without it.
        CalibrationError: its calibration gives no usable ranges, and the run cannot go without it.
    """
    quantizer = post_training_quantizer(run.config.quant.name)
    if quantizer is None or run.kept.done(_stage(quantizer)) is not None:
        return None  # QAT calibrates the very same model again, in seconds
    try:
        exported = _quantize(run, float_model, quantizer)
    except (ModelError, CalibrationError) as error:
        run.leave_out(quantizer.variant, error)
        exported = None
    run.kept.finish(_stage(quantizer), files=run.kept.files_of(quantizer.variant))
    return exported


def _stage(quantizer: Quantizer) -> str:
    return f"export {quantizer.variant}"


def _quantize(run: Run, float_model: FloatModel, quantizer: Quantizer) -> Exported | None:
    quant = run.config.quant
    variant, scheme = quantizer.variant, quantizer.scheme
    calibration = calibration_inputs(run, float_model.task) if quantizer.needs_calibration else None
    exported = _export_calibrated(run, variant, float_model.model, calibration) if scheme == "int8" else None
    if exported is None:
        options = {"engine": "tflite", "allow_float": quant.allow_float}
        if scheme not in FLOAT_WEIGHTS:
            options["per_channel"] = quant.per_channel
        export_tflite(run, variant, float_model.model, scheme=scheme, calibration=calibration, **options)
    epochs = (
        len(float_model.history),
        len(float_model.history) + (quant.epochs if QUANTIZERS[quant.name].trained else 0),
    )
    evaluate_on_val(run, variant, run.file(variant, "model.tflite").read_bytes(), float_model.task, *epochs)
    return exported if _shares_model_with_qat(quant, float_model.model) else None


def _export_calibrated(run: Run, variant: str, model: KerasModel, calibration: NDArray) -> Exported | None:
    """Export the int8 file of a quantized model that is not trained; None where TFLite's calibrator has to make it.

    The canonical form gives a better file than TFLite's calibrator: a global average pooling, for one, gets a scale of
    its own, where TFLite keeps that of its input. TFLite's calibrator knows no other method than min-max either.

    Raises:
        ModelError: the model has no canonical form, and an option asks for what TFLite's calibrator cannot do.
    """
    quant = run.config.quant
    if quant.calibration.engine == "tflite":
        return None
    try:
        with run.progress.work("calibrate"):
            quantized = quantize_as_configured(model, calibration, _ptq_config(quant, model))
        exported = Exported(quantized)
        export_tflite(run, variant, exported, allow_float=quant.allow_float)
        write_quantization_report(run, variant, quantized)
    except ModelError as error:
        if needs_own_calibrator(quant):
            raise
        run.progress.say(f"{variant}: calibrated by TFLite itself, because {str(error).partition(chr(10))[0]}")
        return None
    return exported


def _shares_model_with_qat(quant: QuantConfig, model: KerasModel) -> bool:
    """Whether QAT starts from the model that PTQ exports: no layer has settings of its own or is ranked first, and
    nothing of a pruned or clustered model is kept."""
    own = quant.sensitivity or quant.skip or quant.per_layer or quant.auto_skip.max_drop is not None
    return quant.name == "qat" and not own and quant.weight_bits == 8 and not preserves_anything(model, quant)


def _ptq_config(quant: QuantConfig, model: KerasModel) -> QuantConfig:
    """The options that post-training quantization has; settings of single layers are the trained model's."""
    if _shares_model_with_qat(quant, model):
        return replace(quant, name=PTQ)
    quantizer = post_training_quantizer(quant.name)
    return QuantConfig(
        name=PTQ,
        weight_bits=quantizer.weight_bits if quantizer else 8,
        calibration=quant.calibration,
        per_channel=quant.per_channel,
        equalization=quant.equalization,
        equalize_above=quant.equalize_above,
        bias_correction=quant.bias_correction,
    )
