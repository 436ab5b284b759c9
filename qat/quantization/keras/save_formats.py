"""Names of files that a model of Keras is not saved as: Keras would make a folder of that name, without a word."""

from __future__ import annotations

from qat.errors import ConfigError

_OTHERS = (  # ends of names that are no folder's
    *(".onnx", ".pbtxt", ".pt", ".pth", ".safetensors", ".mlmodel", ".mlpackage", ".lite"),
    *(".pkl", ".pickle", ".joblib", ".npz", ".npy", ".json", ".yaml", ".yml", ".txt", ".zip"),
)


def refuse_other_formats(path: str) -> None:
    """Refuse to save a model under the name of a file of another format.

    Raises:
        ConfigError: the name ends as such a file's does, as `.tflite` or `.onnx`.
    """
    if path.endswith(".tflite"):
        raise ConfigError(
            f"{path}: no file that Keras saves; write it as pathlib.Path({path!r})"
            ".write_bytes(qat.tflite.convert(model))"
        )
    if path.lower().endswith(_OTHERS):
        raise ConfigError(
            f"{path}: no file that Keras saves. Expected a name as model.keras or model.h5, or that of a folder, for a "
            "SavedModel"
        )
