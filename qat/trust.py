"""`trust`: the one setting that allows running code from an untrusted file or folder. Stdlib only.

`true` trusts all of it. A list of dotted names trusts these `_target_`s of a folder, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qat.errors import ConfigError, QatError

TARGET = "_target_"
HARMLESS = frozenset(
    f"{package}.optimizers.{name}"
    for package in ("tf_keras", "tf.keras", "keras", "tensorflow.keras")
    for name in (
        *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lion", "Nadam", "RMSprop", "SGD"),
        *("schedules.CosineDecay", "schedules.CosineDecayRestarts", "schedules.ExponentialDecay"),
        *("schedules.InverseTimeDecay", "schedules.PiecewiseConstantDecay", "schedules.PolynomialDecay"),
    )
)
"""Keras' optimizers and schedules only compute: a folder may name them."""


def check(trust: object) -> None:
    """Refuse an invalid value of `trust`.

    Raises:
        ConfigError: it is neither a boolean nor a list of names.
    """
    is_names = isinstance(trust, list) and all(isinstance(name, str) for name in trust)
    if not isinstance(trust, bool) and not is_names:
        raise ConfigError(
            f"trust={trust}: expected true, false, or the names that are trusted, as trust=[my_package.my_function]"
        )


def refuse_targets(
    plain: object, where: str, trust: bool | Sequence[str] = False, kind: type[QatError] = ConfigError
) -> None:
    """Refuse functions that a config from a file would call, unless each is trusted by name or `trust` is true.

    Args:
        plain: nested dicts and lists, from a file.
        where: name of the file, for the message.
        trust: True trusts all, False none; a list names the functions that are trusted, by dotted name.
        kind: class of the error to raise.

    Raises:
        kind: names the first function that is not trusted.
    """
    if trust is True:
        return
    trusted = HARMLESS | frozenset(trust or ())
    for key, name in targets_of(plain):
        if not isinstance(name, str) or name not in trusted:
            shown = str(name)[:200]
            raise kind(
                f"{where}: {key}={shown} names a function to call, and what comes from a folder is not run unasked. "
                f"If you know it, say so: trust=[{shown}], or trust=true for all that the folder brings"
            )


def targets_of(plain: object) -> Iterator[tuple[str, Any]]:
    """Every `_target_` with its dotted key.

    >>> list(targets_of({"data": {"target": {"_target_": "a.b"}}}))
    [('data.target._target_', 'a.b')]
    """
    stack: list[tuple[str, Any]] = [("", plain)]
    while stack:
        key, node = stack.pop()
        if isinstance(node, Mapping):
            entries = [(f"{key}.{name}".lstrip("."), value) for name, value in node.items()]
            yield from ((name, value) for name, value in entries if name.rpartition(".")[2] == TARGET)
            stack += reversed(entries)
        elif isinstance(node, list | tuple):
            stack += [(f"{key}.{number}", value) for number, value in enumerate(node)]
