"""What is found on one side, the file's or the app's."""

from __future__ import annotations

from dataclasses import dataclass, field

from qat.diagnosis.diagnosis import Cause, Finding
from qat.diagnosis.yardstick import Drop


@dataclass
class Side:
    """The verdict over one side. `unsure`: a loss was measured, or is probable, and nothing explains it."""

    causes: list[Cause] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    drop: Drop | None = None
    unsure: str = ""

    def note(self, finding: Finding) -> None:
        self.notes.append(f"{finding.id}: {finding.evidence}")

    def names(self, families: str) -> bool:
        return any(cause.id[0] in families for cause in self.causes)
