"""What is installed on request, as extras of this package, and what is said where one is missing."""

from __future__ import annotations

import importlib.util

from qat.commands import install_command
from qat.errors import ConfigError

MLFLOW = ("mlflow", "mlflow")
EXTRAS: dict[tuple[str, str], tuple[str, str]] = {
    ("hydra/launcher", "joblib"): ("joblib", "hydra_plugins.hydra_joblib_launcher"),
    ("hydra/launcher", "ray"): ("ray", "ray"),
    ("hydra/launcher", "submitit_slurm"): ("submitit", "hydra_plugins.hydra_submitit_launcher"),
    ("hydra/launcher", "submitit_local"): ("submitit", "hydra_plugins.hydra_submitit_launcher"),
    ("hydra/sweeper", "optuna"): ("optuna", "optuna"),
}
"""Option -> the extra of this package that brings what it needs, and the module that shows that it is there."""


def needs(extra: str, module: str, option: str) -> None:
    """Raises: ConfigError where `module` is not installed; it names the extra that `option` needs."""
    if not is_there(module):
        raise ConfigError(f"{option}: what it needs is not installed. It is an extra:\n  {install_command(extra)}")


def check_engine(group: str, option: str) -> None:
    """Raises: ConfigError where what an option needs is an extra that is not installed."""
    if (group, option) in EXTRAS:
        needs(*EXTRAS[group, option], option=f"{group}={option}")


def is_there(module: str) -> bool:
    """Whether a module can be imported; it is not."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that holds it
        return False
