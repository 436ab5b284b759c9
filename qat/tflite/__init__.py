"""Everything about an existing `.tflite`: read it, verify it, run it (`runtime/`), time it (`benchmark/`)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qat.tflite.cost import arena_lower_bound, multiply_accumulates
from qat.tflite.graph import TfliteGraph
from qat.tflite.metadata import Metadata, read_metadata, with_metadata
from qat.tflite.reader import read
from qat.tflite.readiness import Readiness, readiness
from qat.tflite.runtime.interpreter import Interpreter
from qat.tflite.runtime.sandbox import check_loadable
from qat.tflite.verify import Verification, verify

if TYPE_CHECKING:
    from qat.deploy import c_source, feeding_snippets
    from qat.export.convert import convert

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

_DEFINED_ELSEWHERE = {"convert": "qat.export", "c_source": "qat.deploy", "feeding_snippets": "qat.deploy"}


def __getattr__(name: str) -> Any:
    """Import names of higher packages on first use: users find them here, and imports between packages go one way."""
    if name not in _DEFINED_ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_DEFINED_ELSEWHERE[name]), name)
