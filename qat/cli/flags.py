"""Flags of a command line: Hydra's, which are taken, and those of other tools, for which the option is named."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from qat.cli.groups import groups
from qat.cli.other_names import find_derived, suggest_foreign, suggest_keys
from qat.cli.schema_keys import all_keys
from qat.errors import ConfigError


def take_flag(argv: Sequence[str], schema: type) -> list[str]:
    """Take the flag at the beginning of `argv`, and the value behind it where it has one.

    >>> from qat.config import Config
    >>> take_flag(["--cfg", "job", "seed=1"], Config), take_flag(["-m", "seed=0,1"], Config)
    (['--cfg', 'job'], ['-m'])

    Args:
        argv: the rest of the command line; its first part begins with a dash.
        schema: the dataclass of the command's whole config.

    Returns:
        The flag, and its value if that is a part of its own: one part or two.

    Raises:
        ConfigError: Hydra has no such flag, or takes another value; the message has what to write.
    """
    flags = {name: action for action in get_args_parser()._actions for name in action.option_strings}
    name, has_value, value = argv[0].partition("=")
    if name not in flags:
        raise ConfigError(_explain_unknown_flag(argv[0], argv[1:2], list(flags), schema))
    if flags[name].nargs == 0:
        if has_value:
            raise ConfigError(f"{argv[0]}: {name} stands alone, without a value{_behind(value)}.")
        return [argv[0]]
    own = not has_value and len(argv) > 1 and "=" not in argv[1] and not argv[1].startswith("-")
    value = argv[1] if own else value
    if not value and flags[name].nargs != "?":
        raise ConfigError(f"{name}: expected {_expected(flags[name])} behind it.")
    if value and flags[name].choices and value not in flags[name].choices:
        raise ConfigError(f"{name} {value}: expected {_expected(flags[name])}.")
    return list(argv[: 1 + own])


def _behind(value: str) -> str:
    return f"; {value} follows behind a space" if "=" in value else ""


def _expected(action: argparse.Action) -> str:
    return f"one of {', '.join(map(str, action.choices))}" if action.choices else "a value"


def refuse_show_and_sweep(argv: Sequence[str]) -> None:
    """Refuse `--cfg job -m`, and `sweep.resume=DIR` with it, which would show one config for many jobs."""
    show_flags = [part for part in argv if part.partition("=")[0] in ("--cfg", "-c", "--info", "-i")]
    resumed = [part for part in argv if part.startswith("sweep.resume=")]
    if show_flags and resumed:
        raise ConfigError(
            f"{show_flags[0]} shows the config of one job: leave out {resumed[0]}, and give the job's keys."
        )
    if show_flags and {"-m", "--multirun"} & set(argv):
        raise ConfigError(f"{show_flags[0]} shows the config of one job: leave out -m, and give each key one value.")


def _explain_unknown_flag(part: str, following: Sequence[str], flags: list[str], schema: type) -> str:
    name, has_value, value = part.partition("=")
    if not has_value and following and not following[0].startswith("-") and "=" not in following[0]:
        value, part = following[0], f"{part} {following[0]}"
    word = name.lstrip("-").replace("-", "_")
    if derived := find_derived(word):
        return f"{part}: no such option; {derived}."
    suggestions = _suggest_options(word, value, schema)
    near = difflib.get_close_matches(name, flags, n=1, cutoff=0.8)
    if near and not suggestions:
        return f"{part}: no such flag. Did you mean {near[0]}?"
    if suggestions and " " in suggestions[0].replace(value, ""):
        return f"{part}: no such flag. Write {suggestions[0]}"
    if not suggestions:
        return f"{part}: no such flag. Options are written without dashes, as key=value; --help lists the keys."
    return f"{part}: options are written without dashes, as key=value: {' or '.join(suggestions)}"


def _suggest_options(name: str, value: str, schema: type) -> list[str]:
    if name in (*groups(schema), "sweep"):
        return [f"{'+' if name == 'sweep' else ''}{name}={value or '…'}"]
    foreign = suggest_foreign(name, value, [key for key in all_keys(schema) if "." not in key])
    return foreign or [f"{key}={value or '…'}" for key in suggest_keys(name, schema)]
