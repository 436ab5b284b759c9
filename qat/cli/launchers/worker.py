"""The command line of one of several workers: only the chief keeps its files, Hydra's own included."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence

from qat.cli.sweeps.resume import quote
from qat.errors import ConfigError
from qat.training.cluster import is_chief

CHOICE = "train.strategy=multiworker"


def redirect_worker_files(argv: Sequence[str]) -> list[str]:
    """Give a worker that is not the chief a temporary run directory, which is removed at its end.

    Raises:
        ConfigError: a sweep over several workers, or a TF_CONFIG that cannot be read.
    """
    if CHOICE not in argv:
        return list(argv)
    if {"-m", "--multirun"} & set(argv):
        raise ConfigError(f"{CHOICE}: several processes share one job; a sweep shares jobs out. Run one job at a time.")
    if not os.environ.get("TF_CONFIG") or is_chief():
        return list(argv)
    folder = tempfile.mkdtemp(prefix="qat-worker-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return [*argv, f"hydra.run.dir={quote(folder)}", "hydra.output_subdir=null", "hydra/job_logging=none"]
