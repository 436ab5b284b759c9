"""Where the fake quantization stands, so that the simulated grid is the grid that the integer kernels compute on.

Each tensor that the file will hold in codes gets exactly one range. Tensors that a kernel passes on at the scale of
its input (pooling, padding, slicing, concatenation, ...) share that range; what the file's kernels fuse (bias,
BatchNormalization, ReLU) has none between. `kernels` says what each op is; `moved`, `united` and `own` place them.
"""

from qat.quantization.placement.kernels import BETWEEN_CODES, SAME_SCALE, SHARES_RANGE, UNIFIES
from qat.quantization.placement.place import place
from qat.quantization.placement.range import Range, merge

__all__ = ["BETWEEN_CODES", "SAME_SCALE", "SHARES_RANGE", "UNIFIES", "Range", "merge", "place"]
