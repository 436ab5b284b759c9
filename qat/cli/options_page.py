"""The page of every command's settings, Markdown: `scripts/docs` writes it, a test holds it to `qat.config`."""

from __future__ import annotations

from typing import Any

from qat import config
from qat.cli.options import Knob, knobs

COMMANDS = {
    "train": config.Config,
    "verify": config.VerifyConfig,
    "evaluate": config.EvaluateConfig,
    "benchmark": config.BenchmarkConfig,
    "diagnose": config.DiagnoseConfig,
    "compare": config.CompareConfig,
}


def options_page() -> str:
    """A heading for each command, a table for each of its sections."""
    parts = [
        "# Every option",
        "Made by `scripts/docs` from `qat/config.py`. A setting is `key=value` behind a command, a list is `[a,b]`.",
    ]
    for command, schema in COMMANDS.items():
        parts.append(f"## `qat {command}`")
        found = list(knobs(schema))
        for section in dict.fromkeys(map(_section, found)):
            parts += [f"### {section}"] if section else []
            parts.append(_table([knob for knob in found if _section(knob) == section]))
    return "\n\n".join(parts) + "\n"


def _section(knob: Knob) -> str:
    return knob.key.partition(".")[0] if "." in knob.key else ""


def _table(found: list[Knob]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for knob in found:
        cells = (f"`{knob.key}`", knob.expected or knob.type, f"`{_default(knob.default)}`", knob.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(value: Any) -> str:
    if value == config.MISSING:
        return "(must be said)"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
