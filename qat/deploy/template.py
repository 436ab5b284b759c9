"""Fill the templates of `templates/`: files in the language that they are for."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from importlib import resources

_CONDITION = re.compile(r" *(?:#|//) \[if (?P<not>not )?(?P<fact>[a-z_]+)\]$")


class _Identifiers(string.Template):
    """`QAT_NAME` is a placeholder: an identifier in every language, so that the templates are valid code."""

    delimiter = "QAT_"
    idpattern = "[A-Z_]+"
    flags = re.RegexFlag(0)


def fill(name: str, values: Mapping[str, object], facts: Mapping[str, bool] | None = None) -> str:
    """Fill a template. A line that ends in the comment `[if fact]` or `[if not fact]` is written only if that holds.

    Args:
        name: name of the file in `templates/`. Those whose placeholders stand inside of identifiers have them as
            `${name}`, the others as `QAT_NAME`.
        values: what stands in the place of each placeholder, written as text.
        facts: whether each condition of its lines holds, by the condition's name; None where it has no conditions.

    Returns:
        The text, which ends in a line break.

    Raises:
        KeyError: a placeholder or a fact has no value.
    """
    text = (resources.files("qat.deploy") / "templates" / name).read_text(encoding="utf-8")
    lines = []
    for line in text.splitlines():
        condition = _CONDITION.search(line)
        if condition is None or (facts or {})[condition["fact"]] != bool(condition["not"]):
            lines.append(_CONDITION.sub("", line))
    template = _Identifiers if "QAT_" in text else string.Template
    return template("\n".join(lines) + "\n").substitute(values)
