"""A model's outputs on a split, its metric, and the distance of two models' outputs."""

from qat.evaluation.evaluate import (
    Evaluation,
    Predictor,
    check_kinds,
    evaluate,
    keras_predictor,
    predict_split,
    spread_indices,
)
from qat.evaluation.parity import measure_parity

__all__ = [
    "Evaluation",
    "Predictor",
    "check_kinds",
    "evaluate",
    "keras_predictor",
    "measure_parity",
    "predict_split",
    "spread_indices",
]
