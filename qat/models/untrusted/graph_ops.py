"""Which TensorFlow ops a file of a quantization-aware model may name: those that compute from numbers, or draw some."""

from __future__ import annotations

from functools import lru_cache

PREFIX = "raw:"  # begins the name of an op that only TensorFlow has a word for, in layers and training programs
_RANDOM = ("Multinomial", "ParameterizedTruncatedNormal", "RandomCrop", "RandomGamma", "RandomPoisson")
_RANDOM += ("RandomPoissonV2", "RandomShuffle", "RandomStandardNormal", "RandomUniform", "RandomUniformInt")
_MAY_HAVE_STATE = {"Assert", "TruncatedNormal", *_RANDOM}
_WORDS = ("Dataset", "Debug", "PyFunc", "Summary", "TPU", "Xla", "Send", "Recv", "Host", "Collective", "Table")
_WORDS += ("ompress", "erialize", "Proto", "BoostedTrees", "Cudnn", "Sdca", "Prelinear", "Optional", "Composite")
_NAMES = {"Abort", "Copy", "ImmutableConst", "Fact", "Batch", "Unbatch", "UnbatchGrad", "Enter", "RefEnter"}


@lru_cache(maxsize=1024)
def only_computes(kind: str) -> bool:
    """Whether an op reads numbers and gives numbers, and does nothing else.

    Left out is what has state, reads texts (as paths are), refers to resources, calls functions, or is known to write,
    to end the process, or to call Python.

    Args:
        kind: type of an op, as "Conv2D".

    Returns:
        False also of an op that this TensorFlow has not.
    """
    from tensorflow.core.framework import types_pb2
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(kind)
    if definition is None or kind in _NAMES or any(word in kind for word in _WORDS):
        return False
    if definition.is_stateful and kind not in _MAY_HAVE_STATE:
        return False
    others = (types_pb2.DT_STRING, types_pb2.DT_RESOURCE)
    if any(each.type in others or each.is_ref for each in (*definition.input_arg, *definition.output_arg)):
        return False
    return not any("func" in each.type for each in definition.attr)
