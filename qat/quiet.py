"""TensorFlow without the page of start-up notices that its C++ libraries print before a log level can reach them.

`import qat` loads this file, so it imports what it needs when TensorFlow is imported, and not before.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # `typing` itself is not loaded by `import qat`
if TYPE_CHECKING:
    from typing import Any

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_QUIET_LEVEL = "2"


def quiet_tensorflow() -> None:
    """Make the first `import tensorflow` of this process a quiet one; a user who has chosen a log level keeps it."""
    chosen = os.environ.setdefault(LEVEL, _QUIET_LEVEL)
    if chosen == _QUIET_LEVEL and "tensorflow" not in sys.modules:
        finder: Any = _Finder()
        sys.meta_path.insert(0, finder)


class _Finder:
    """Finds TensorFlow as everybody does, once, and has it look for devices while its notices are held back."""

    def find_spec(self: Any, name: str, path: object = None, target: object = None) -> object:
        if name != "tensorflow":
            return None
        import importlib.util

        from qat.stderr import held_back_stderr

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            load = loader.exec_module

            def load_quietly(module: Any) -> None:
                with held_back_stderr():
                    load(module)
                    module.config.list_physical_devices()

            loader.exec_module = load_quietly
        return spec
