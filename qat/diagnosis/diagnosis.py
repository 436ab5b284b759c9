"""What a diagnosis says: causes, notes, the ladder, and whom to blame. Standard library only."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from qat.diagnosis.catalogue import CAUSES, NAMES

MODEL_FAMILIES, CODE_FAMILIES = "CQMT", "IPOE"


HELPS = 0.1  # share of the loss below which a repair has not brought it back


@dataclass(frozen=True)
class Cause:
    """One cause; `certainty` is "proved" (its repair recovered the loss), "certain" (its signature) or "consistent"."""

    id: str
    name: str
    certainty: str
    evidence: str
    repair: str
    recovered: float | None = None

    @classmethod
    def of(cls, id: str, certainty: str, evidence: str, repair: str, recovered: float | None = None) -> Cause:
        """A cause with the name of the catalogue.

        Args:
            id: id in the catalogue, as "Q01".
            certainty: "proved", "certain" or "consistent".
            evidence: sentence for a person: what speaks for it.
            repair: sentence: what to do; code to copy stands behind the last colon.
            recovered: share of the loss that the repair brings back, cut to 0-1; None where none was applied.

        Returns:
            The cause, with its name from the catalogue.
        """
        share = None if recovered is None or not math.isfinite(recovered) else float(min(max(recovered, 0.0), 1.0))
        return cls(id, NAMES[id], certainty, evidence, repair, share)

    @property
    def sentence(self) -> str:
        """What is wrong, in plain words."""
        return CAUSES[self.id][1]

    @property
    def recovery(self) -> str:
        """What the repair did to the loss, in words; empty where none was applied."""
        if self.recovered is None:
            return ""
        if round(self.recovered, 2) < HELPS:
            return f"a repair was tried and recovers {self.recovered:.0%} of the loss, so this is not all of it"
        return f"the repair was applied and recovers {self.recovered:.0%} of the loss"


@dataclass(frozen=True)
class Stage:
    """One stage of the ladder: its value in `unit` ("accuracy", "agreement", "dB"), with a 95 % interval of a share."""

    rung: str  # as "A0"
    what: str
    unit: str
    value: float | None
    low: float | None = None
    high: float | None = None
    samples: int = 0


@dataclass(frozen=True)
class Samples:
    """The first samples as PNG, as they should be and as the app feeds them; in both `low` is black, `high` white."""

    low: float
    high: float
    right: tuple[bytes, ...]
    fed: tuple[bytes, ...]


@dataclass(frozen=True)
class Diagnosis:
    """The verdict.

    Attributes:
        blame: "none", "model", "implementation", "both" or "undetermined".
        causes: most probable first.
        notes: odd and harmless, or why something could not be decided.
        mismatch: that the file and the Keras model do not belong together, in words; empty where they may.
        ladder: accuracy, agreement or SQNR at each stage that could be measured.
        pictures: small tables for people, by title.
        ranges: (name, low, high) of what the file's input holds, then of the data that was fed.
        noise_db: (layer, SQNR of its output in int8), where that was measured.
        samples: of images, where it is known what the app feeds; not in the JSON.
    """

    blame: str
    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()
    mismatch: str = ""
    ladder: tuple[Stage, ...] = ()
    pictures: dict[str, str] = field(default_factory=dict)
    ranges: tuple[tuple[str, float, float], ...] = ()
    noise_db: tuple[tuple[str, float], ...] = ()
    samples: Samples | None = None

    @property
    def proved(self) -> bool:
        return any(cause.certainty in ("proved", "certain") for cause in self.causes)

    @property
    def exit_code(self) -> int:
        """0 no fault, 1 a fault proved or certain, 3 undetermined."""
        if self.blame == "none":
            return 0
        return 1 if self.proved else 3

    def text(self) -> str:
        """A report for people: whom to blame, the causes with evidence and fix, and what was measured."""
        from qat.diagnosis.report import text  # it draws, and imports what runs files

        return text(self)

    def __str__(self) -> str:
        return self.text().rstrip("\n")

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(replace(self, samples=None))
        del plain["samples"]
        return _finite(plain)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def decide_blame(causes: tuple[Cause, ...], undetermined: bool) -> str:
    """Whom the causes' families point to.

    Args:
        causes: all causes that were named; the first letter of an id is its family.
        undetermined: whether a loss was measured that no proved or certain cause explains.

    Returns:
        One of the words "none", "model", "implementation", "both" and "undetermined".

    >>> decide_blame((), False), decide_blame((), True)
    ('none', 'undetermined')
    """
    model = any(cause.id[0] in MODEL_FAMILIES for cause in causes)
    code = any(cause.id[0] in CODE_FAMILIES for cause in causes)
    if undetermined:
        return "undetermined"
    if model and code:
        return "both"
    return "model" if model else "implementation" if code else "none"
