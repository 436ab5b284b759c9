"""What a run reads, by digest: a run that goes on must find the data and the model files that it was begun with."""

from __future__ import annotations

import hashlib
from operator import attrgetter
from pathlib import Path

from qat import rundir
from qat.config import Config
from qat.data import Splits
from qat.tasks import has_classes

_MOST_NAMED = 5
_CONSEQUENCES = {
    "train": "the model cannot learn them",
    "val": "no choice is made by them",
    "test": "no number tells of them",
}


def digest_inputs(config: Config, splits: Splits) -> dict[str, str]:
    """Digests (SHA-256) of everything that a run reads.

    Args:
        config: the run's config, which names data, model and weights.
        splits: the run's data; images in files count by path, size and time of change.

    Returns:
        What was read, in words, such as "the test data (data.path=my.npz)", to its 64 hexadecimal digits.
    """
    origin = f"data={config.data.name}" if config.data.path is None else f"data.path={config.data.path}"
    found = {f"the {name} data ({origin})": digest for name, digest in splits.digests.items()}
    if config.model.name == "saved":
        found[f"the model (model.path={config.model.path})"] = _digest_path(Path(str(config.model.path)))
    if config.model.weights is not None:
        found[f"the weights (model.weights={config.model.weights})"] = _digest_path(Path(config.model.weights))
    if config.float_run is not None:
        file = Path(config.float_run).expanduser() / "float" / rundir.MODEL_KERAS
        found[f"the float model (float_run={config.float_run})"] = _digest_path(file)
    return found


def describe_missing_samples(config: Config, splits: Splits) -> list[str]:
    """Describe each number of samples that was chosen and that the data do not have.

    Args:
        config: the run's config: `parity.samples`, `log.deployed_samples` and `data.max_samples`.
        splits: the run's data, with the number of samples per split.

    Returns:
        One sentence per setting that asks for more samples than there are; all that there are will be taken.
    """
    default, found = Config(), []
    for key in ("parity.samples", "log.deployed_samples"):
        asked = attrgetter(key)(config)
        if len(splits.val) < asked != attrgetter(key)(default):
            found.append(f"{key}={asked}: val has {len(splits.val)} samples; all of them are taken")
    most = max(len(splits.train), len(splits.val), len(splits.test))
    if config.data.max_samples is not None and config.data.max_samples > most:
        found.append(f"data.max_samples={config.data.max_samples}: no split has more than {most}; all are taken")
    return found


def describe_missing_classes(config: Config, splits: Splits) -> list[str]:
    """Describe each split that has no sample of some class, of data that are taken whole.

    Args:
        config: the run's config: `data.max_samples` and `data.normal_class`.
        splits: the run's data, with labels and the names of the classes.

    Returns:
        One sentence per split.
    """
    if (
        config.data.max_samples is not None
        or config.data.normal_class is not None
        or has_classes(config.model.name) is False
    ):
        return []
    found = []
    for split in (splits.train, splits.val, splits.test):
        present = set(split.labels.tolist())
        missing = [name for number, name in enumerate(splits.class_names) if number not in present]
        if missing:
            named = ", ".join(missing[:_MOST_NAMED]) + (", …" if len(missing) > _MOST_NAMED else "")
            counted = f"{len(missing)} of {len(splits.class_names)} classes ({named})"
            found.append(f"{split.name} has no sample of {counted}: {_CONSEQUENCES[split.name]}")
    return found


def _digest_path(path: Path) -> str:
    """The digest of a file, or of all files in a folder; "" where there is neither."""
    if not path.is_dir():
        return rundir.sha256(path) if path.is_file() else ""
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path)}\0{rundir.sha256(file)}\0".encode())
    return digest.hexdigest()
