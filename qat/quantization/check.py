"""Whether a model can be quantized as a config says, checked before training."""

from __future__ import annotations

import tf_keras

from qat.config import QuantConfig
from qat.quantization.importing.preflight import refuse_blockers
from qat.quantization.placement import place
from qat.quantization.rewrites import canonicalize
from qat.quantization.settings import override, refuse_low_bit, refuse_unmatched, skipped_layers


def check_quantizable(model: tf_keras.Model, config: QuantConfig) -> None:
    """Raise where `quantize_model` would refuse the model; its weights may still be untrained.

    Args:
        model: a float Keras model with fixed input sizes.
        config: settings by which it is to be quantized.

    Raises:
        UnsupportedLayerError: layers without an integer kernel, all named at once.
        ConfigError: `quant.skip` or `quant.per_layer` names layers or settings that are not there.
        ModelError: the model's input sizes are not known.
    """
    graph = canonicalize(model)
    refuse_blockers(graph)
    place(graph, skipped_layers(config, graph))
    refuse_low_bit(config, graph)
    refuse_unmatched(config, graph)
    for layer in {node.layer for node in graph.nodes}:
        override(config, layer)
