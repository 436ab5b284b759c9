"""Keras to `.tflite` bytes, and everything that is read from, proved about, and run with such a file."""

from qat.tflite.convert import convert
from qat.tflite.cost import arena_lower_bound, multiply_accumulates
from qat.tflite.graph import TfliteGraph
from qat.tflite.interpreter import Interpreter
from qat.tflite.metadata import Metadata, read_metadata, with_metadata
from qat.tflite.reader import read
from qat.tflite.readiness import Readiness, readiness
from qat.tflite.sandbox import check_loadable
from qat.tflite.snippets import feeding_snippets
from qat.tflite.source import c_source
from qat.tflite.verify import Verification, verify

__all__ = [
    "Interpreter",
    "Metadata",
    "Readiness",
    "TfliteGraph",
    "Verification",
    "arena_lower_bound",
    "c_source",
    "check_loadable",
    "convert",
    "feeding_snippets",
    "multiply_accumulates",
    "read",
    "read_metadata",
    "readiness",
    "verify",
    "with_metadata",
]
