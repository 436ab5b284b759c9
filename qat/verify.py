"""`python -m qat.verify tflite=FILE`: prove a file integer-only. Exit 0 yes, 1 no, 2 no usable file. No TensorFlow."""

from pathlib import Path
from typing import NoReturn

from qat.cli import run_command
from qat.config import VerifyConfig
from qat.errors import NotIntegerOnlyError


def verify(config: VerifyConfig, _run_dir: Path) -> None:
    """Print the verification of a file; raise unless it is integer-only.

    Args:
        config: `tflite`, the path of the file, and what to print, as `python -m qat.verify` composes it.
        _run_dir: folder of the command; nothing is written.

    Raises:
        NotIntegerOnlyError: the file is not integer-only.
        TfliteFileError: it is no usable file.
    """
    from qat.tflite import read, readiness
    from qat.tflite import verify as verify_file
    from qat.wrapping import say

    graph = read(config.tflite)
    verification = verify_file(graph)
    say(f"  {config.tflite}\n{verification.text()}")
    if config.readiness:
        say(readiness(graph).text())
    if not verification.integer_only:
        floats, unknown = len(verification.float_ops), len(verification.unknown_ops)
        raise NotIntegerOnlyError(
            f"{config.tflite} is not integer-only: {floats} ops touch float tensors, {unknown} are Flex or custom"
        )


def main() -> NoReturn:
    run_command(verify, primary="verify", schema=VerifyConfig)


if __name__ == "__main__":
    main()
