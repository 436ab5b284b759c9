"""Types that many modules take, for annotations. Those of Keras stand in `qat.models.keras_types`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
