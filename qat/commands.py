"""Commands that messages print, ready to paste into a shell, whether the environment is active or not. Stdlib only."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

_OF_SHELLS = re.compile(r"[\"$`\\!]")  # what a shell reads inside double quotes
_PLAIN_VALUE = re.compile(r"[\w./~-]+")
DISTRIBUTION = "qat-keras"  # `qat` on PyPI is another project; what is imported is `qat`


def command(name: str, *arguments: str, **settings: Path | str) -> str:
    """`python -m qat.<name> …` for this environment.

    Args:
        name: of the command, as "train".
        arguments: unquoted; they are quoted for a shell.
        settings: unquoted values by key; they are quoted for Hydra and for a shell.

    Returns:
        One line for a shell.
    """
    assigned = (_assignment(key, str(value)) for key, value in settings.items())
    return " ".join([python(), "-m", f"qat.{name}", *map(_quote, arguments), *assigned])


def _assignment(key: str, value: str) -> str:
    if _PLAIN_VALUE.fullmatch(value):
        return f"{key}={value}"
    escaped = value.replace("'", "\\'")
    return _quote(f"{key}='{escaped}'")


def _quote(argument: str) -> str:
    """An argument for a shell; one that Hydra's quotes stand in is put into double ones, which people can read.

    >>> print(_quote("seed=0"), _quote("data.range=[0,1]"), _quote("data.path='my photos'"))
    seed=0 'data.range=[0,1]' "data.path='my photos'"
    """
    readable = "'" in argument and not _OF_SHELLS.search(argument)
    return f'"{argument}"' if readable else shlex.quote(argument)


def install_command(extra: str) -> str:
    """The command that installs an extra of this package: from its checkout, if it is imported from one."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():
        where = Path() if checkout == Path.cwd() else checkout
        return f"{python()} -m pip install -e {shlex.quote(f'{where}[{extra}]')}"
    return f"{python()} -m pip install {shlex.quote(f'{DISTRIBUTION}[{extra}]')}"


def python() -> str:
    """The shortest command by which a shell in this folder starts this Python."""
    executable = Path(sys.executable)
    path = shutil.which("python")
    if path is not None and Path(path).absolute() == executable:
        return "python"
    folder = Path.cwd()
    if folder in executable.parents:
        return shlex.quote(os.path.relpath(executable, folder))
    return shlex.quote(str(executable))
