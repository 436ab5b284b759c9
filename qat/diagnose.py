"""`python -m qat.diagnose tflite=FILE …`: find why a file is worse. Exit 0 no fault, 1 fault, 2 refused, 3 unknown."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from qat.cli import import_tensorflow, run_command
from qat.commands import command
from qat.config import DiagnoseConfig
from qat.errors import DiagnosedError
from qat.rundir import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qat.diagnosis import Diagnosis


def diagnose(config: DiagnoseConfig, run_dir: Path) -> None:
    """Print the verdict, write `diagnosis.json` and `diagnosis.html`; raise unless there is no fault.

    Args:
        config: file, model or run, samples and options, as `python -m qat.diagnose` composes them.
        run_dir: folder that `diagnosis.json` and `diagnosis.html` are written into.

    Raises:
        DiagnosedError: there is a fault, or the diagnosis is undetermined; its exit code is the command's.
    """
    from qat.diagnosis.command import read_jobs, run_diagnoses

    jobs = read_jobs(config)  # what is wrong with it is said before TensorFlow is imported
    if config.keras or config.run:
        if config.trust is not True:
            from qat.models.untrusted.trial import start_early

            start_early()  # it imports TensorFlow as well, at the same time
        import_tensorflow()
    verdict = run_diagnoses(jobs, run_dir, _page, by_name=config.run is not None)
    if verdict.exit_code:
        raise DiagnosedError(verdict.summary, verdict.exit_code)


def _page(diagnoses: Mapping[str, Diagnosis]) -> str:
    from qat.reporting.diagnosis_page import Circumstances, diagnosis_page

    digests = {name: sha256(Path(name)) for name in diagnoses if Path(name).is_file()}
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return diagnosis_page(diagnoses, Circumstances(now, command("diagnose", *map(_as_typed, sys.argv[1:])), digests))


def _data_as_file(argument: str) -> str:
    """Rename `data=FILE` to the config's own key, since Hydra reads `data` as the folder conf/data of the training."""
    return f"samples_from={argument.removeprefix('data=')}" if argument.startswith("data=") else argument


def _as_typed(argument: str) -> str:
    return f"data={argument.removeprefix('samples_from=')}" if argument.startswith("samples_from=") else argument


def main() -> NoReturn:
    sys.argv[1:] = [_data_as_file(argument) for argument in sys.argv[1:]]
    run_command(diagnose, primary="diagnose", schema=DiagnoseConfig)


if __name__ == "__main__":
    main()
