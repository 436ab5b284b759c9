"""Models that a quantized model knows and does not own."""

from __future__ import annotations

from qat.models.keras_types import KerasModel


class Unsaved:
    """Holds a model out of Keras' sight, which saves every model that it finds among the attributes and in their lists,
    and loads weights into it.

    Args:
        model: as it is, of either Keras.
    """

    def __init__(self, model: KerasModel) -> None:
        self.model = model
