"""Models that something else has changed for compression already: recognised by the classes of their layers."""

from __future__ import annotations

from qat.errors import ModelError
from qat.models.keras_types import KerasLayer, KerasModel

_TFMOT = "tensorflow_model_optimization.python.core"
_TRAINED = (
    "is quantization-aware already: train it with fit() and make its file with qat.tflite.convert(model), or give the "
    "float model that it was made of"
)
_MARKED = "is marked for tfmot's quantize_apply: give the model that quantize_annotate_model was given"
_STRIP = "still holds the wrappers of tfmot's {0}: give what {1}(model) returns"

WRAPPERS = {  # beginning of the module, and of the class, to what to do; the first that fits counts
    ("qat.quantization.", ""): _TRAINED,
    (f"{_TFMOT}.quantization", "QuantizeAnnotate"): _MARKED,
    (f"{_TFMOT}.quantization", ""): _TRAINED,
    (f"{_TFMOT}.sparsity", ""): _STRIP.format("pruning", "tensorflow_model_optimization.sparsity.keras.strip_pruning"),
    (f"{_TFMOT}.clustering", ""): _STRIP.format(
        "clustering", "tensorflow_model_optimization.clustering.keras.strip_clustering"
    ),
    ("qkeras", ""): "quantizes by itself (QKeras): give a model of Keras' own layers with its weights",
    ("larq", ""): "quantizes by itself (larq): give a model of Keras' own layers with its weights",
}


def refuse_wrapped(model: KerasModel) -> None:
    """Nothing, for a model as it was before any such tool.

    Raises:
        ModelError: it is quantization-aware, pruned or clustered in training; the first layers are named.
    """
    layers = [layer for layer in model._flatten_layers() if _advice(layer)]
    if not layers:
        return
    named = [f"{layer.name} ({type(layer).__name__})" for layer in layers if layer is not model]
    shown = f"; layers {', '.join(named[:3])}{', …' if len(named) > 3 else ''}" if named else ""
    raise ModelError(f"model {model.name!r} {_advice(layers[0])}{shown}")


def _advice(layer: KerasLayer) -> str | None:
    kinds = [(kind.__module__, kind.__name__) for kind in type(layer).__mro__]
    for (module, name), advice in WRAPPERS.items():
        if any(of.startswith(module) and called.startswith(name) for of, called in kinds):
            return advice
    return None
