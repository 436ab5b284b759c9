"""The result of a job whose process died before it could return one."""

from __future__ import annotations

from hydra.core.utils import JobReturn, JobStatus

from qat.errors import JobError


def make_failed_return(error: BaseException) -> JobReturn:
    """Make what a launcher returns for a job that its engine lost."""
    return JobReturn(
        status=JobStatus.FAILED,
        _return_value=JobError(f"its process ended without a word: {format_in_one_line(error)}"),
    )


def format_in_one_line(error: BaseException) -> str:
    """Format an error's type and message in one line, the message cut to 500 characters.

    >>> format_in_one_line(RuntimeError("no sbatch\\n  here"))
    'RuntimeError: no sbatch here'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
