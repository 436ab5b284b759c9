"""Keras model in, `.tflite` bytes out: a quantization-aware model op by op, every other by TensorFlow's converter."""

from qat.export.convert import convert

__all__ = ["convert"]
