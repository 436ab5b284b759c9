"""data=user: arrays from the user's own function, named by `data.target: {_target_: package.function, ...}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qat import targets
from qat.config import DataConfig
from qat.data.arrays import read_class_names, source_from_arrays
from qat.data.source import PART_NAMES, Source, check_labels, check_within_classes
from qat.data.splits import Splits
from qat.datasets import Dataset, class_labels, is_dataset, labelled_arrays
from qat.errors import ConfigError, DataError


def read(config: DataConfig) -> Source | Splits:
    """Call the function with the other keys of `data.target`, and take what it returns.

    It may return a dict with x_train, y_train, x_test, y_test (x_val, y_val; or x, y), a pair (x, y), two pairs
    ((x_train, y_train), (x_test, y_test)), or a `Splits`, which is taken as it is. Each (x, y) may be a
    tf.data.Dataset that yields it: one, (train, test), (train, val, test), or a dict of these.
    """
    returned = targets.call("data.target", config.target, DataError)
    target = (config.target or {})["_target_"]
    if isinstance(returned, Splits):
        if config.max_samples is not None or config.normal_class is not None:
            raise ConfigError(
                f"data.target: {target} returned Splits, which are taken as they are; data.max_samples and "
                "data.normal_class act on arrays only: return those, or leave both null"
            )
        for split in (returned.train, returned.val, returned.calibration, returned.test):
            where = f"data.target={target}: labels of {split.name}"
            if len(split):
                check_within_classes(check_labels(split.labels, len(split), where), returned.class_names, where)
        return returned
    names = returned.get("class_names") if isinstance(returned, Mapping) else None
    if names is not None:
        names = read_class_names(names, f"data.target={target}: class_names")
    return source_from_arrays(config, _name_arrays(returned, target), f"data.target={target}", names or None)


def _name_arrays(returned: object, target: str) -> dict[str, Any]:
    where = f"data.target={target}"
    if is_dataset(returned):
        return dict(zip(("x", "y"), _arrays(returned, where), strict=True))
    if isinstance(returned, (tuple, list)) and len(returned) in (2, 3) and all(map(is_dataset, returned)):
        returned = dict(
            zip(("train", "test") if len(returned) == 2 else ("train", "val", "test"), returned, strict=True)
        )
    if isinstance(returned, Mapping) and any(map(is_dataset, returned.values())):
        return _name_parts({name: part for name, part in returned.items() if name != "class_names"}, where)
    if isinstance(returned, Mapping):
        return {key: value for key, value in returned.items() if key != "class_names"}
    if isinstance(returned, (tuple, list)) and len(returned) == 2:
        first, second = returned
        if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second) == 2:
            return {"x_train": first[0], "y_train": first[1], "x_test": second[0], "y_test": second[1]}
        return {"x": first, "y": second}
    raise DataError(
        f"{where} returned {type(returned).__name__}: expected a dict with x_train, y_train, x_test, y_test, a pair "
        "(x, y), two pairs ((x_train, y_train), (x_test, y_test)), tf.data.Datasets of (x, y), or qat.data.Splits"
    )


def _name_parts(parts: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Turn data sets by the name of their part into arrays by name, such as x_train."""
    unknown = [str(name) for name, part in parts.items() if name not in PART_NAMES or not is_dataset(part)]
    if unknown:
        raise DataError(
            f"{where}: {', '.join(unknown)} is none of the data sets train, val (or validation) and test, each a "
            "tf.data.Dataset; class_names may be among them"
        )
    sets = {PART_NAMES[name]: _arrays(part, where) for name, part in parts.items()}
    return {f"{axis}_{name}": part[axis == "y"] for name, part in sets.items() for axis in "xy"}


def _arrays(dataset: Dataset, where: str) -> tuple[Any, Any]:
    x, y = labelled_arrays(dataset, where)
    if not hasattr(x, "shape"):
        raise DataError(f"{where}: a data set of several inputs ({len(x)}); training and evaluation here take one")
    return x, class_labels(y, len(x))
