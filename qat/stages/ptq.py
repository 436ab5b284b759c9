"""Post-training quantization of the float model: the baseline of QAT, or a variant for itself."""

from __future__ import annotations

from typing import Any

from qat.config import QuantConfig
from qat.quantization import quantize_model
from qat.stages.calibration import calibration_inputs
from qat.stages.deployed import draw_deployed
from qat.stages.export import export_tflite
from qat.stages.float_model import FloatModel
from qat.stages.run import NEED_CALIBRATION, Run

SCHEMES = {  # quant.name -> (variant, scheme of the converter)
    "ptq": ("ptq_int8", "int8"),
    "qat": ("ptq_int8", "int8"),
    "qat_w4a8": ("ptq_int8", "int8"),
    "ptq_dynamic_range": ("ptq_dynamic_range", "dynamic_range"),
    "ptq_float16": ("ptq_float16", "float16"),
    "ptq_int16x8": ("ptq_int16x8", "int16x8"),
}


def quantize_after_training(run: Run, float_model: FloatModel) -> None:
    """Export the PTQ variant that the config asks for; nothing for `quant=float`."""
    quant = run.config.quant
    if quant.name not in SCHEMES:
        return
    variant, scheme = SCHEMES[quant.name]
    calibration = calibration_inputs(run, float_model.task) if quant.name in NEED_CALIBRATION else None
    options: dict[str, Any] = {"allow_float": quant.allow_float, "per_channel": quant.per_channel}
    if needs_our_ranges(quant):
        with run.progress.work("calibrate"):
            model = quantize_model(float_model.model, calibration, config=_alone(quant))
        export_tflite(run, variant, model, **options)
    else:
        export_tflite(run, variant, float_model.model, scheme=scheme, calibration=calibration, **options)
    for step in (len(float_model.history), len(float_model.history) + (quant.epochs if "qat" in quant.name else 0)):
        draw_deployed(run, variant, run.file(variant, "model.tflite").read_bytes(), float_model.task, step)


def needs_our_ranges(quant: QuantConfig) -> bool:
    """Whether the int8 file is asked for something that TFLite's own calibrator, which knows min-max alone, cannot do.

    Then it is made as a QAT model is that nobody has trained.
    """
    if SCHEMES.get(quant.name, ("", ""))[1] != "int8":
        return False
    return quant.calibration.method != "minmax" or quant.equalization or quant.bias_correction


def _alone(quant: QuantConfig) -> QuantConfig:
    """What of the options belongs to post-training quantization; the layers' own settings are the trained model's."""
    return QuantConfig(
        name="ptq",
        calibration=quant.calibration,
        per_channel=quant.per_channel,
        equalization=quant.equalization,
        bias_correction=quant.bias_correction,
    )
