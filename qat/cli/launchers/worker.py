"""The command line of one of several workers: only the chief leaves files, Hydra's own among them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence

from qat.cli.sweeps.resume import quoted
from qat.errors import ConfigError
from qat.training.cluster import is_chief

CHOICE = "train.strategy=multiworker"


def as_worker(argv: Sequence[str]) -> list[str]:
    """`argv`, and for a worker that is not the chief a run directory that is thrown away.

    Raises:
        ConfigError: a sweep over several workers, or a TF_CONFIG that says nothing.
    """
    if CHOICE not in argv:
        return list(argv)
    if {"-m", "--multirun"} & set(argv):
        raise ConfigError(f"{CHOICE}: several processes share one job; a sweep shares jobs out. Run one job at a time.")
    if not os.environ.get("TF_CONFIG") or is_chief():
        return list(argv)
    folder = tempfile.mkdtemp(prefix="qat-worker-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return [*argv, f"hydra.run.dir={quoted(folder)}", "hydra.output_subdir=null", "hydra/job_logging=none"]
