"""Quantization: canonical form, ranges, quantization-aware models."""

from qat.quantization.qat import quantize_model

__all__ = ["quantize_model"]
