"""Quantization: canonical form, ranges, quantization-aware models."""

from qat.quantization.keras.model import QatModel
from qat.quantization.keras3.model import Keras3QatModel  # and Keras 3 reads it from files from here on
from qat.quantization.quantize import quantize_model

__all__ = ["Keras3QatModel", "QatModel", "quantize_model"]
