"""Memory of one process after each job of a sweep: the last job is to be within 3 % of the first that is counted.

    scripts/bars sweep_memory [--jobs 200] [--first 20] [OVERRIDE …]     as model=simple_cnn quant=ptq

The jobs are those of `debug=tiny`, each with a seed of its own, by Hydra's own launcher. A row goes to
experiments/2026-11-29-sweep-memory/rows.jsonl.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from scripts.parts.common import EXPERIMENTS, append_row, child_environment, commit, process_memory

BAR = 1.03


def measure(jobs: int, overrides: list[str]) -> list[float]:
    """MB of the process after each job but the last, which ends the process."""
    folder = Path(tempfile.mkdtemp(prefix="qat-sweep-"))
    command = [sys.executable, "-m", "qat.train", "-m", "debug=tiny", f"seed=range({jobs + 1})", "log.progress=off"]
    command += [f"hydra.sweep.dir={folder / 'sweep'}", f"float_cache={folder / 'cache'}", *overrides]
    found: list[float] = []
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=child_environment()) as child,
    ):
        for line in child.stdout:
            begun = re.match(r"job (\d+):", line)
            if begun and int(begun[1]) > 1:
                found.append(process_memory("VmRSS", child.pid) / 1e6)
                print(f"after job {len(found)}: {found[-1]:.1f} MB", flush=True)
    if child.returncode:
        sys.exit(f"the sweep ended with {child.returncode}: {folder / 'log'}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser("scripts/bars sweep_memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--first", type=int, default=20, help="job that the last one is compared with")
    arguments, overrides = parser.parse_known_args()
    found = measure(arguments.jobs, overrides)
    counted = found[arguments.first - 1 :]
    slope = float(np.polyfit(range(len(counted)), counted, 1)[0]) if len(counted) > 1 else 0.0
    ratio = counted[-1] / counted[0]
    row = {
        "jobs": arguments.jobs,
        "first": arguments.first,
        "overrides": overrides,
        "mb": [round(mb, 1) for mb in found],
    }
    row |= {"slope_mb": round(slope, 3), "ratio": round(ratio, 4), "load": os.getloadavg()[0], "commit": commit()}
    append_row(EXPERIMENTS / "2026-11-29-sweep-memory" / "rows.jsonl", row)
    print(
        f"job {len(found)} takes {ratio:.3f} of job {arguments.first} (bar {BAR}); {slope:.2f} MB a job, from "
        f"{counted[0]:.0f} to {counted[-1]:.0f} MB"
    )


if __name__ == "__main__":
    main()
