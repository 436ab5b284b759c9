"""Files of a model that is exported repeatedly while it trains: one is made for each state of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from qat.models.which_keras import unwrap
from qat.quantization.keras.model import QatModel

MOST_KEPT = 1 << 26  # bytes of files that are kept


class LastFiles(dict[Any, bytes]):
    """The last files, by the weights and options that they were made from."""

    def get_or_make(self, origin: Hashable, make: Callable[[], bytes]) -> bytes:
        """The file of an origin, made at the first request; that of the best epoch's weights is requested again.

        Args:
            origin: key that stands for the weights and the options of a conversion.
            make: function without arguments that makes the file.

        Returns:
            Bytes of the file.
        """
        if origin not in self:
            self[origin] = make()
            while len(self) > 1 and sum(map(len, self.values())) > MOST_KEPT:
                del self[next(iter(self))]
        return self[origin]


@dataclass(frozen=True)
class Exported:
    """A model of `quantize_model`, and the last files that `convert` has made of it."""

    model: QatModel  # or what Keras 3 has around it
    files: LastFiles = field(default_factory=LastFiles, compare=False, repr=False)

    def state(self) -> bytes:
        """A digest of all that a conversion reads of the model as it is now."""
        model = unwrap(self.model)
        return digest_of(model.weights, model.post_training)


def digest_of(variables: Iterable[tf.Variable], post_training: bool) -> bytes:
    """A digest of the values of variables.

    Args:
        variables: variables of any shapes and dtypes, in an order that stays.
        post_training: whether the model is calibrated only, which its file's metadata say.

    Returns:
        A BLAKE2b digest of 20 bytes.
    """
    digest = hashlib.blake2b(bytes([post_training]), digest_size=20)
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).data)
    return digest.digest()
