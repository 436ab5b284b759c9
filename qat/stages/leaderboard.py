"""The end of a sweep: its finished jobs, best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from qat import rundir
from qat.errors import RunDirError
from qat.reporting.leaderboard import LeaderboardRow, print_leaderboard
from qat.reporting.numbers import compute_gain
from qat.results import RunResult, Variant
from qat.stages.deployed_variant import select_deployed_variant


def show_leaderboard(sweep_dir: Path, jobs: Mapping[str, Sequence[str]]) -> None:
    """Print the deployed file of each job that left a result, best first.

    Args:
        sweep_dir: directory below which the jobs' folders lie.
        jobs: name of a job's folder to its `key=value` parts on the command line.
    """
    rows = [row for row in (_row(sweep_dir, *job) for job in jobs.items()) if row is not None]
    if rows:
        print_leaderboard(rows)


def _row(sweep_dir: Path, folder: str, overrides: Sequence[str]) -> LeaderboardRow | None:
    try:
        result = RunResult.from_dict(rundir.read_json(sweep_dir / folder / rundir.RESULTS))
    except (RunDirError, ValueError):
        return None  # it failed, and is reported as such
    name, deployed = select_deployed_variant(result)
    return LeaderboardRow(folder, tuple(overrides), name, deployed, _gain(result, deployed))


def _gain(result: RunResult, deployed: Variant) -> float | None:
    reference = result.variants.get("float")
    return None if reference is None else compute_gain(deployed.metric, reference.metric)
