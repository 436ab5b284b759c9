"""A comparison in words: which file is the best, and whether QAT beat PTQ by more than luck."""

from __future__ import annotations

from collections.abc import Iterator

from qat.comparison.comparison import Comparison
from qat.comparison.configurations import AS_CONFIGURED, Configuration
from qat.reporting.comparison_text import format_configuration, format_test
from qat.reporting.numbers import format_size


def format_comparison_verdict(comparison: Comparison) -> list[str]:
    """A sentence per data set and metric, whether its best file beat PTQ by luck, then all of QAT against PTQ."""
    return [*_best(comparison), *_qat_against_ptq(comparison)]


def _best(comparison: Comparison) -> Iterator[str]:
    for task in dict.fromkeys(each.task for each in comparison.configurations):
        deployed = [each for each in comparison.configurations if each.task == task and each.variant != "float"]
        if deployed:
            best = max(deployed, key=_rank)
            yield _sentence(task, best)
            yield from _against_ptq(comparison, best)


def _against_ptq(comparison: Comparison, best: Configuration) -> Iterator[str]:
    """A sentence on the best file against PTQ, where it is a QAT file that was tested."""
    key = (best.variant, best.label, best.rows[0].measured.metric)
    for test in comparison.tests:
        if (test.variant, test.label, test.metric) == key and test.result and test.pairs > 1:
            verdict = "luck alone may explain it" if test.verdict == "no difference shown" else "more than luck"
            difference, p = format_test(test)[3], test.p_holm
            p_text = "" if p is None else f" (p = {p:.2g})"
            yield f"Against PTQ of the same float models it is {difference}: {verdict}{p_text}."


def _rank(configuration: Configuration) -> tuple[float, float]:
    return (
        configuration.value.mean if configuration.higher_is_better else -configuration.value.mean
    ), -configuration.size_bytes


def _sentence(task: str, best: Configuration) -> str:
    cells = format_configuration(best)
    value, gain = cells[4], cells[5]
    label = "" if best.label == AS_CONFIGURED else f" of {best.label}"
    seeds = f"{best.seeds} seed{'s' * (best.seeds != 1)}"
    against = f", {gain} vs float{_noise(best)}" if gain else ""
    facts = f"{value} ({seeds}){against}, {format_size(best.size_bytes)}"
    return f"{task}: the best quantized file is {best.variant}{label}: {facts}."


def _noise(best: Configuration) -> str:
    half_width = None if best.drop is None else best.drop.half_width
    if best.drop is None or not half_width:
        return ""
    return " (luck alone may explain it)" if abs(best.drop.mean) <= half_width else " (more than luck)"


def _qat_against_ptq(comparison: Comparison) -> Iterator[str]:
    tested = [test for test in comparison.tests if test.result is not None and test.pairs > 1]
    if tested:
        better, worse = (sum(test.verdict == words for test in tested) for words in ("QAT is better", "QAT is worse"))
        rest = len(tested) - better - worse
        yield (
            f"QAT against PTQ, tested over seeds in {_count(len(tested))}: better in {better}, worse in {worse}; "
            f"in {rest} luck alone may explain the difference."
        )
    elif comparison.tests:
        yield "QAT against PTQ: nothing says whether a difference is luck; repeat with several seeds (-m seed=0,1,2)."


def _count(configurations: int) -> str:
    return f"{configurations} configuration{'s' * (configurations != 1)}"
