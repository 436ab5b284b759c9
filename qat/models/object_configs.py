"""Losses, metrics and optimizers of either Keras as plain values for a config, and back."""

from __future__ import annotations

import contextlib
import json
from importlib import import_module
from typing import Any

import keras
from tf_keras.src.saving import object_registration

KINDS = {"losses": "Loss", "metrics": "Metric", "optimizers": "Optimizer"}
_SAVING = {"tf_keras": object_registration, "keras": keras.saving}  # where each Keras keeps the names of classes


def describe_object(value: object) -> dict[str, Any] | None:
    """A loss, metric or optimizer as JSON values; None of anything else, and of one that does not tell its config."""
    for package, saving in _SAVING.items():
        for kind, base in KINDS.items():
            if isinstance(value, getattr(getattr(import_module(package), kind), base)):
                # a class of the user's may not tell its config, or tell what no file holds
                with contextlib.suppress(TypeError, ValueError, NotImplementedError):
                    config = json.loads(json.dumps(value.get_config()))
                    described = {"kind": kind, "class": type(value).__name__, "config": config}
                    described |= {"known": saving.get_registered_name(type(value)), "source": source_of(type(value))}
                    return described if package == "tf_keras" else described | {"package": package}
    return None


def source_of(kind: type) -> str:
    """Where a class is defined: its module and its name there."""
    return f"{kind.__module__}.{kind.__qualname__}"


def make_object(config: dict[str, Any], also: dict[str, Any] | None = None) -> Any:
    """A new object like one that was described.

    It is made by hand: what Keras has for it knows no new names while it loads an .h5 file or a SavedModel.

    Args:
        config: what `describe_object` gave.
        also: classes by where they are defined, in addition to those that Keras knows. None for none.

    Returns:
        The object; None where its class is not known, or does not take the config (of another version).
    """
    package = "keras" if config.get("package") == "keras" else "tf_keras"
    if config.get("kind") not in KINDS:
        return None
    namespace = getattr(import_module(package), config["kind"])
    source = str(config.get("source", f"{package}."))  # which earlier versions did not write down
    made_by = _SAVING[package].get_registered_object(config.get("known")) or (also or {}).get(source)
    if made_by is None and source.startswith(f"{package}."):
        made_by = getattr(namespace, str(config.get("class")), None)
    if not isinstance(made_by, type) or not issubclass(made_by, getattr(namespace, KINDS[config["kind"]])):
        return None
    try:
        return made_by.from_config(config["config"])
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        NotImplementedError,
    ):  # a class of the user's, or a bent file
        return None
