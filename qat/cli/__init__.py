"""From the command line to a checked, typed config: Hydra composes, we explain what it refuses, then the task runs.

Neither NumPy nor TensorFlow is imported here, so that a typo, `--help` and `--cfg job` are answered at once.
"""

from qat.cli.compose import compose, conf_dir
from qat.cli.entry import run_command
from qat.cli.groups import expand_path_argument
from qat.cli.import_tensorflow import freeze_imports, import_tensorflow, without_collection

__all__ = [
    "compose",
    "conf_dir",
    "expand_path_argument",
    "freeze_imports",
    "import_tensorflow",
    "run_command",
    "without_collection",
]
