"""What `--help` prints: how to call a command, its options and what each is for, its settings and what each means.

Hydra's own page takes twice as long as the rest of the command's start, and cannot show what an option is for.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from qat.cli.compose import compose_node, conf_dir
from qat.cli.options import COMMAND_LINE_NAMES, SettingHelp, list_settings
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
_TRAINING_GROUPS = ("logger", "experiment", "debug", "sweep")  # groups of the training alone
_INDENT = 30
_UNSET = "…"  # in place of a value that has to be given
_COMMAND_INDENT = "  "  # lines of a comment that show a command begin with two spaces
_MAX_EXAMPLES = 2


def help_page(overrides: Sequence[str], primary: str, schema: type) -> str:
    """The text of `--help`.

    Args:
        overrides: `key=value` parts of the command line; settings are shown with the values that they give.
        primary: name of the command and of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.

    Returns:
        Paragraphs as wide as the terminal, 60 to 100 columns.

    Raises:
        ConfigError: the overrides cannot be composed.
    """
    node = compose_node(overrides, primary, schema)
    about = _read_comment(conf_dir() / f"{primary}.yaml")
    examples = [line.strip() for line in about if line.startswith(_COMMAND_INDENT)][:_MAX_EXAMPLES]
    groups = [line for group in _groups(primary, [str(name) for name in node]) for line in _options(group)]
    parts = [
        f"{command(primary)} [key=value …]\n\n{_wrap(_first_sentence(about))}",
        "Examples:\n" + "\n".join(f"  {_to_command(each)}" for each in examples),
        "Options, each a file of settings:\n" + "\n".join(groups) if groups else "",
        "Settings, with the values of this command:\n"
        + "\n".join(_format_setting(each, node) for each in list_settings(schema)),
        _wrap(f"Exit codes: {EXIT_CODES[primary]}", 2),
        _format_flags(primary),
    ]
    return "\n\n".join(part for part in parts if part)


def _groups(primary: str, sections: Sequence[str]) -> list[str]:
    """Folders of options that this command takes: those of its sections; the training also takes those of several."""
    across = [name for name in _TRAINING_GROUPS if name not in sections] if primary == "train" else []
    return [group for group in [*sections, *across] if (conf_dir() / group).is_dir()]


def _options(group: str) -> Iterator[str]:
    """For each option of a group what to write, and the first sentence of its file's comment."""
    for file in sorted((conf_dir() / group).glob("*.yaml")):
        option = f"{'+' if group == 'sweep' else ''}{group}={file.stem}"  # a plus: in no list of defaults
        yield _two_columns(option, _first_sentence(_read_comment(file)))


def _format_setting(setting: SettingHelp, node: DictConfig) -> str:
    key = COMMAND_LINE_NAMES.get(setting.key, setting.key)
    value = _value_of(OmegaConf.to_container(node), setting.key)
    default = _to_yaml(setting.default)
    meaning = re.sub(r"\bNone\b", "null", setting.meaning).rstrip(".")
    notes = [setting.accepted, f"default {default}" if default not in (value, _UNSET) else ""]
    kind = "; ".join(note for note in notes if note)
    return _two_columns(f"{key}={value}", f"{meaning} ({kind})" if kind else meaning)


def _value_of(values: object, key: str) -> str:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return _to_yaml(values)


def _to_yaml(value: object) -> str:
    """
    >>> _to_yaml(None), _to_yaml(True), _to_yaml("???"), _to_yaml(["a"])
    ('null', 'true', '…', '["a"]')
    """
    if isinstance(value, str):
        return _UNSET if value == "???" else value
    return json.dumps(value, default=str)


def _read_comment(file: Path) -> list[str]:
    """Lines of the comment at the head of an option's file, without directives of Hydra's."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def _first_sentence(lines: Sequence[str]) -> str:
    """The first sentence of a comment, over as many lines as it has.

    >>> _first_sentence(["Which one is best,", "by how much? More."])
    'Which one is best, by how much?'
    """
    lines = [line for line in lines if line]
    text = " ".join(itertools.takewhile(lambda line: not line.startswith(_COMMAND_INDENT), lines))
    match = re.match(r".*?[.?](?= [A-Z]|$)", text)
    return match.group() if match else text


def _to_command(example: str) -> str:
    return re.split(r"\s{2,}", example)[0].replace("python", python(), 1)


def _format_flags(primary: str) -> str:
    sweep = f"A sweep, a job for each value:\n  {command(primary)} -m seed=0,1,2\n" if primary == "train" else ""
    return (
        f"{sweep}--cfg job: the composed config. --config-dir DIR: options of your own, as\n"
        "DIR/experiment/mine.yaml. --version. --hydra-help: Hydra's own flags"
    )


def _two_columns(left: str, right: str) -> str:
    lines = textwrap.wrap(right, _width() - _INDENT, break_long_words=False, break_on_hyphens=False) or [""]
    first = [f"  {left}"] if len(left) > _INDENT - 4 else [f"  {left:<{_INDENT - 2}}{lines.pop(0)}".rstrip()]
    return "\n".join([*first, *(" " * _INDENT + line for line in lines if line)])


def _wrap(text: str, indent: int = 0) -> str:
    return textwrap.fill(text, _width(), subsequent_indent=" " * indent, break_on_hyphens=False)


def _width() -> int:
    return max(60, min(shutil.get_terminal_size().columns, 100))
