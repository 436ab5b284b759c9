"""What a model says about a split, how often it is right, and how far two of them part."""

from qat.evaluation.evaluate import Evaluation, Predictor, check_kinds, evaluate, keras_predictor, predictions, spread
from qat.evaluation.parity import measure_parity

__all__ = [
    "Evaluation",
    "Predictor",
    "check_kinds",
    "evaluate",
    "keras_predictor",
    "measure_parity",
    "predictions",
    "spread",
]
