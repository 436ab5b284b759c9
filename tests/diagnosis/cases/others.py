"""The second set of the diagnosis: other networks, other faults, other ways of writing an app, less given.

Nothing is tuned here; what failed was mended for its cause, and the first result is told in the experiment's README.
"""

from __future__ import annotations

from collections.abc import Callable

from .clean_files import CLEAN
from .double_faults import DOUBLE
from .faulty_feeding import FEEDING, PREPROCESSING
from .faulty_files import CALIBRATION, CONVERSION
from .faulty_models import HARD, TRAINING
from .faulty_outputs import OUTPUT
from .planting import CASES, RECIPES
from .scoring import Planted


def all_cases() -> dict[str, Callable[[], Planted]]:
    CASES.clear()
    RECIPES.clear()
    for family in (CLEAN, CONVERSION, CALIBRATION, HARD, TRAINING, FEEDING, PREPROCESSING, OUTPUT, DOUBLE):
        for plant in family:
            plant()
    return dict(CASES)
