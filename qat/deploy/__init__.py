"""What goes into an app together with a `.tflite`: C source with golden vectors, and code that feeds the file."""

from qat.deploy.snippets import feeding_snippets
from qat.deploy.source import c_source

__all__ = ["c_source", "feeding_snippets"]
