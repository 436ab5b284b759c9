"""Under a limit of address space (`ulimit -v`), importing TensorFlow may hang for ever: a child tries it first."""

from __future__ import annotations

import subprocess
import sys

from qat.errors import ConfigError
from qat.plain_text import first_line
from qat.wrapping import say

SECONDS = 300  # for the import, on a machine that is busy with other things
NEEDED_MB = 8192  # of address space, for a small job


def try_import(module: str = "tensorflow", seconds: float = SECONDS) -> None:
    """Import a module in a child process where this process has a limit of address space; without one, do nothing.

    Args:
        module: dotted name of the module to import.
        seconds: seconds after which the import counts as hanging.

    Raises:
        ConfigError: the import fails or hangs under the limit, which is named.
    """
    limit_mb = address_space_mb()
    if limit_mb is None:
        return
    say(f"qat: address space is limited to {limit_mb:,} MB: trying TensorFlow in a child process", sys.stderr)
    command = [sys.executable, "-c", f"import {module}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise _error(limit_mb, f"did not end within {seconds:g} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise _error(limit_mb, f"failed ({first_line(lines[-1]) if lines else f'exit code {done.returncode}'})")


def address_space_mb() -> int | None:
    """The limit of this process' address space in MB; None where there is none."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit >> 20


def _error(limit_mb: int, how: str) -> ConfigError:
    return ConfigError(
        f"importing TensorFlow under a limit of {limit_mb:,} MB of address space {how}. Raise the limit to "
        f"{NEEDED_MB:,} MB or more, as ulimit -v {NEEDED_MB * 1024}, or limit the memory itself: a control group "
        "(systemd-run -p MemoryMax=…, Slurm's --mem) counts what is used, not what is reserved"
    )
