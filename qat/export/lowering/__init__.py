"""From the layers of a quantization-aware model to TFLite operators, by the schema that ai-edge-litert ships.

`network` reads the calls, `ops/` has one function per operator, `op_writer` writes the file once all scales are known.
"""

from qat.export.lowering.lower import keeps_state, lower, read_weights_once
from qat.export.lowering.network import is_lowerable, refuse_unknown_layers

__all__ = ["is_lowerable", "keeps_state", "lower", "read_weights_once", "refuse_unknown_layers"]
