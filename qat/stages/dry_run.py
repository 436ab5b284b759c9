"""A dry run before the float training of what would otherwise fail only after it, on the model as it is built."""

from __future__ import annotations

import warnings

from qat.config import QuantConfig
from qat.errors import ModelError
from qat.export import convert
from qat.models.fit_to_data import infer_model_task
from qat.models.keras_types import KerasModel
from qat.models.which_keras import keras_of
from qat.quantization.check import check_quantizable
from qat.quantization.stock import quantize_by_tfmot
from qat.stages.calibration import check_calibration, needs_own_calibrator
from qat.stages.run import STOCK_OPTIONS, Run
from qat.training import FitSettings, make_optimizer
from qat.variants import PTQ, QUANTIZERS, STOCK, STOCK_VARIANT, TRAINED_BY_US, Quantizer, post_training_quantizer

SAMPLES = 4  # enough for a converter that only has to say whether it can


def check_quantization(run: Run, model: KerasModel) -> None:
    """Refuse a model for reasons that are known without converting it.

    Args:
        run: run whose `quant.*` says what the model is to become.
        model: a built Keras model of the data's input shape, not trained yet.

    Raises:
        CalibrationError: no usable calibration set.
        UnsupportedLayerError: layers without an integer kernel, all named at once.
        ConfigError: a QAT optimizer that cannot be made, layers that are not there.
    """
    quant = run.config.quant
    if quant.name != STOCK:  # of stock only the baseline is calibrated
        check_calibration(run, infer_model_task(model, len(run.splits.class_names)))
    if quant.name in TRAINED_BY_US:
        check_quantizable(model, quant)
    if QUANTIZERS[quant.name].trained:
        make_optimizer(FitSettings.from_quant(quant, run.config.train), steps=1, keras=keras_of(model))


def try_conversion(run: Run, model: KerasModel) -> None:
    """Convert the model that has not been trained yet, as it will be converted afterwards.

    Args:
        run: run whose `quant.*` says what the model is to become.
        model: a built Keras model of the data's input shape, not trained yet.

    Raises:
        ModelError: ops that the converter leaves in float, or cannot take; a model that tfmot refuses, where it alone
            is asked for.
    """
    quant = run.config.quant
    if run.wants_stock:
        _try_stock(run, model)
    quantizer = post_training_quantizer(quant.name)
    if quant.name == STOCK or quantizer is None or _has_canonical_form(model, quant, quantizer):
        return
    with run.progress.work("rehearse the conversion"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few samples
        samples = run.splits.calibration.inputs(range(SAMPLES)) if quantizer.needs_calibration else None
        options = {"engine": "tflite", "allow_float": quant.allow_float}
        convert(model, calibration=samples, scheme=quantizer.scheme, **options)


def _try_stock(run: Run, model: KerasModel) -> None:
    try:
        with run.progress.work("ask tfmot"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            convert(quantize_by_tfmot(model), batch_size=run.config.export.batch_size, **STOCK_OPTIONS)
    except ModelError as error:
        run.leave_out(STOCK_VARIANT, error)


def _has_canonical_form(model: KerasModel, quant: QuantConfig, quantizer: Quantizer) -> bool:
    """Whether an int8 file is made of the canonical form, in which every op has an integer kernel."""
    if quantizer.scheme != "int8" or quant.calibration.engine == "tflite":
        return False
    try:
        check_quantizable(model, QuantConfig(name=PTQ, weight_bits=quantizer.weight_bits))
    except ModelError:
        if needs_own_calibrator(quant):
            raise
        return False
    return True
