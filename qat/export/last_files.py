"""A model that is exported again and again while it trains: one file is made for one state of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.keras.model import QatModel

MOST_KEPT = 1 << 26  # bytes of files that are kept for another asking


class LastFiles(dict[Any, bytes]):
    """The last files, by what they were made from."""

    def kept(self, made_from: Any, make: Callable[[], bytes]) -> bytes:
        """The file of this origin: one may be asked for again, as that of the weights after the best epoch."""
        if made_from not in self:
            self[made_from] = make()
            while len(self) > 1 and sum(map(len, self.values())) > MOST_KEPT:
                del self[next(iter(self))]
        return self[made_from]


@dataclass(frozen=True)
class Exported:
    """A model of `quantize_model`, and the last files that `convert` has made of it."""

    model: QatModel
    files: LastFiles = field(default_factory=LastFiles, compare=False, repr=False)

    def state(self) -> bytes:
        """A digest of all that a conversion reads of the model as it is now."""
        return digest_of(self.model.weights, self.model.post_training)


def digest_of(variables: Iterable[tf.Variable], post_training: bool) -> bytes:
    digest = hashlib.blake2b(bytes([post_training]), digest_size=20)
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).data)
    return digest.digest()
