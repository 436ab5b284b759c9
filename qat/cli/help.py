"""What `--help` prints: how to call a command, its options with what they answer, its knobs with what they mean.

Hydra's own page takes twice as long as the rest of the door and cannot show what an option is for.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from qat.cli.compose import compose_node, conf_dir
from qat.cli.options import Knob, knobs
from qat.commands import command, python

EXIT_CODES = {
    "train": "0 done; 1 an error nobody foresaw; 2 refused, with the reason; 3 the training diverged; 4 parity is "
    "broken, all files are written. A sweep: that of the jobs that failed, where they agree, else 1",
    "evaluate": "0 done; 1 an error nobody foresaw; 2 refused, with the reason",
    "verify": "0 integer-only; 1 not; 2 no usable file",
    "compare": "0 done; 1 an error nobody foresaw; 2 refused, with the reason",
    "diagnose": "0 no fault; 1 a fault, proved or certain; 2 refused, no usable file; 3 undetermined",
    "benchmark": "0 done; 1 an error nobody foresaw; 2 refused, with the reason",
}
_ACROSS = ("logger", "experiment", "debug", "sweep")  # groups of the training alone
_WRITTEN_AS = {"samples_from": "data"}  # on the command line of qat.diagnose
_INDENT = 30
_COMMAND = "  "  # lines of a comment that show a command begin with two spaces
_MOST_EXAMPLES = 2


def help_page(overrides: Sequence[str], primary: str, schema: type) -> str:
    node = compose_node(overrides, primary, schema)
    about = _comment(conf_dir() / f"{primary}.yaml")
    examples = [line.strip() for line in about if line.startswith(_COMMAND)][:_MOST_EXAMPLES]
    groups = [line for group in _groups(primary, [str(name) for name in node]) for line in _options(group)]
    parts = [
        f"{command(primary)} [key=value …]\n\n{_wrapped(_sentence(about))}",
        "Examples:\n" + "\n".join(f"  {_runnable(each)}" for each in examples),
        "Options, each a file of settings:\n" + "\n".join(groups) if groups else "",
        "Settings, with the values of this command:\n" + "\n".join(_told(each, node) for each in knobs(schema)),
        _wrapped(f"Exit codes: {EXIT_CODES[primary]}", 2),
        _flags(primary),
    ]
    return "\n\n".join(part for part in parts if part)


def _groups(primary: str, sections: Sequence[str]) -> list[str]:
    """Folders of options that this command takes: those of its sections, and for the training what cuts across."""
    across = [name for name in _ACROSS if name not in sections] if primary == "train" else []
    return [group for group in [*sections, *across] if (conf_dir() / group).is_dir()]


def _options(group: str) -> Iterator[str]:
    """What to write, and what the option's file asks in its first sentence."""
    for file in sorted((conf_dir() / group).glob("*.yaml")):
        option = f"{'+' if group == 'sweep' else ''}{group}={file.stem}"  # a plus: in no list of defaults
        yield _two_columns(option, _sentence(_comment(file)))


def _told(knob: Knob, node: Any) -> str:
    key = _WRITTEN_AS.get(knob.key, knob.key)
    value = _shown(OmegaConf.to_container(node), knob.key)
    default = _plain(knob.default)
    meaning = re.sub(r"\bNone\b", "null", knob.meaning).rstrip(".")
    notes = [knob.expected or knob.type, f"default {default}" if default != value else ""]
    kind = "; ".join(note for note in notes if note)
    return _two_columns(f"{key}={value}", f"{meaning} ({kind})" if kind else meaning)


def _shown(values: Any, key: str) -> str:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return _plain(values)


def _plain(value: Any) -> str:
    """
    >>> _plain(None), _plain(True), _plain("???"), _plain(["a"])
    ('null', 'true', '…', '["a"]')
    """
    if isinstance(value, str):
        return "…" if value == "???" else value
    return json.dumps(value, default=str)


def _comment(file: Path) -> list[str]:
    """Lines of the comment at the head of an option's file, without directives of Hydra's."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def _sentence(lines: Sequence[str]) -> str:
    """The first sentence of a comment, over as many lines as it has.

    >>> _sentence(["Which one is best,", "by how much? More."])
    'Which one is best, by how much?'
    """
    lines = [line for line in lines if line]
    text = " ".join(itertools.takewhile(lambda line: not line.startswith(_COMMAND), lines))
    found = re.match(r".*?[.?](?= [A-Z]|$)", text)
    return found.group() if found else text


def _runnable(example: str) -> str:
    return re.split(r"\s{2,}", example)[0].replace("python", python(), 1)


def _flags(primary: str) -> str:
    sweep = f"A sweep, a job for each value:\n  {command(primary)} -m seed=0,1,2\n" if primary == "train" else ""
    return (
        f"{sweep}--cfg job: the composed config. --config-dir DIR: options of your own, as\n"
        "DIR/experiment/mine.yaml. --version. --hydra-help: Hydra's own flags"
    )


def _two_columns(left: str, right: str) -> str:
    lines = textwrap.wrap(right, _width() - _INDENT, break_long_words=False, break_on_hyphens=False) or [""]
    first = [f"  {left}"] if len(left) > _INDENT - 4 else [f"  {left:<{_INDENT - 2}}{lines.pop(0)}".rstrip()]
    return "\n".join([*first, *(" " * _INDENT + line for line in lines if line)])


def _wrapped(text: str, indent: int = 0) -> str:
    return textwrap.fill(text, _width(), subsequent_indent=" " * indent, break_on_hyphens=False)


def _width() -> int:
    return max(60, min(shutil.get_terminal_size().columns, 100))
