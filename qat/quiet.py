"""Import TensorFlow without the start-up notices that its C++ libraries print before a log level applies.

`import qat` loads this file, so it imports its own dependencies only when TensorFlow is imported.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # `typing` itself is not loaded by `import qat`
if TYPE_CHECKING:
    from typing import Any

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_QUIET_LEVELS = ("2", "3")  # errors alone, or none of them


def quiet_tensorflow() -> None:
    """Make the first `import tensorflow` of this process a quiet one, unless the user has set a level that shows it."""
    level = os.environ.setdefault(LEVEL, _QUIET_LEVELS[0])
    if level in _QUIET_LEVELS and "tensorflow" not in sys.modules:
        finder: Any = _Finder()
        sys.meta_path.insert(0, finder)


class _Finder:
    """Finds TensorFlow once, and makes it look for devices while stderr is filtered."""

    def find_spec(self: Any, name: str, path: object = None, target: object = None) -> object:
        """As `importlib.abc.MetaPathFinder.find_spec`.

        Args:
            name: dotted name of the module that is imported.
            path: where its package is searched; not used.
            target: module object that is reloaded; not used.

        Returns:
            TensorFlow's spec, with a quiet loader; None for any other module.
        """
        if name != "tensorflow":
            return None
        import importlib.util

        from qat.stderr import filter_stderr

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            load = loader.exec_module

            def load_quietly(module: Any) -> None:
                with filter_stderr():
                    load(module)
                    module.config.list_physical_devices()

            loader.exec_module = load_quietly
        return spec
