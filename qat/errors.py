"""What `qat` raises when it refuses. Each message names the key, the value, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class QatError(Exception):
    """Base of every error that `qat` raises on purpose; a command prints its text and exits with `exit_code`.

    `subject` is put before the text: the argument or file at fault, which a caller may know by another name. That of
    `naming` ends with what stands between the two.
    """

    exit_code = 2
    subject = ""
    # Autograph reads from it that the class takes one text, and re-raises an error of the same class while tracing.
    __init__ = Exception.__init__

    @classmethod
    def about(cls, subject: str, text: str) -> Self:
        """An error with a subject.

        Args:
            subject: name of an argument.
            text: what follows the name, with the colon or space between them.

        Returns:
            The error, to be raised.

        >>> str(DataError.about("fed", ": dtype int8"))
        'fed: dtype int8'
        """
        error = cls(text)
        error.subject = subject
        return error

    def __str__(self) -> str:
        return f"{self.subject}{super().__str__()}"


@contextmanager
def naming(subject: str, kind: type[QatError] = QatError) -> Iterator[None]:
    """Give errors of the block that have no subject this one.

    Args:
        subject: the file or setting at fault, and what stands between it and the text.
        kind: class of these errors; others pass.

    Yields:
        Nothing.
    """
    try:
        yield
    except kind as error:
        error.subject = error.subject or subject
        raise


class ConfigError(QatError, ValueError):
    """A setting has a value that is not accepted."""


class CallError(QatError, TypeError):
    """A function is called with arguments that it does not take."""


class DataError(QatError, ValueError):
    """Data or labels that cannot be used: missing, corrupt, misshapen, not finite, outside the classes."""


class ModelError(QatError, ValueError):
    """A model that cannot be built, loaded, or used with this data."""


class WrongFileError(ModelError):
    """A finished file that does not compute what its model computes; it is not returned."""


class UnsupportedLayerError(ModelError):
    """A model holds layers for which no integer kernel exists. `blockers` names all of them at once."""

    def __init__(self, message: str, blockers: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.blockers = blockers


class LongLoopError(UnsupportedLayerError):
    """A model holds recurrent layers of too many time steps to unroll, whichever converter is used."""


class CalibrationError(DataError):
    """Calibration samples that cannot be used: none, too few, not finite, wrong shape or dtype."""


class TrainingDivergedError(QatError, RuntimeError):
    """The loss became NaN or infinite; the model has its last good weights."""

    exit_code = 3


class TfliteFileError(QatError, ValueError):
    """A `.tflite` that is no usable file: truncated, mutated, hostile, or refused by the runtime."""


class NotIntegerOnlyError(QatError):
    """A `.tflite` that computes in float somewhere, or has ops whose arithmetic is unknown."""

    exit_code = 1


class RunDirError(QatError, OSError):
    """A run directory that is missing, full, read-only, unfinished, or was not written by qat."""


class JobError(QatError):
    """A job of a sweep that failed. It is pickled between processes, so it holds only a text and a number."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


class SweepError(JobError):
    """A sweep with failed jobs: which and why; the exit code is theirs if they have the same one, else 1."""


class ParityError(QatError, RuntimeError):
    """The deployed file differs from the fake-quant model by more than the thresholds allow."""

    exit_code = 4


class DiagnosedError(QatError):
    """A diagnosis that did not end in "no fault": exit code 1 for a fault proved or certain, 3 for undetermined."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class TrainingSemanticsWarning(UserWarning):
    """The float model does something in training that its quantization-aware model does not."""


class CalibrationWarning(UserWarning):
    """Calibration samples that can be used, and may give ranges that do not fit."""


class InputRangeWarning(UserWarning):
    """Inputs fill a small part of what a file can hold: it was trained on others, or they are prepared wrongly."""


class FloatModelWarning(UserWarning):
    """`to_float` gives a model that computes what the float model does, and is not built as it was."""
