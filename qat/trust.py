"""`trust`: one word for running what a file or a folder of somebody else brings. Stdlib only.

`true` trusts all of it. A list of dotted names trusts these `_target_`s of a folder, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def check(trust: Any) -> None:
    """Refuse a value of `trust` that cannot be meant.

    Raises: ConfigError.
    """
    named = isinstance(trust, list) and all(isinstance(name, str) for name in trust)
    if not isinstance(trust, bool) and not named:
        raise ConfigError(
            f"trust={trust}: expected true, false, or the names that are trusted, as trust=[my_package.my_function]"
        )


def refuse_targets(plain: Any, where: str, trust: Any = False, kind: type[QatError] = ConfigError) -> None:
    """Refuse functions that a config from a file would call, unless each is trusted by name or `trust` is true.

    Args:
        plain: nested dicts and lists, from a file.
        where: the file, for the message.
        trust: true, or names.

    Raises:
        kind: names the first that is not trusted.
    """
    if trust is True:
        return
    trusted = HARMLESS | frozenset(trust or ())
    for key, name in targets_of(plain):
        if not isinstance(name, str) or name not in trusted:
            said = str(name)[:200]
            raise kind(
                f"{where}: {key}={said} names a function to call, and what comes from a folder is not run unasked. "
                f"If you know it, say so: trust=[{said}], or trust=true for all that the folder brings"
            )


def targets_of(plain: Any) -> Iterator[tuple[str, Any]]:
    """Every `_target_` with its dotted key.

    >>> list(targets_of({"data": {"target": {"_target_": "a.b"}}}))
    [('data.target._target_', 'a.b')]
    """
    todo: list[tuple[str, Any]] = [("", plain)]
    while todo:
        key, found = todo.pop()
        if isinstance(found, Mapping):
            inner = [(f"{key}.{name}".lstrip("."), value) for name, value in found.items()]
            yield from ((name, value) for name, value in inner if name.rpartition(".")[2] == TARGET)
            todo += reversed(inner)
        elif isinstance(found, list | tuple):
            todo += [(f"{key}.{number}", value) for number, value in enumerate(found)]
