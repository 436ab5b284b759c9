"""Quantization: canonical form, ranges, quantization-aware models."""

from qat.quantization.keras.model import QatModel
from qat.quantization.quantize import quantize_model

__all__ = ["QatModel", "quantize_model"]
