"""Optional dependencies (extras of this package), and the message where one is missing."""

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
"""Option -> the extra of this package that it needs, and a module by which one sees that it is installed."""


def require_extra(extra: str, module: str, option: str) -> None:
    """Refuse an option whose dependency is not installed.

    Args:
        extra: name of the extra of this package that brings the module, such as "ray".
        module: dotted name of a module; it is looked for, and not imported.
        option: the option that needs it, as on the command line, for the message.

    Raises:
        ConfigError: the module is not installed; the message has the command that installs the extra.
    """
    if not is_installed(module):
        raise ConfigError(f"{option}: what it needs is not installed. It is an extra:\n  {install_command(extra)}")


def check_engine(group: str, option: str) -> None:
    """Refuse a launcher or sweeper whose extra is not installed; other options pass.

    Args:
        group: "hydra/launcher" or "hydra/sweeper".
        option: name of the option in the group, such as "ray".

    Raises:
        ConfigError: the extra is not installed; the message has the command that installs it.
    """
    if (group, option) in EXTRAS:
        require_extra(*EXTRAS[group, option], option=f"{group}={option}")


def is_installed(module: str) -> bool:
    """Whether a module can be imported; this does not import it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that holds it
        return False
