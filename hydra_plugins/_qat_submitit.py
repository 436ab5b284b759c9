"""Those of our plugins that stand on hydra-submitit-launcher."""

from qat.door.submitit_launcher import PatientLauncher


class LocalLauncher(PatientLauncher):
    """`hydra/launcher=submitit_local`"""

    _EXECUTOR = "local"


class SlurmLauncher(PatientLauncher):
    """`hydra/launcher=submitit_slurm`"""

    _EXECUTOR = "slurm"


PLUGINS = {"submitit_local": LocalLauncher, "submitit_slurm": SlurmLauncher}
