"""How a job ended whose process did not live to tell."""

from __future__ import annotations

from hydra.core.utils import JobReturn, JobStatus

from qat.errors import JobError


def without_return(error: BaseException) -> JobReturn:
    """What a launcher gives for a job that its engine lost."""
    return JobReturn(
        status=JobStatus.FAILED, _return_value=JobError(f"its process ended without a word: {in_a_line(error)}")
    )


def in_a_line(error: BaseException) -> str:
    """
    >>> in_a_line(RuntimeError("no sbatch\\n  here"))
    'RuntimeError: no sbatch here'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
