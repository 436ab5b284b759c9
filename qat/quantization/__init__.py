"""Quantization: canonical form, ranges, quantization-aware models."""

from qat.quantization.model import QatModel
from qat.quantization.qat import quantize_model

__all__ = ["QatModel", "quantize_model"]
