"""`python -m qat.diagnose tflite=FILE …`: why is the file worse? Exit 0 no fault, 1 a fault, 2 refused, 3 unknown."""

import sys
from pathlib import Path
from typing import NoReturn

from qat.config import DiagnoseConfig
from qat.door import import_tensorflow, open_door
from qat.errors import DiagnosedError


def diagnose(config: DiagnoseConfig, run_dir: Path) -> None:
    """Print the verdict, write `diagnosis.json` and `diagnosis.html`; raise unless there is no fault."""
    if config.keras or config.run:
        if config.trust is not True:
            from qat.models.untrusted.trial import start_early

            start_early()  # it imports TensorFlow as well, at the same time
        import_tensorflow()
    from qat.diagnosis.command import diagnose_from

    verdict = diagnose_from(config, run_dir)
    if verdict.exit_code:
        raise DiagnosedError(verdict.summary, verdict.exit_code)


def _data_as_file(argument: str) -> str:
    """`data=FILE` under the key's own name: Hydra takes `data` for the folder conf/data of the training."""
    return f"samples_from={argument.removeprefix('data=')}" if argument.startswith("data=") else argument


def main() -> NoReturn:
    sys.argv[1:] = [_data_as_file(argument) for argument in sys.argv[1:]]
    open_door(diagnose, primary="diagnose", schema=DiagnoseConfig)


if __name__ == "__main__":
    main()
