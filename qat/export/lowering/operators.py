"""Which function writes which op of the canonical form: whoever adds an operator adds it to a family in `ops/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qat.export.lowering.lowering import Context
from qat.export.lowering.ops.elementwise import ELEMENTWISE
from qat.export.lowering.ops.joining import JOINING
from qat.export.lowering.ops.linear import LINEAR
from qat.export.lowering.ops.lstm import lstm
from qat.export.lowering.ops.moves import MOVES
from qat.export.lowering.planned_ops import Value

OPERATORS: Mapping[str, Callable[[Context], Value | list[Value]]] = {
    **ELEMENTWISE,
    **JOINING,
    **LINEAR,
    **MOVES,
    "lstm": lstm,
}
