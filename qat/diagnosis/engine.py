"""The engine: causes are supposed, and those are named whose repair brings the measured loss back, as few as can be.

A hypothesis says under which cause what was observed would have come about (`reproduces`), and how that stage looks
without the cause (`repair`). A stage's state is what the repair acts on: how the file is converted, the codes that were
fed, the relation of the app's inputs to the right ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.diagnosis import Cause
from qat.diagnosis.score import Drop, Outputs, OutputScore

ENOUGH = 0.9  # share of the loss that a proof must recover
State = TypeVar("State")


@dataclass(frozen=True)
class Hypothesis:
    """One cause of the catalogue, supposed.

    Attributes:
        id: of the catalogue.
        evidence: what speaks for it, for a person.
        fix: what to do; code to copy stands behind the last colon.
        strength: 0-1, orders those of one stage before anything is proved.
        certain: the signature is left by nothing else.
        harmless: odd, and no fault by itself: becomes a note.
        needs_loss: counts only where a loss was measured at its stage (or nothing could be measured).
        reproduces: state to the tensor that would have been observed under this cause; None where it cannot be.
        repair: state to a state without this cause.
        recovered: share of the loss that its repair brings back, where that was measured already.
    """

    id: str
    evidence: str
    fix: str
    strength: float = 0.5
    certain: bool = False
    harmless: bool = False
    needs_loss: bool = True
    reproduces: Callable[[Any], NDArray | None] | None = None
    repair: Callable[[Any], Any] | None = None
    recovered: float | None = None

    def cause(self, recovered: float | None = None, certainty: str = "") -> Cause:
        """The cause that this hypothesis becomes.

        Args:
            recovered: share of the loss that its repair brings back, 0-1; None takes the hypothesis' own.
            certainty: "proved", "certain" or "consistent"; "" takes "proved" if the repair recovers `ENOUGH`, else
                "certain" or "consistent" as marked.

        Returns:
            A cause with the text of this hypothesis.
        """
        share = self.recovered if recovered is None else recovered
        if not certainty:
            certainty = (
                "proved" if share is not None and share >= ENOUGH else "certain" if self.certain else "consistent"
            )
        return Cause.of(self.id, certainty, self.evidence, self.fix, share)


def make_certain(id: str, evidence: str, fix: str) -> Hypothesis:
    """A hypothesis that the file alone proves, whatever was measured.

    Args:
        id: id in the catalogue, as "C01".
        evidence: sentence for a person: the signature in the file.
        fix: sentence: what to do; code to copy stands behind the last colon.

    Returns:
        The hypothesis, the strongest of its stage: strength 1.0.
    """
    return Hypothesis(id, evidence, fix, 1.0, certain=True, needs_loss=False)


@dataclass(frozen=True)
class Loss(Generic[State]):
    """What a stage loses.

    Attributes:
        target: outputs without the stage's faults.
        broken: outputs with them.
        state: the stage as it is.
        run: outputs of a state of the stage; None where it cannot be run.
    """

    score: OutputScore
    target: Outputs
    broken: Outputs
    state: State
    run: Callable[[State], Outputs | None]

    @cached_property
    def drop(self) -> Drop:
        return self.score.drop(self.target, self.broken)

    @property
    def significant(self) -> bool:
        return self.drop.significant

    def recovered(self, state: State) -> float | None:
        """Share of the loss that is gone in this state, 0-1 and beyond; None where it cannot be run."""
        outputs = self.run(state)
        return None if outputs is None else self.score.recovered(self.target, self.broken, outputs)

    def remains(self, state: State) -> bool:
        """Whether this state still loses, or cannot be run."""
        outputs = self.run(state)
        return outputs is None or self.score.drop(self.target, outputs).significant


def repair_state(state: State, hypotheses: Iterable[Hypothesis]) -> State:
    """Apply the repairs of hypotheses one after the other.

    Args:
        state: what a stage works on, as its `Loss` holds it: a file, arrays [N, ...] or a relation.
        hypotheses: hypotheses of the stage; those without a repair change nothing.

    Returns:
        A state of the same kind; `state` itself stays as it is.
    """
    for each in hypotheses:
        if each.repair is not None:
            state = each.repair(state)
    return state


def find_smallest_repair(loss: Loss[Any], hypotheses: Sequence[Hypothesis]) -> list[Hypothesis] | None:
    """Find the fewest hypotheses whose repairs together bring the loss back.

    Args:
        loss: what the stage loses: outputs without and with it, and the broken state.
        hypotheses: hypotheses of this stage; those without a repair are left out.

    Returns:
        The hypotheses, each with the share (0-1) that all of them recover together; None where no set suffices.
    """
    candidates = [each for each in hypotheses if each.repair is not None]
    for size in range(1, len(candidates) + 1):
        shares: list[tuple[float, tuple[Hypothesis, ...]]] = []
        for subset in itertools.combinations(candidates, size):
            share = loss.recovered(repair_state(loss.state, subset))
            if share is not None:
                shares.append((share, subset))
        share, subset = max(shares, key=lambda each: each[0], default=(0.0, ()))
        if subset and share >= ENOUGH and not loss.remains(repair_state(loss.state, subset)):
            return [replace(each, recovered=share) for each in subset]
    return None


def find_reproduction(
    observed: NDArray, hypotheses: Iterable[Hypothesis], state: Any, match: float
) -> Hypothesis | None:
    """Find the cause under which just the observed codes come about.

    Args:
        observed: codes that were seen, integers [N, ...].
        hypotheses: hypotheses in the order in which they are preferred.
        state: what their `reproduces` takes.
        match: share of the codes, 0-1, that more than so many must be equal.

    Returns:
        The first hypothesis that reproduces them, with the share of equal codes in its evidence; None if none does.
    """
    for each in hypotheses:
        codes = each.reproduces(state) if each.reproduces is not None else None
        if codes is None or codes.shape != observed.shape:
            continue
        share = float(np.mean(codes.astype(np.int64) == observed))
        if share > match:
            return replace(each, evidence=f"{each.evidence} gives {share:.1%} of the {observed.dtype} codes, exactly")
    return None


@dataclass
class Findings:
    """What is found in the file, or in the app. `unsure`: a loss that nothing explains, in words."""

    causes: list[Cause] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    noted: set[str] = field(default_factory=set)  # ids that notes are about
    drop: Drop | None = None
    unsure: str = ""

    def add(self, hypothesis: Hypothesis, recovered: float | None = None, certainty: str = "") -> None:
        """Name a hypothesis as a cause.

        Args:
            hypothesis: the hypothesis that holds.
            recovered: share of the loss that its repair brings back, 0-1; None takes the hypothesis' own.
            certainty: "proved", "certain" or "consistent"; "" decides as `Hypothesis.cause` does.
        """
        self.causes.append(hypothesis.cause(recovered, certainty))

    def note(self, hypothesis: Hypothesis) -> None:
        self.noted.add(hypothesis.id)
        self.notes.append(f"{hypothesis.id}: {hypothesis.evidence}")

    def names(self, families: str) -> bool:
        """Whether a cause of one of these families, given by their letters, is named."""
        return any(cause.id[0] in families for cause in self.causes)

    @property
    def lossy(self) -> bool:
        return self.drop is not None and self.drop.significant
