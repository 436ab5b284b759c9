"""data=user: arrays from a function of the user's, named by `data.target: {_target_: package.function, ...}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qat import targets
from qat.config import DataConfig
from qat.data.arrays import source_from_arrays
from qat.data.source import Source
from qat.data.splits import Splits
from qat.datasets import class_labels, is_dataset, labelled_arrays
from qat.errors import ConfigError, DataError

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read(config: DataConfig) -> Source | Splits:
    """Call the function with the other keys of `data.target`, and take what it returns.

    It may return a dict with x_train, y_train, x_test, y_test (x_val, y_val; or x, y), a pair (x, y), two pairs
    ((x_train, y_train), (x_test, y_test)), or a `Splits`, which is taken as it is. Each (x, y) may be a
    tf.data.Dataset that yields it: one, (train, test), (train, val, test), or a dict of these.
    """
    found = _call(config)
    target = (config.target or {})["_target_"]
    if isinstance(found, Splits):
        if config.max_samples is not None or config.normal_class is not None:
            raise ConfigError(
                f"data.target: {target} returned Splits, which are taken as they are; data.max_samples and "
                "data.normal_class act on arrays only: return those, or leave both null"
            )
        return found
    names = found.get("class_names") if isinstance(found, Mapping) else None
    return source_from_arrays(config, _named(found, target), f"data.target={target}", tuple(names) if names else None)


def _call(config: DataConfig) -> Any:
    try:
        return targets.call("data.target", config.target, DataError)
    except DataError:
        raise
    except Exception as error:  # of the user's function
        name, where = config.target.get("_target_"), targets.where_raised(error)
        raise DataError(f"data.target._target_={name} failed: {type(error).__name__}: {error} ({where})") from error


def _named(found: Any, target: str) -> dict[str, Any]:
    where = f"data.target={target}"
    if is_dataset(found):
        return dict(zip(("x", "y"), _arrays(found, where), strict=True))
    if isinstance(found, (tuple, list)) and len(found) in (2, 3) and all(map(is_dataset, found)):
        found = dict(zip(("train", "test") if len(found) == 2 else ("train", "val", "test"), found, strict=True))
    if isinstance(found, Mapping) and any(map(is_dataset, found.values())):
        return _of_parts({name: part for name, part in found.items() if name != "class_names"}, where)
    if isinstance(found, Mapping):
        return {key: value for key, value in found.items() if key != "class_names"}
    if isinstance(found, tuple) and len(found) == 2:
        first, second = found
        if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second) == 2:
            return {"x_train": first[0], "y_train": first[1], "x_test": second[0], "y_test": second[1]}
        return {"x": first, "y": second}
    raise DataError(
        f"{where} returned {type(found).__name__}: expected a dict with x_train, y_train, x_test, y_test, "
        "a pair (x, y), two pairs ((x_train, y_train), (x_test, y_test)), tf.data.Datasets of (x, y), or "
        "qat.data.Splits"
    )


def _of_parts(parts: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Data sets by the name of their part, as arrays by theirs."""
    unknown = [str(name) for name, part in parts.items() if name not in PARTS or not is_dataset(part)]
    if unknown:
        raise DataError(
            f"{where}: {', '.join(unknown)} is none of the data sets train, val (or validation) and test, each a "
            "tf.data.Dataset; class_names may stand beside them"
        )
    sets = {PARTS[name]: _arrays(part, where) for name, part in parts.items()}
    return {f"{axis}_{name}": part[axis == "y"] for name, part in sets.items() for axis in "xy"}


def _arrays(dataset: Any, where: str) -> tuple[Any, Any]:
    x, y = labelled_arrays(dataset, where)
    if not hasattr(x, "shape"):
        raise DataError(f"{where}: a data set of several inputs ({len(x)}); training and evaluation here take one")
    return x, class_labels(y, len(x))
