"""TensorFlow without the page of start-up notices that its C++ libraries print. Standard library only.

They are written before a log level can reach them, so what goes to file descriptor 2 meanwhile is held back and sifted.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_QUIET_LEVEL = "2"
_NOTICE = re.compile(
    rb"^(I\d{4} |WARNING: All log messages before absl|[WE]\d{4} .*(cuda|cudart|cuInit|computation_placer))"
)


def quiet_tensorflow() -> None:
    """Make the first `import tensorflow` of this process a quiet one; a user who has chosen a log level keeps it."""
    chosen = os.environ.setdefault(LEVEL, _QUIET_LEVEL)
    if chosen == _QUIET_LEVEL and "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds TensorFlow as everybody does, once, and has it look for devices while its notices are held back."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                with held_back_stderr():
                    load(module)
                    module.config.list_physical_devices()

            spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


@contextmanager
def held_back_stderr() -> Iterator[None]:
    """Hold back what is written to descriptor 2, by C++ too; what is no notice is printed afterwards."""
    import tempfile  # here, for `import qat` is to cost nothing

    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            for line in held:
                if not _NOTICE.match(line):
                    os.write(2, line)
