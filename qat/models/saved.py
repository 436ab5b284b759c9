"""A saved model, trusted or not: a .keras or .h5 file of Keras 2 or 3, or a SavedModel folder that Keras 2 wrote."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tf_keras
from keras.src.backend.common import global_state
from keras.src.saving.object_registration import GLOBAL_CUSTOM_OBJECTS
from tf_keras.src.layers.serialization import get_builtin_layer
from tf_keras.src.saving import object_registration

from qat.config import ModelConfig
from qat.errors import ModelError, naming
from qat.models.keras_types import KerasModel
from qat.models.large_tensors import refuse_large_tensors
from qat.models.saved_file import inspect
from qat.models.untrusted.assemble import READABLE, assemble
from qat.models.untrusted.assemble_keras3 import refuse_other_backends, register_own
from qat.models.untrusted.check_config import drop_compile_config
from qat.models.untrusted.decode import decode
from qat.models.untrusted.trial import KerasRefusesError, NotTrustedError, read_untrusted
from qat.models.weights_file import is_weights_file, joined_with_config
from qat.models.which_keras import is_keras_model

TRUST_ADVICE = "If you trust where it comes from, set trust=true (in Python load(path, trust=True))"
_LAYER_NAME = re.compile(r"[A-Za-z0-9_.\\/>-]*")  # as TensorFlow's name scopes
_MODEL_NAME = re.compile(rf"([A-Za-z0-9.]{_LAYER_NAME.pattern})?")
_KERAS_RAISES = (ValueError, TypeError, KeyError, AttributeError, IndexError, OSError, RuntimeError, AssertionError)
_KERAS_RAISES += (NotImplementedError, RecursionError, OverflowError, UnicodeError, tf.errors.OpError)


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> Any:
    """Load the model in `config.path`; the caller checks that it fits the data."""
    with naming(f"model.path={config.path}: ", ModelError):
        return load(str(config.path), config.trust_custom_objects)


_WRAPPERS = {  # names of tfmot's classes -> what the file holds, and what to save in its place
    ("PruneLowMagnitude",): "layers that prune while they train. Save tfmot.sparsity.keras.strip_pruning(model); its "
    "zeros stay zeros here (quant.preserve)",
    ("ClusterWeights",): "layers that cluster while they train. Save tfmot.clustering.keras.strip_clustering(model); "
    "its centroids stay here (quant.preserve)",
    (
        "QuantizeWrapper",
        "QuantizeLayer",
        "QuantizeAwareActivation",
    ): "tfmot's quantization already. Give the float model "
    "that it was made from; quant=qat_tfmot trains with stock tfmot, too",
}


def load(path: str, trust: bool = False) -> Any:
    """Load a functional or sequential model of either Keras, not compiled.

    Custom objects are those of the scope around the call. Which Keras it is of is found in the file.

    Args:
        path: a .keras or .h5 file; or a .weights.h5 of Keras 3 next to its config; or a SavedModel folder of Keras 2.
        trust: let Keras load it as usual, and run the code in it. Without it the file is read as config and weights
            only, its config is checked against an allow-list, and all of that is tried in a child process without
            write access, under `qat.limits`; SavedModel folders, which are programs, are refused.

    Returns:
        The model, with known inputs.

    Raises:
        ModelError: a missing, broken or too large file, custom objects that are not known, code that is not trusted,
            a model without fixed inputs (a subclassed one), or one of Keras 3 where its backend is not TensorFlow.
    """
    with joined_with_config(Path(path)) if is_weights_file(Path(path)) else nullcontext(path) as file:
        model = _load_trusted(str(file)) if trust else _load_untrusted(str(file))
    _refuse_unusable(model)
    return model


def _load_trusted(path: str) -> Any:
    saved_file = inspect(Path(path))
    major = saved_file.keras_version.split(".")[0]
    _refuse_later_versions(saved_file.keras_version)
    options = {"safe_mode": False} if saved_file.kind == ".keras" else {}
    try:
        if major == "3":
            refuse_other_backends()
            register_own(saved_file.is_quantized)
            return keras.models.load_model(path, compile=False, safe_mode=False)
        if saved_file.needs_name_mapping:
            return _load_with_name_mapping(path)
        return tf_keras.models.load_model(path, compile=False, **options)
    except _KERAS_RAISES as error:
        raise _refusal(saved_file.kind, str(error), saved_file.custom_objects) from error


def _load_with_name_mapping(path: str) -> tf_keras.Model:
    """Load a trusted .keras file whose weights have the names of another version of Keras."""
    with Path(path).open("rb") as file:
        decoded = decode(file)
    decoded.config = drop_compile_config(decoded.config)
    return assemble(decoded, trusted=True)


def _load_untrusted(path: str) -> Any:
    kind = inspect(Path(path), only_kind=True).kind
    if kind == "SavedModel":
        raise ModelError(
            f"a SavedModel folder is a program, and runs when it is loaded. {TRUST_ADVICE}; better, "
            "save the model as a .keras file"
        )
    try:
        decoded = read_untrusted(Path(path), _own_names())
        _refuse_later_versions(decoded.keras_version)
    except NotTrustedError as error:
        raise _trust_refusal(kind, error) from error
    except KerasRefusesError as error:
        raise _refusal(kind, str(error), ()) from error
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror})") from error
    try:
        model = assemble(decoded)
    except _KERAS_RAISES as error:
        raise _refusal(kind, str(error), ()) from error
    refuse_large_tensors(model)
    return model


def _own_names() -> dict[str, frozenset[str]]:
    """Names that this process has given to Keras, by its major version; not those of this project, which are listed."""
    keras2 = object_registration._THREAD_LOCAL_CUSTOM_OBJECTS.__dict__ | object_registration._GLOBAL_CUSTOM_OBJECTS
    keras3 = GLOBAL_CUSTOM_OBJECTS | global_state.get_global_attribute("custom_objects_scope_dict", {})
    return {
        version: frozenset(name for name, each in given.items() if not _is_known(name, each))
        for version, given in (("2", keras2), ("3", keras3))
    }


def _is_known(name: str, value: object) -> bool:
    return str(getattr(value, "__module__", "")).startswith(("qat.quantization.", "tf_keras.", "keras."))


def _refuse_later_versions(version: str) -> None:
    if version.split(".")[0] not in ("", *READABLE):
        raise ModelError(f"written by Keras {version[:20]}; models of Keras 2 and 3 are read here")


def _trust_refusal(kind: str, error: NotTrustedError) -> ModelError:
    unknown = re.match(r"'([\w>]+)', at", str(error))
    own = [each for each in error.custom or ((unknown[1],) if unknown else ()) if not _is_built_in(each.strip("'"))]
    if own:
        names = ", ".join(own)
        return ModelError(_custom_objects_message(kind, f"{names}."))
    if re.search("'(Lambda|__lambda__)'", str(error)):
        return ModelError(
            "the file carries Lambda layers, that is Python code which runs when it is loaded "
            f"({error}). {TRUST_ADVICE}; better, save it with layers in their place"
        )
    return ModelError(
        f"{error}: not among the layers and functions that are loaded without trust, because they "
        f"can only compute. {TRUST_ADVICE}, or load it in a function of your own and use that with model=user"
    )


def _is_built_in(name: str) -> bool:
    return get_builtin_layer(name) is not None or hasattr(keras.layers, name)


def _refusal(kind: str, reason: str, custom_objects: tuple[str, ...]) -> ModelError:
    text = _shorten(reason)
    if custom_objects:
        names = ", ".join(custom_objects)
        return ModelError(_custom_objects_message(kind, f"{names} (Keras says: {text})."))
    if text.startswith("Unknown "):
        return ModelError(_custom_objects_message(kind, text))
    return ModelError(f"Keras cannot load this {kind}: {text}")


def _custom_objects_message(kind: str, which: str) -> str:
    for names, what in _WRAPPERS.items():
        if any(name in which for name in names):
            return f"the {kind} holds {what}"
    return (
        f"the {kind} needs custom objects that are not in it: {which} Write a function that loads it within "
        "custom_object_scope (of tf_keras.utils; of keras.saving for a file of Keras 3) and use it with model=user"
    )


def _shorten(text: str, longest: int = 200) -> str:
    """The first and last line, each cut to `longest` characters: Keras prints whole configs."""
    lines = [line if len(line) <= longest else f"{line[:longest]} ..." for line in text.strip().splitlines() if line]
    return " ".join(dict.fromkeys([*lines[:1], *lines[-1:]])) or "no reason given"


def _refuse_unusable(model: KerasModel) -> None:
    if not is_keras_model(model):
        raise ModelError(
            "a SavedModel without a Keras model in it (exported by tf.saved_model.save or by Keras "
            "3); its layers cannot be told apart any more. Save the model itself with tf_keras' model.save()"
        )
    if not getattr(model, "inputs", None):
        raise ModelError(
            "a subclassed model, or one that was never built; expected a functional or sequential "
            "model with known inputs, such as keras.Model(inputs, outputs)"
        )
    for tensor in model.inputs:
        if not tf.as_dtype(tensor.dtype).is_numpy_compatible:
            raise ModelError(f"input {tensor.name!r} is of dtype {tensor.dtype}; expected numbers")
    _refuse_names(model)
    _refuse_revived(model)


def _refuse_names(model: KerasModel) -> None:
    """Refuse names that TensorFlow takes for no scope: the model could be run by nobody, and the scope would stay."""
    layers = model._flatten_layers(include_self=False)
    for pattern, part in ((_MODEL_NAME, model), *((_LAYER_NAME, each) for each in layers)):
        if not isinstance(part.name, str) or not pattern.fullmatch(part.name):
            raise ModelError(
                f"{type(part).__name__} has the name {_shorten(repr(part.name))}, and TensorFlow takes letters, digits "
                "and _.-/>\\ alone, for a model a letter or digit first. Build it with another name, and save it again"
            )


def _refuse_revived(model: KerasModel) -> None:
    """Refuse custom layers of a SavedModel: without their class they cannot be saved, rebuilt or quantized."""
    for layer in model._flatten_layers(include_self=False):
        if any(kind.__name__ == "RevivedLayer" for kind in type(layer).mro()):
            raise ModelError(_custom_objects_message("SavedModel", f"layer {layer.name} is a {type(layer).__name__}."))
