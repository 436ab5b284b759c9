"""Where the fake quantization stands, so that the simulated grid is the grid that the integer kernels compute on.

Each tensor that the file will hold in codes gets exactly one range. Tensors that a kernel passes on at the scale of
its input (pooling, padding, slicing, concatenation, ...) share that range; what the file's kernels fuse (bias,
BatchNormalization, ReLU) has none in between. `op_scales` classifies ops; `moved`, `united` and `own` place each class.
"""

from qat.quantization.placement.op_scales import ONE_RANGE_FOR_ALL, ONLY_RESULT, SAME_SCALE, SHARES_RANGE
from qat.quantization.placement.place import place
from qat.quantization.placement.quant_spec import Derived, Fixed, MinMax, Own, QuantSpec, Shared, merge

__all__ = [
    "ONE_RANGE_FOR_ALL",
    "ONLY_RESULT",
    "SAME_SCALE",
    "SHARES_RANGE",
    "Derived",
    "Fixed",
    "MinMax",
    "Own",
    "QuantSpec",
    "Shared",
    "merge",
    "place",
]
