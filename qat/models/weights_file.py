"""A .weights.h5 of Keras 3, with the config next to it: put together to the .keras file that they would be."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qat.errors import ModelError
from qat.limits import check_regular
from qat.models.untrusted.decode import WEIGHTS

ENDING = ".weights.h5"


def is_weights_file(path: Path) -> bool:
    """Whether it is called as Keras 3 calls files of weights alone."""
    return path.name.endswith(ENDING) and path.is_file()


@contextmanager
def joined_with_config(path: Path) -> Iterator[Path]:
    """A temporary .keras file of the weights and their config.

    Args:
        path: `<name>.weights.h5`; next to it `<name>.json`, which `model.to_json()` gave, or `config.json`, as in a
            .keras file that was unpacked.

    Yields:
        The path of the file, which goes when the context ends.

    Raises:
        ModelError: there is no config next to it, or it is none of Keras 3.
    """
    stem = path.name.removesuffix(ENDING)
    candidates = [path.with_name(f"{stem}.json"), path.with_name("config.json")]
    config = next((each for each in candidates if each.is_file()), None)
    if config is None:
        raise ModelError(
            "this .h5 holds weights only, no model. Write what model.to_json() gives into "
            f"{stem}.json next to it; or save the whole model with model.save(), as my_model.keras"
        )
    check_regular("", path.stat(), "file_mb", ModelError)  # before it is copied
    check_regular(config.name, config.stat(), "text_mb", ModelError)
    text = config.read_text(errors="replace")
    with tempfile.TemporaryDirectory(prefix="qat-") as folder:
        joined = Path(folder) / f"{stem}.keras"
        with zipfile.ZipFile(joined, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": _version(config, text)}))
            archive.writestr("config.json", text)
            archive.write(path, WEIGHTS)
        yield joined


def _version(config: Path, text: str) -> str:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ModelError(f"{config.name} next to it is no config of a Keras model") from None
    version = str(content.get("keras_version", "3")) if isinstance(content, dict) else "3"
    if version.split(".")[0] != "3":
        raise ModelError(
            f"{config.name} next to it is of Keras {version[:20]}; expected Keras 3. Save the whole "
            "model with model.save(), as my_model.keras"
        )
    return version
