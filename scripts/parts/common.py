"""What the commands and their parts share: where things stand, rows on disk, tables. The standard library alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
EXPERIMENTS = ROOT / "experiments"
SHARED = Path(os.environ.get("QAT_SHARED", ROOT.parent / "shared"))  # models and data, outside of the checkout
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # the same sums in the same order


def child_environment(**more: str) -> dict[str, str]:
    """Of a Python that finds the checkout and Keras 2, and keeps TensorFlow quiet."""
    own = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
    return os.environ | own | more


def part(module: str, *arguments: object, python: str | Path = PYTHON) -> list[str]:
    """The command line of a module below `scripts/parts`, as `bench.training`."""
    return [str(python), "-m", f"scripts.parts.{module}", *map(str, arguments)]


def enter_environment() -> None:
    """Go on in the Python of the project's environment, which is made where it is missing: what a command imports apart
    from the standard library is there."""
    if Path(sys.prefix) != PYTHON.parents[1]:
        if not PYTHON.exists():
            subprocess.run([ROOT / "scripts" / "environment", "test"], check=True)
        os.execv(PYTHON, [str(PYTHON), *sys.argv])


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a .jsonl, none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.strip()]


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Kept as soon as it is known: whoever stops a command loses the row that is being measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def markdown_table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *lines))


def commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return answer.stdout.strip()


def process_memory(key: str, process: int | str = "self") -> int:
    """Bytes of a process, now (VmRSS) or at most so far (VmHWM); 0 when it has gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":")), 0)
