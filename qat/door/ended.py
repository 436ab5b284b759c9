"""How a job ended whose process did not live to tell."""

from __future__ import annotations

from hydra.core.utils import JobReturn, JobStatus

from qat.errors import JobError


def without_return(error: BaseException) -> JobReturn:
    """What a launcher gives for a job that its engine lost."""
    words = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = f"its process ended without a word: {type(error).__name__}: {' '.join(words)[:500]}"
    return JobReturn(status=JobStatus.FAILED, _return_value=JobError(message))
