"""Keras to `.tflite` bytes, and everything that is read from, proved about, and run with such a file."""

from qat.tflite.convert import convert
from qat.tflite.graph import TfliteGraph
from qat.tflite.interpreter import Interpreter
from qat.tflite.metadata import Metadata, read_metadata, with_metadata
from qat.tflite.reader import read
from qat.tflite.sandbox import check_loadable
from qat.tflite.verify import Verification, verify

__all__ = [
    "Interpreter",
    "Metadata",
    "TfliteGraph",
    "Verification",
    "check_loadable",
    "convert",
    "read",
    "read_metadata",
    "verify",
    "with_metadata",
]
