"""The result of a run in words: which file is the user's, what it is worth, how it compares, what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qat.commands import command
from qat.reporting import terminal
from qat.reporting.numbers import SIGNIFICANT, gain, gain_text, interval_text, shown_in_percent, size_text, times_text
from qat.reporting.numbers import value_text as value_of
from qat.results import RunResult, Variant
from qat.variants import STOCK, STOCK_VARIANT, is_trained

FLOAT = "float"


def verdict_sentences(result: RunResult, yours: str) -> list[str]:
    """Worth, comparison and, where it matters, how long each was trained; `yours` is the variant that was asked for."""
    return list(_sentences(result, yours))


def _sentences(result: RunResult, yours: str) -> Iterator[str]:
    variant, reference = result.variants[yours], result.variants.get(FLOAT)
    yield _worth(result, yours)
    if yours != FLOAT and reference is not None:
        yield f"{yours} {compared_with_float(variant, reference)}."
        longer = trained_longer(result, yours)
        if longer:
            yield longer
    if variant.parity is not None and not variant.parity.passed:
        yield f"Parity is BROKEN: {yours} departs from the model that was trained: {'; '.join(variant.parity.broken)}."


def _worth(result: RunResult, yours: str) -> str:
    variant, reference = result.variants[yours], result.variants.get(FLOAT)
    worth = f"{variant.metric.name} {value_of(variant.metric)}"
    if variant.accuracy_interval is not None:
        worth += f" (95 %: {interval_text(variant.accuracy_interval)})"
    samples = f" on {result.splits['test']} test samples" if "test" in result.splits else ""
    size = size_text(variant.size_bytes)
    if yours != FLOAT and reference is not None:
        size += f", {times_text(variant.size_bytes, reference.size_bytes)} float"
    return f"{yours} is your file: {worth}{samples}, {size}."


def compared_with_float(variant: Variant, reference: Variant) -> str:
    """`is +0.16 points against float: within noise (…)`; better is positive."""
    shown = gain_text(variant.metric, reference.metric)
    unit = "points of accuracy" if shown_in_percent(variant.metric.name) else f"in {variant.metric.name}"
    side = gain(variant.metric, reference.metric)
    if not side:
        return f"is {shown} {unit} against float: the same"
    return f"is {shown} {unit} against float, {'better' if side > 0 else 'worse'}{_by_luck(variant)}"


def _by_luck(variant: Variant) -> str:
    p = variant.p_against_float
    if p is None:
        return ""
    word = "within noise" if p >= SIGNIFICANT else "more than noise"
    return f", {word} (McNemar's paired test on the same samples, p = {p:.2g})"


def worse_than_noise(result: RunResult, yours: str) -> list[str]:
    """A sentence on each file beside `yours` that lost more than noise."""
    reference = result.variants.get(FLOAT)
    return [
        f"{name} {compared_with_float(variant, reference)}."
        for name, variant in result.variants.items()
        if reference is not None and name not in (FLOAT, yours) and is_worse_than_noise(variant, reference)
    ]


def is_worse_than_noise(variant: Variant, reference: Variant) -> bool:
    p = variant.p_against_float
    return p is not None and p < SIGNIFICANT and gain(variant.metric, reference.metric) < 0


def trained_longer(result: RunResult, yours: str) -> str | None:
    """QAT goes on from the float model's weights: what it gains may come from the epochs alone."""
    key = STOCK if yours == STOCK_VARIANT else "qat"
    before, more = len(result.histories.get(FLOAT, ())), len(result.histories.get(key, ()))
    if not is_trained(yours) or not more:
        return None
    if not before:
        return f"QAT trained {_epochs(more)} beyond the float model as it was given (quant.epochs)."
    return (
        f"QAT trained {_epochs(more)} longer than float ({before} + {more}, train.epochs + quant.epochs): a float "
        f"model trained as long, train.epochs={before + more}, is the fair control of a gain."
    )


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"


def next_steps(result: RunResult, yours: str, folder: Path) -> list[tuple[str, str]]:
    """(what for, a command that works), the most useful first."""
    return list(_next_steps(result, yours, folder))


def _next_steps(result: RunResult, yours: str, folder: Path) -> Iterator[tuple[str, str]]:
    variant, reference = result.variants[yours], result.variants.get(FLOAT)
    run = terminal.near(folder)
    worse = reference and any(is_worse_than_noise(each, reference) for each in result.variants.values())
    if worse or any(each.parity and not each.parity.passed for each in result.variants.values()):
        yield "Why it differs from float", command("diagnose", run=run)
    if variant.integer_only:
        file = terminal.near(folder / variant.file)
        yield "Which chips it runs on", command("verify", tflite=file, readiness="true")
    yield "How fast each file is on this machine", command("benchmark", run=run)
