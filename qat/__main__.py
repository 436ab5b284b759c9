"""`qat COMMAND …`, the same as `python -m qat COMMAND …` and `python -m qat.COMMAND …`."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from qat import __version__
from qat.cli.lasting_output import let_output_last
from qat.wrapping import say

COMMANDS = {
    "train": "a float model, trained or yours: quantized, exported, compared",
    "evaluate": "accuracy of any .tflite on labelled data",
    "verify": "is a .tflite integer-only?",
    "compare": "runs and sweeps side by side, as a page",
    "diagnose": "why is a .tflite worse than its model? Names the cause",
    "benchmark": "latency, size and memory of .tflite files on this machine",
}

_SYNONYMS = {  # commands of other tools
    **dict.fromkeys(("fit", "run", "quantize", "quantise", "export", "convert", "sweep"), "train"),
    **dict.fromkeys(("eval", "val", "test", "predict", "infer"), "evaluate"),
    **dict.fromkeys(("check", "inspect", "info"), "verify"),
    **dict.fromkeys(("bench", "profile"), "benchmark"),
    **dict.fromkeys(("report", "plot"), "compare"),
    **dict.fromkeys(("debug", "doctor"), "diagnose"),
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the first argument names, with the others; exit codes are the command's.

    Args:
        argv: arguments without the program's name; None takes the command line.
    """
    first, *others = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if first in COMMANDS:
        sys.argv = [f"qat {first}", *others]
        importlib.import_module(f"qat.{first}").main()
    let_output_last()
    if first in ("--version", "-V", "version"):
        print(f"qat {__version__}")
        sys.exit(0)
    if first in ("--help", "-h", "help"):
        say(_page())
        sys.exit(0)
    say(_unknown(first), sys.stderr)
    sys.exit(2)


def _page() -> str:
    return "\n".join(
        [
            "qat COMMAND [key=value …]",
            "",
            *(f"  {name:<11}{what}" for name, what in COMMANDS.items()),
            "",
            "qat COMMAND --help   its options, each with meaning, choices and default",
            "qat --version        the version",
            "",
            "The same without the console script: python -m qat COMMAND …",
        ]
    )


def _unknown(first: str) -> str:
    if "=" in first:
        return f"qat: {first}: the command comes first, as qat train {first}. Commands: {', '.join(COMMANDS)}."
    near = [_SYNONYMS[first]] if first in _SYNONYMS else difflib.get_close_matches(first.lower(), COMMANDS, n=1)
    hint = f" Did you mean qat {near[0]}?" if near else ""
    return f"qat: {first}: no such command.{hint} Commands: {', '.join(COMMANDS)}."


if __name__ == "__main__":
    main()
