"""QAT against PTQ of the same float models: the difference of each pair, and whether luck alone explains them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from qat.comparison.configurations import Key, by_seed, data_settings, key_of, label_of
from qat.comparison.record import RunRecord
from qat.comparison.table import Row
from qat.confidence import PairedTest, holm, paired_test
from qat.variants import BASELINE, is_trained


@dataclass(frozen=True)
class Test:
    """QAT minus PTQ over pairs that share seed and float model, in the metric's unit (accuracy: 0-1)."""

    label: str
    variant: str
    metric: str
    higher_is_better: bool
    pairs: int
    unpaired: int  # runs of QAT without a PTQ of the same float model
    found: PairedTest | None  # None without a pair
    p_holm: float | None = None  # as it stands when all tests of the table are asked at once
    significance: float = 0.05

    @property
    def verdict(self) -> str:
        if self.found is None:
            return "no pair: no PTQ of the same float model"
        if self.pairs == 1:
            return "one pair: no test is possible"
        if self.p_holm is None or self.p_holm > self.significance:
            return "no difference shown"
        better = (self.found.difference.mean > 0) == self.higher_is_better
        return "QAT is better" if better else "QAT is worse"


def paired_tests(
    rows: Sequence[Row], everything: Sequence[Row], swept: Sequence[str], telling: Sequence[str], confidence: float
) -> list[Test]:
    """One test a QAT configuration among `rows`; its PTQ partners may stand anywhere in `everything`.

    The PTQ of a pair is that of the same run; else of a run on the same data whose float model is the same file.
    """
    partners = _partners(everything)
    groups: dict[tuple[Key, str, str], list[Row]] = {}
    for row in rows:
        if is_trained(row.variant):
            groups.setdefault((key_of(row.run, swept), row.variant, row.measured.metric), []).append(row)
    tests = [_test(found, partners, telling, confidence) for found in groups.values()]
    adjusted = holm([test.found.p if test.found else None for test in tests])
    return [replace(test, p_holm=p) for test, p in zip(tests, adjusted, strict=True)]


def _test(rows: list[Row], partners: dict[object, float], telling: Sequence[str], confidence: float) -> Test:
    differences: dict[object, list[float]] = {}
    unpaired = 0
    for row in rows:
        partner = _partner(row, partners)
        if partner is None:
            unpaired += 1
        else:
            pair = row.run.seed if row.run.seed is not None else row.name
            differences.setdefault(pair, []).append(row.measured.value - partner)
    means = [sum(each) / len(each) for each in differences.values()]
    first = rows[0]
    return Test(
        label=label_of([row.run for row in rows], telling),
        variant=first.variant,
        metric=first.measured.metric,
        higher_is_better=first.measured.higher_is_better,
        pairs=len(means),
        unpaired=unpaired,
        found=paired_test(means, confidence) if means else None,
        significance=1 - confidence,
    )


def _partner(row: Row, partners: dict[object, float]) -> float | None:
    own = row.run.measured.get(BASELINE)
    if own is not None and own.metric == row.measured.metric:
        return own.value
    return partners.get(_identity(row.run, row.measured.metric))


def _partners(rows: Iterable[Row]) -> dict[object, float]:
    """Mean PTQ value by float model, data and metric."""
    found: dict[object, list[Row]] = {}
    for row in rows:
        if row.variant == BASELINE and row.run.float_model is not None:
            found.setdefault(_identity(row.run, row.measured.metric), []).append(row)
    means = {key: by_seed(group, "value").values() for key, group in found.items()}
    return {key: sum(values) / len(values) for key, values in means.items()}


def _identity(run: RunRecord, metric: str) -> object:
    return run.float_model, data_settings(run), metric
