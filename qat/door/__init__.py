"""From the command line to a checked, typed config: Hydra composes, we explain what it refuses, then the task runs.

Neither NumPy nor TensorFlow is imported here, so that a typo, `--help` and `--cfg job` are answered at once.
"""

from qat.door.command_line import by_path
from qat.door.compose import compose, conf_dir
from qat.door.open import open_door
from qat.door.quiet import import_tensorflow, spare_imports

__all__ = ["by_path", "compose", "conf_dir", "import_tensorflow", "open_door", "spare_imports"]
