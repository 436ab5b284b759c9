"""Is the model flawed, or is the implementation incorrect? Causes are named, and proved by applying their repair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qat.calls import explain_calls
from qat.diagnosis.diagnosis import Cause, Diagnosis

__all__ = ["Cause", "Diagnosis", "diagnose"]


@explain_calls()
def diagnose(
    tflite_model: bytes | str | Path,
    *,
    keras_model: Any = None,
    inputs: Any = None,
    labels: Any = None,
    preprocess: Callable | None = None,
    user_preprocess: Callable | None = None,
    user_run: Callable | None = None,
    fed: Any = None,
    outputs: Any = None,
    calibration: Any = None,
    expect: str | None = None,
    trust: bool = False,
    per_channel: bool = True,
) -> Diagnosis:
    """Find out why a `.tflite` does worse than its Keras model. The more is given, the more can be proved.

    Args:
        tflite_model: bytes of the file, or its path.
        keras_model: the Keras model (of Keras 2 or 3) that it was made from, or its path.
        inputs: raw samples [N, ...] as the app has them; or a tf.data.Dataset of them, which may yield the labels too.
        labels: classes of the first output, integers [N].
        preprocess: the training preprocessing: function of a raw batch [n, ...] to float32 model input (a list, in
            Keras order, for several).
        user_preprocess: what the app does before it quantizes: a function of a raw batch [n, ...] to model inputs.
        user_run: the app's own inference: function of (raw batch [n, ...], bytes of the file) to outputs or labels.
        fed: what was written into the input tensor for `inputs`: an array [N, ...] of codes or floats, several in a
            list.
        outputs: what the app recorded for `inputs`: raw output tensor or scores [N, ...], or predicted labels [N].
        calibration: the representative-dataset callable that the converter was given.
        expect: what the file is believed to be: int8, dynamic_range, float16, float32 or int16x8.
        trust: whether to run the code that `keras_model`, given as a path, carries.
        per_channel: False where one scale for each weight tensor was asked for, as by `quant.per_channel=false`.

    Returns:
        Whom to blame, the causes with evidence and fix, and what was measured on the way.

    Raises:
        TfliteFileError: no usable file.
        ConfigError, DataError, ModelError: arguments that cannot be used; the text says which and why.
    """
    from qat.diagnosis.case import Case, check_case
    from qat.diagnosis.evidence import Evidence
    from qat.diagnosis.verdict import reach_verdict

    app = (user_preprocess, user_run, fed, outputs)
    case = Case(tflite_model, keras_model, inputs, labels, preprocess, *app, calibration, expect, trust, per_channel)
    return reach_verdict(Evidence(check_case(case)))
