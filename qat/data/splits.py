"""Four splits of one data set, each with its contract: raw samples in, model inputs out, a batch at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qat.contract import Contract, apply
from qat.data.files import ImageFiles
from qat.errors import DataError

Samples = NDArray | ImageFiles


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled raw samples (uint8, features, or paths of images), which become model inputs when these are needed.

    `positions` says which rows of `samples` belong to the split, so that train, val and calibration share one array.
    """

    name: str
    labels: NDArray[np.int64]  # [N], 0..classes-1
    contract: Contract
    samples: Samples
    positions: NDArray[np.int64]  # [N], into samples

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.positions):
            raise DataError(f"split {self.name}: {len(self.positions)} samples but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def _rows(self, indices: ArrayLike | None) -> NDArray[np.int64]:
        return self.positions if indices is None else self.positions[np.asarray(indices)]

    def raw(self, indices: ArrayLike | None = None) -> NDArray | list[NDArray]:
        """Raw samples `[n, ...]`; a list of arrays where images in files differ in size."""
        rows = self._rows(indices)
        return self.samples.read(rows) if isinstance(self.samples, ImageFiles) else self.samples[rows]

    def inputs(self, indices: ArrayLike | None = None) -> NDArray[np.float32]:
        """Model inputs `[n, *contract.shape]`: the contract applied to `raw(indices)`, files read one by one."""
        rows = self._rows(indices)
        raw = self.samples.stream(rows) if isinstance(self.samples, ImageFiles) else self.samples[rows]
        return apply(self.contract, raw)

    def batches(
        self, batch_size: int, indices: ArrayLike | None = None
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Iterate over model inputs and labels.

        Args:
            batch_size: samples per batch, at least 1; the last batch may have fewer.
            indices: integers [n] into the split, in the order to take; None: all, in stored order.

        Returns:
            Pairs of inputs, float32 `[n, *contract.shape]`, and labels, int64 `[n]`, 1 <= n <= batch_size.

        Raises:
            DataError: a batch size below 1.
        """
        if batch_size < 1:
            raise DataError(f"batch_size={batch_size}: expected at least 1")
        order = np.arange(len(self)) if indices is None else np.asarray(indices)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            yield self.inputs(rows), self.labels[rows]

    def take(self, indices: ArrayLike, *, name: str | None = None, labels: NDArray | None = None) -> Split:
        """Take some samples as a split of their own; the stored samples are shared, not copied.

        Args:
            indices: places in this split, integers `[n]`, in the order to take.
            name: name of the new split; None keeps the name.
            labels: integers `[n]`, to replace those of the samples; None keeps them.

        Returns:
            A split of n samples.
        """
        indices = np.asarray(indices, np.int64)
        new_labels = self.labels[indices] if labels is None else np.asarray(labels, np.int64)
        return Split(name or self.name, new_labels, self.contract, self.samples, self.positions[indices])


@dataclass(frozen=True, eq=False)
class Splits:
    """What `load` returns. `test` is for the final evaluation alone; every choice is made on `val`."""

    train: Split
    val: Split
    calibration: Split
    test: Split
    class_names: tuple[str, ...]
    calibration_indices: NDArray[np.int64]  # into train
    skipped: tuple[str, ...] = ()  # corrupt files that were left out, each with the reason

    @property
    def contract(self) -> Contract:
        return self.train.contract

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the samples, labels and class names of train, val and test.

        Files count by path, size and time of change, not by content.
        """
        splits = {"train": self.train, "val": self.val, "test": self.test}
        return {name: _digest(split, self.class_names) for name, split in splits.items()}

    def fingerprint(self) -> str:
        """SHA-256 of what a training run reads: contract, and train and val."""
        parts = (self.contract.to_json(), self.digests["train"], self.digests["val"])
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def _digest(split: Split, class_names: tuple[str, ...]) -> str:
    digest = hashlib.sha256(json.dumps(class_names).encode())
    digest.update(np.ascontiguousarray(split.labels).tobytes())
    if isinstance(split.samples, ImageFiles):
        for number, line in enumerate(split.samples.listing(split.positions)):
            digest.update((f"\n{line}" if number else line).encode(errors="surrogateescape"))
    else:
        for start in range(0, len(split), 1024):
            rows = split.positions[start : start + 1024]
            digest.update(np.ascontiguousarray(split.samples[rows]).tobytes())
    return digest.hexdigest()
