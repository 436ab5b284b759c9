"""Where the fake quantization stands, so that the simulated grid is the grid that the integer kernels compute on.

Each tensor that the file will hold in codes gets exactly one range. Tensors that a kernel passes on at the scale of
its input (pooling, padding, slicing, concatenation, ...) share that range; what the file's kernels fuse (bias,
BatchNormalization, ReLU) has none in between. `kernels` classifies ops; `moved`, `united` and `own` place each class.
"""

from qat.quantization.placement.kernels import SAME_SCALE, SHARES_RANGE, UNIFIES
from qat.quantization.placement.place import place
from qat.quantization.placement.quant_spec import Derived, Fixed, MinMax, Own, QuantSpec, Shared, merge

__all__ = [
    "SAME_SCALE",
    "SHARES_RANGE",
    "UNIFIES",
    "Derived",
    "Fixed",
    "MinMax",
    "Own",
    "QuantSpec",
    "Shared",
    "merge",
    "place",
]
