"""From the command line to a checked, typed config: Hydra composes, we explain what it refuses, then the task runs.

Neither NumPy nor TensorFlow is imported here, so that a typo, `--help` and `--cfg job` are answered at once.
"""

from qat.cli.command_line import by_path
from qat.cli.compose import compose, conf_dir
from qat.cli.entry import open_door
from qat.cli.import_tensorflow import import_tensorflow, spare_imports

__all__ = ["by_path", "compose", "conf_dir", "import_tensorflow", "open_door", "spare_imports"]
