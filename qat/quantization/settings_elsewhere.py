"""The settings of QuantConfig that `quantize_model` does not read, each with the call that does what it asks for.

A run of `qat.train` reads them all: it calls `quantize_as_configured`, which warns of none.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from qat.config import QuantConfig
from qat.setting import settings_of
from qat.warning import warn

_SCHEDULE = "model.fit(..., callbacks=[qat.quantization.schedule.QuantizationSchedule(config, steps, steps_per_epoch)])"
_DISTILLATION = "model.learn_from(float_model, weight={config.distillation.weight!r}, "
_DISTILLATION += "temperature={config.distillation.temperature!r})"
_COMPILE = "model.compile(optimizer)"
_SKIP = "qat.quantization.sensitivity.auto_skip(float_model, samples, max_drop={config.auto_skip.max_drop!r}), which "
_SKIP += "names the layers for `skip`"

ELSEWHERE = {
    "beside": "qat.quantization.stock.quantize_by_tfmot(float_model)",
    "calibration.engine": "qat.convert(float_model, calibration=samples, engine={config.calibration.engine!r})",
    "calibration.samples": "give so many samples as `calibration`",
    "calibration.min_samples": "look at the number of samples that you give as `calibration`",
    "allow_float": "qat.convert(model, allow_float=True)",
    "epochs": "model.fit(..., epochs={config.epochs!r})",
    "batch_size": "model.fit(..., batch_size={config.batch_size!r})",
    **dict.fromkeys(("learning_rate", "optimizer", "schedule"), _COMPILE),
    "sensitivity": "qat.quantization.sensitivity.sensitivity(float_model, samples)",
    "auto_skip.max_drop": _SKIP,
    **dict.fromkeys(("delay", "freeze_observers_at", "freeze_bn_at"), _SCHEDULE),
    "reestimate_bn": "qat.quantization.schedule.reestimate_batch_norm(model, batches), after the training",
    **dict.fromkeys(("distillation.weight", "distillation.temperature"), _DISTILLATION),
}
"""Key -> what to do instead in Python."""


def warn_of_idle_settings(config: QuantConfig) -> None:
    """Warn once of all settings that differ from their defaults and that `quantize_model` does not read.

    Args:
        config: what a user gives to `quantize_model`.
    """
    idle = list(_idle_settings(config))
    if idle:
        warn(
            "quantize_model does not read these settings of QuantConfig; a run of qat.train does, and in Python:\n    "
            + "\n    ".join(idle)
        )


def _idle_settings(config: QuantConfig) -> Iterator[str]:
    default = QuantConfig()
    for key in settings_of(QuantConfig):
        value = attrgetter(key)(config)
        if key in ELSEWHERE and value != attrgetter(key)(default):
            yield f"{key}={value!r}: {ELSEWHERE[key].format(config=config)}"
