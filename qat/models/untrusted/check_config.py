"""Check the config of a saved model against the allow-list, wherever in it something is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from qat.json_values import Json
from qat.limits import MB, current
from qat.models.untrusted import allowed
from qat.models.untrusted.graph_ops import PREFIX, only_computes

_KERAS_MODULE = re.compile(r"(tf_)?keras(\.[A-Za-z0-9_]+)*")
_QAT_MODULE = re.compile(r"qat\.quantization(\.[a-z0-9_]+)+")
_SPEC_MODULE = re.compile(r"tensorflow\.python\.(framework|ops)(\.[A-Za-z0-9_]+)*")
_DTYPE = re.compile(r"(u?int|float|bfloat|complex)\d+|bool|string|str")
OWN = '"qat>'  # how the registered names of those classes begin in a config
_WORDS_OF_DATA = ("vocabulary", "label_names")  # keys of texts that are no names of anything
IN_HDF5 = "QatModel"  # what an .h5 of ours calls its model
_OP_LAYERS = ("TFOpLambda", "SlicingOpLambda")
# what Keras makes by the class_name alone, whatever else is told
_BY_NAME = {*_OP_LAYERS, "Lambda", "__lambda__", "function", "ClassMethod", "InstanceMethod", "InstanceProperty"}
_BY_NAME |= {"TensorFlowOpLayer", "__typespec__", "TypeSpec"}
_CLASSES = allowed.LAYERS | allowed.KERAS3_LAYERS | allowed.OPERATIONS
_CLASSES |= allowed.MODELS | allowed.PARTS | allowed.VALUES
_PART_KEY = re.compile(r".*(initializer|regularizer|constraint)")
_PART_VALUES = allowed.PART_STRINGS | allowed.PARTS


class NotAllowedError(ValueError):
    """The config names what is not on the list; the message says what and where."""


def validate_config(config: Json, own: frozenset[str] = frozenset()) -> Any:
    """Check that everything a config names is on the list.

    Args:
        config: the config in the file, as `json.loads` returns it.
        own: class and function names that the caller's process has given to Keras (`custom_object_scope`); they are
            allowed.

    Returns:
        A copy of the config without losses, optimizers and metrics.

    Raises:
        NotAllowedError: the config describes no functional or sequential model, or names a class or function that is
            not on the list; the message has the name and its place.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise NotAllowedError("its config describes no model: it has no class_name")
    plain = drop_compile_config(config)
    _refuse_programs(plain)
    for path, each in _dicts(plain, "model"):
        for complaint in _complaints(each, own):
            raise NotAllowedError(f"{complaint}, at {path[:200]}")
        _pin(each, own)
    if _plain_name(config["class_name"]) not in allowed.MODELS | own and not _is_ours(config):
        raise NotAllowedError(f"it holds a {_short_repr(config['class_name'])} and no functional or sequential model")
    return plain


def find_custom_names(config: Json) -> list[str]:
    """Classes and functions in a config that come from neither Keras nor TensorFlow, by name."""
    names = set()
    for _, each in _dicts(config, ""):
        origin = str(each.get("module") or "").split(".")[0]
        if _is_ours(each):
            continue
        if "class_name" in each and "module" in each and origin not in ("keras", "tf_keras", "tensorflow", "builtins"):
            names.add(_short_repr(each.get("config") if each["class_name"] == "function" else each["class_name"]))
    return sorted(names)


def names_any_of(config: Json, own: frozenset[str]) -> bool:
    """Whether a checked config names something of the caller's own.

    Args:
        config: the config in the file, as `json.loads` returns it.
        own: class and function names that the caller's process has given to Keras.

    Returns:
        True where at least one of the names is in it.
    """
    return any(name in own for _, section in _dicts(config, "") for name in _looked_up(section))


def _looked_up(section: dict[str, Any]) -> Iterator[str]:
    """The names in a section that Keras looks up among classes and functions."""
    if "class_name" in section:
        yield from (str(section.get(key)) for key in ("class_name", "registered_name"))
    yield from map(str, _function_names(section))
    for key, value in section.items():
        if isinstance(value, str) and (key.endswith("activation") or _PART_KEY.fullmatch(key)):
            yield value


