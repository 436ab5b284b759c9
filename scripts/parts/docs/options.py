"""The page of every command's settings, Markdown: `scripts/docs` writes it, a test compares it with `qat.config`."""

from __future__ import annotations

from typing import Any

from qat import config
from qat.cli.options import SettingHelp, list_settings

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
        settings = list(list_settings(schema))
        for section in dict.fromkeys(map(_section, settings)):
            parts += [f"### {section}"] if section else []
            parts.append(_table([setting for setting in settings if _section(setting) == section]))
    return "\n\n".join(parts) + "\n"


def _section(setting: SettingHelp) -> str:
    return setting.key.partition(".")[0] if "." in setting.key else ""


def _table(settings: list[SettingHelp]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for setting in settings:
        cells = (
            f"`{setting.key}`",
            setting.accepted,
            f"`{_default(setting.default)}`",
            setting.meaning,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(value: Any) -> str:
    if value == config.MISSING:
        return "(required)"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
