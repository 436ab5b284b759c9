"""Keras to `.tflite` bytes, and everything that is read from, proved about, and run with such a file."""

from qat.tflite.convert import convert
from qat.tflite.reader import read
from qat.tflite.verify import Verification, verify

__all__ = ["Verification", "convert", "read", "verify"]
