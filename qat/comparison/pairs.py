"""QAT against PTQ of the same float models: the difference of each pair, and whether luck alone explains them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from qat.comparison.configurations import Key, average_by_seed, configuration_key, data_settings, format_label
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
    result: PairedTest | None  # None without a pair
    p_holm: float | None = None  # corrected for the number of tests of the table (Holm 1979)
    significance: float = 0.05

    @property
    def verdict(self) -> str:
        if self.result is None:
            return "no pair: no PTQ of the same float model"
        if self.pairs == 1:
            return "one pair: no test is possible"
        if self.p_holm is None or self.p_holm > self.significance:
            return "no difference shown"
        better = (self.result.difference.mean > 0) == self.higher_is_better
        return "QAT is better" if better else "QAT is worse"


def run_paired_tests(
    rows: Sequence[Row], all_rows: Sequence[Row], swept: Sequence[str], distinguishing: Sequence[str], confidence: float
) -> list[Test]:
    """One test per QAT configuration among `rows`, by Student's paired t and the exact sign-flip test.

    The PTQ of a pair is that of the same run; else of a run on the same data whose float model is the same file.

    Args:
        rows: deployed files that are shown.
        all_rows: all deployed files, also those that a filter hides, among which the PTQ partners are looked for.
        swept: dotted keys of the settings in which the runs differ.
        distinguishing: the fewest of these keys that tell configurations apart, for labels.
        confidence: confidence of the intervals, a share 0-1; 1 - confidence is the significance level.

    Returns:
        One test per configuration: mean difference with interval, in the metric's unit, and p values, 0-1, corrected by
        Holm's method (Holm 1979).
    """
    partners = _partners(all_rows)
    groups: dict[tuple[Key, str, str], list[Row]] = {}
    for row in rows:
        if is_trained(row.variant):
            groups.setdefault((configuration_key(row.run, swept), row.variant, row.measured.metric), []).append(row)
    tests = [_test(group, partners, distinguishing, confidence) for group in groups.values()]
    adjusted = holm([test.result.p if test.result else None for test in tests])
    return [replace(test, p_holm=p) for test, p in zip(tests, adjusted, strict=True)]


def _test(rows: list[Row], partners: dict[object, float], distinguishing: Sequence[str], confidence: float) -> Test:
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
        label=format_label([row.run for row in rows], distinguishing),
        variant=first.variant,
        metric=first.measured.metric,
        higher_is_better=first.measured.higher_is_better,
        pairs=len(means),
        unpaired=unpaired,
        result=paired_test(means, confidence) if means else None,
        significance=1 - confidence,
    )


def _partner(row: Row, partners: dict[object, float]) -> float | None:
    own_baseline = row.run.measured.get(BASELINE)
    if own_baseline is not None and own_baseline.metric == row.measured.metric:
        return own_baseline.value
    return partners.get(_identity(row.run, row.measured.metric))


def _partners(rows: Iterable[Row]) -> dict[object, float]:
    """Mean PTQ value by float model, data and metric."""
    groups: dict[object, list[Row]] = {}
    for row in rows:
        if row.variant == BASELINE and row.run.float_model is not None:
            groups.setdefault(_identity(row.run, row.measured.metric), []).append(row)
    means = {key: average_by_seed(group, "value").values() for key, group in groups.items()}
    return {key: sum(values) / len(values) for key, values in means.items()}


def _identity(run: RunRecord, metric: str) -> object:
    return run.float_model, data_settings(run), metric