def drop_compile_config(config: Json) -> Any:
    """A copy of a config without losses, optimizers and metrics, which are not deployed."""
    if isinstance(config, dict):
        return {k: drop_compile_config(v) for k, v in config.items() if k not in ("compile_config", "training_config")}
    return [drop_compile_config(each) for each in config] if isinstance(config, list) else config


def _refuse_programs(config: Json) -> None:
    """Refuse ops of TensorFlow that do more than compute, and constants that take the machine's memory, wherever a
    program of a quantized model has them."""
    todo, left = [config], current().memory_mb * MB
    while todo:
        value = todo.pop()
        if isinstance(value, dict | list):
            inner = value if isinstance(value, list) else [value[key] for key in value if key not in _WORDS_OF_DATA]
            todo += inner
        if isinstance(value, dict) and isinstance(sizes := value.get("sizes"), list) and "array" in value:
            left -= _byte_count(sizes, value.get("dtype"))
        elif isinstance(value, str) and value.startswith(PREFIX) and not only_computes(value.removeprefix(PREFIX)):
            raise NotAllowedError(f"op {_short_repr(value)}, which is not among those that only compute")
        if left < 0:
            raise NotAllowedError("constants of more bytes than limits.memory_mb allows")


def _byte_count(sizes: list[Any], dtype: object) -> int:
    """Bytes of an array that a file holds packed; more than any limit if shape or dtype is not valid."""
    if not all(isinstance(each, int) and each >= 0 for each in sizes) or not _DTYPE.fullmatch(str(dtype)):
        return 1 << 62
    bits = re.search(r"\d+", str(dtype))
    return prod(sizes) * (max(1, int(bits[0]) // 8) if bits else 1)


def _dicts(config: Mapping[str, Json] | Sequence[Json], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict, with the names of the layers on the way to it."""
    todo = [(path, config)]
    while todo:
        path, section = todo.pop()
        if isinstance(section, dict):
            yield path, section
            inner = section.get("config")
            name = inner.get("name") if isinstance(inner, dict) else None
            path = f"{path}/{_short_repr(name)}" if isinstance(name, str) else path
            todo += [(path, value) for value in section.values() if isinstance(value, dict | list)]
        else:
            todo += [(path, value) for value in section if isinstance(value, dict | list)]


def _complaints(section: dict[str, Any], own: frozenset[str]) -> Iterator[str]:
    yield from _string_complaints(section, own)
    if "class_name" not in section:
        return
    name, module = section["class_name"], section.get("module")
    registered = section.get("registered_name")
    if not isinstance(name, str) or not isinstance(registered, str | None) or not isinstance(module, str | None):
        yield f"a class_name of {_short_repr(name)}"
    elif _is_of_caller(name, registered, own) or _is_ours(section):
        return
    elif name == "function":
        yield from _function_complaints(section, own)
    elif name in ("__typespec__", "TypeSpec"):
        yield from _spec_complaints(section)
    elif module not in (None, "builtins") and not _KERAS_MODULE.fullmatch(module):
        yield f"{_short_repr(name)} of module {_short_repr(module)}, which is none of Keras'"
    elif registered is not None and _plain_name(registered) != _plain_name(name):
        yield f"{_short_repr(name)} that is registered as {_short_repr(registered)}"
    else:
        yield from _class_complaints(_plain_name(name), section)


def _class_complaints(name: str, section: dict[str, Any]) -> Iterator[str]:
    config = section.get("config")
    if name in _OP_LAYERS:
        symbol = config.get("function") if isinstance(config, dict) else None
        if not isinstance(symbol, str) or symbol.removeprefix("compat.v1.") not in allowed.SYMBOLS:
            yield f"{name} of {_short_repr(symbol)}, which is not among the functions that only compute"
    elif name == "ClassMethod":
        if (
            not isinstance(config, dict)
            or config.get("cls_symbol") != "RaggedTensor"
            or config.get("method_name") not in allowed.RAGGED_FROM
        ):
            yield "ClassMethod of a class and method that are not known"
    elif name in ("InstanceProperty", "InstanceMethod"):
        if not isinstance(config, dict) or config.get("attr_name") not in allowed.ATTRIBUTES:
            yield f"{name} of an attribute that is not known"
    elif name == "TensorFlowOpLayer":
        node = config.get("node_def") if isinstance(config, dict) else None
        if not isinstance(node, dict) or node.get("op") not in allowed.GRAPH_OPS:
            yield "TensorFlowOpLayer of an operator that is not among those that only compute"
    elif name in allowed.VALUES:
        if not isinstance(config, dict) or not _DTYPE.fullmatch(str(config.get("dtype"))):
            yield f"{name} of dtype {_short_repr(config.get('dtype') if isinstance(config, dict) else config)}"
    elif name not in _CLASSES:
        yield f"{_short_repr(name)}"


def _function_complaints(section: dict[str, Any], own: frozenset[str]) -> Iterator[str]:
    names = list(_function_names(section))
    for name in names:
        if name not in allowed.FUNCTIONS | own:
            yield f"function {_short_repr(name)}"
    module = section.get("module")
    if module not in (None, "builtins") and not _KERAS_MODULE.fullmatch(module) and not set(names) & own:
        yield f"a function of module {_short_repr(module)}"


def _function_names(section: dict[str, Any]) -> Iterator[Any]:
    if section.get("class_name") == "function":
        for name in (section.get("config"), section.get("registered_name")):
            if name is not None and name != "function":
                yield name


def _spec_complaints(section: dict[str, Any]) -> Iterator[str]:
    if section["class_name"] == "TypeSpec":
        if str(section.get("type_spec")).removeprefix("tf.") not in allowed.SPECS:
            yield f"TypeSpec {_short_repr(section.get('type_spec'))}"
    elif section.get("spec_name") not in allowed.SPECS or section.get("registered_name") is not None:
        yield f"a type spec {_short_repr(section.get('spec_name'))}"
    elif not _SPEC_MODULE.fullmatch(str(section.get("module"))):
        yield f"a type spec of module {_short_repr(section.get('module'))}"


def _string_complaints(section: dict[str, Any], own: frozenset[str]) -> Iterator[str]:
    """Names that Keras looks up, and paths that it opens, where a config has plain strings."""
    for key, value in section.items():
        if not isinstance(value, str):
            continue
        known = allowed.FUNCTIONS if key.endswith("activation") else _PART_VALUES if _PART_KEY.fullmatch(key) else None
        if known is not None and value not in known | own:
            yield f"{key} {_short_repr(value)}"
        elif key in ("vocabulary", "idf_weights"):
            yield f"{key}, a file that it would read"


def _pin(section: dict[str, Any], own: frozenset[str]) -> None:
    """Let a checked section name the very thing that was allowed: Keras would import what it does not find at once."""
    if _is_ours(section):
        if section.get("module") is not None:  # other modules may have other things of the name
            section["module"] = allowed.OWN_MODULES[section["class_name"]]
        return
    key = "config" if section.get("class_name") == "function" else "class_name"
    names = [section.get("registered_name"), section.get(key)]
    known = next((name for name in names if isinstance(name, str) and name in own), None)
    module = section.get("module")
    is_imported = isinstance(module, str) and not _KERAS_MODULE.fullmatch(module)
    if "class_name" in section and known is not None and is_imported:
        section |= {key: known, "registered_name": known}
        if key == "class_name":
            section["module"] = "builtins"  # where Keras finds nothing but what is registered


def _is_of_caller(name: str, registered: str | None, own: frozenset[str]) -> bool:
    """Whether Keras finds a class that the caller's process has given to it."""
    return (name in own or registered in own) and name not in _BY_NAME


def _is_ours(section: dict[str, Any]) -> bool:
    """A class of this project's own quantization-aware models, in a .keras of ours."""
    name, module, registered = str(section.get("class_name")), section.get("module"), section.get("registered_name")
    if module is None:  # as tfmot's layers keep their quantizers: looked up among what is registered, and nowhere else
        known = name == IN_HDF5 or (name.startswith("qat>") and name[4:] in allowed.OWN_MODULES)
        return known and registered in (None, name)
    ours = name in allowed.OWN_MODULES and registered == f"qat>{name}"
    return ours and _QAT_MODULE.fullmatch(str(module)) is not None


def _plain_name(name: object) -> str:
    """Keras' own registration of a class of its own is taken for the class."""
    return str(name).removeprefix("Custom>").removeprefix("keras>")


def _short_repr(value: object) -> str:
    return repr(value)[:80]
