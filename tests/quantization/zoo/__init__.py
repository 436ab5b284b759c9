"""Small untrained models, one for each thing that people build: `CASES` maps a name to a function that makes one.

`python -m tests.quantization.zoo [pattern]` measures them (see `measure`).
"""

import qat  # before TensorFlow: it selects Keras 2

from .activations import ACTIVATIONS
from .arithmetic import ARITHMETIC
from .attention import ATTENTION
from .by_hand import BY_HAND
from .choices import CHOICES
from .convolutions import CONVOLUTIONS
from .distances import DISTANCES
from .functions import FUNCTIONS
from .inputs import INPUTS
from .masked import MASKED
from .networks import NETWORKS
from .normalizations import NORMALIZATIONS
from .published import PUBLISHED
from .random_wiring import RANDOM
from .recurrent import RECURRENT
from .rounding import ROUNDING
from .sequences import SEQUENCES
from .structure import STRUCTURE
from .vision import VISION
from .wiring import WIRING

FAMILIES = (
    INPUTS,
    STRUCTURE,
    NORMALIZATIONS,
    ARITHMETIC,
    ACTIVATIONS,
    CONVOLUTIONS,
    ATTENTION,
    RECURRENT,
    NETWORKS,
    VISION,
    SEQUENCES,
    WIRING,
    FUNCTIONS,
    PUBLISHED,
    CHOICES,
    MASKED,
    DISTANCES,
    ROUNDING,
    BY_HAND,
    RANDOM,
)
CASES = {name: build for family in FAMILIES for name, build in family.items()}

__all__ = ["CASES", "qat"]
