"""Layer by layer, the deployed file against its fake-quant model, as `qat.export` compares them."""

from qat.export.layer_parity import LayerParity, first_departure, layer_parity

__all__ = ["LayerParity", "first_departure", "layer_parity"]
