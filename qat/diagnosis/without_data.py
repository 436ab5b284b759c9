"""A file and its Keras model, and no data: what BatchNorm statistics and synthetic inputs can still say."""

from __future__ import annotations

from qat.diagnosis.evidence import Evidence
from qat.diagnosis.model_side import Side


def judge_without_data(evidence: Evidence, side: Side) -> None:
    """Adds causes to `side`; nothing that is found here is more than consistent."""
