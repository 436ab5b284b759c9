"""`python -m qat.verify tflite=FILE`: is the file integer-only? Exit 0 yes, 1 no, 2 no usable file. No TensorFlow."""

from pathlib import Path
from typing import NoReturn

from qat.cli import run_command
from qat.config import VerifyConfig
from qat.errors import NotIntegerOnlyError


def verify(config: VerifyConfig, _run_dir: Path) -> None:
    """Print what the file is; raise unless it is integer-only."""
    from qat.reporting.terminal import say
    from qat.tflite import read, readiness
    from qat.tflite import verify as verify_file

    graph = read(config.tflite)
    found = verify_file(graph)
    say(f"  {config.tflite}\n{found.text()}")
    if config.readiness:
        say(readiness(graph).text())
    if not found.integer_only:
        floats, unknown = len(found.float_ops), len(found.unknown_ops)
        raise NotIntegerOnlyError(
            f"{config.tflite} is not integer-only: {floats} ops touch float tensors, {unknown} are Flex or custom"
        )


def main() -> NoReturn:
    run_command(verify, primary="verify", schema=VerifyConfig)


if __name__ == "__main__":
    main()
