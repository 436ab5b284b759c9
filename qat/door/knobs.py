"""What stands in `config.py` of each knob: its key, type, default, and the comment that says what it does."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints

from qat import config


@dataclass(frozen=True)
class Knob:
    """One setting of a command: `key` as it is typed, its `type`, its default as YAML has it, and what it does."""

    key: str
    type: str
    default: str
    meaning: str


def knobs_of(root: type) -> list[Knob]:
    """Every knob of a command's config, in the order of `config.py`.

    Args:
        root: a dataclass of `qat.config`, as `Config` or `VerifyConfig`.

    >>> [knob.key for knob in knobs_of(config.VerifyConfig)][:2]
    ['tflite', 'readiness']
    >>> knobs_of(config.VerifyConfig)[0].meaning
    'the file to look into'
    """
    return list(_walked(root, ""))


def _walked(owner: type, prefix: str) -> Iterator[Knob]:
    said, types = _comments(owner), get_type_hints(owner)
    for each in dataclasses.fields(owner):
        kind = types[each.name]
        if dataclasses.is_dataclass(kind):
            yield from _walked(kind, f"{prefix}{each.name}.")
        else:
            written = each.type if isinstance(each.type, str) else getattr(each.type, "__name__", str(each.type))
            yield Knob(f"{prefix}{each.name}", written, _default(each), said.get(each.name, ""))


def _default(each: dataclasses.Field) -> str:
    value: Any = each.default
    if value is dataclasses.MISSING:
        value = each.default_factory() if each.default_factory is not dataclasses.MISSING else config.MISSING
    if value == config.MISSING:
        return "(must be said)"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _comments(owner: type) -> dict[str, str]:
    """By field: the comment behind it, or the comment lines above it, or what the docstring's `Attributes` say."""
    source = textwrap.dedent(inspect.getsource(owner))
    lines, found = source.splitlines(), {}
    documented = dict(re.findall(r"^ +(\w+): (.+?)\.?$", inspect.getdoc(owner) or "", re.MULTILINE))
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.end_lineno
            and node.end_col_offset
        ):
            behind = lines[node.end_lineno - 1][node.end_col_offset :].strip()
            name = node.target.id
            found[name] = behind.lstrip("# ") or _above(lines, node.lineno - 1) or documented.get(name, "")
    return found


def _above(lines: list[str], at: int) -> str:
    first = at
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return " ".join(line.strip().lstrip("# ") for line in lines[first:at])


COMMANDS = {
    "train": config.Config,
    "verify": config.VerifyConfig,
    "evaluate": config.EvaluateConfig,
    "benchmark": config.BenchmarkConfig,
    "diagnose": config.DiagnoseConfig,
    "compare": config.CompareConfig,
}


def options_page() -> str:
    """The page of all commands' knobs, Markdown; made by `scripts/docs`."""
    parts = [
        "# Every option",
        "Made by `scripts/docs` from `qat/config.py`. A knob is set by `key=value` behind a command, lists as `[a,b]`.",
    ]
    for command, root in COMMANDS.items():
        parts.append(f"## `python -m qat.{command}`")
        knobs = knobs_of(root)
        for section in dict.fromkeys(_section(knob) for knob in knobs):
            parts += [f"### {section}"] if section else []
            parts.append(_table([knob for knob in knobs if _section(knob) == section]))
    return "\n\n".join(parts) + "\n"


def _section(knob: Knob) -> str:
    return knob.key.partition(".")[0] if "." in knob.key else ""


def _table(knobs: list[Knob]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for knob in knobs:
        cells = (f"`{knob.key}`", f"`{knob.type}`", f"`{knob.default}`", knob.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
