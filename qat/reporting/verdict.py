"""The result of a run in words: which file is the user's, its metrics, how it compares, what to do next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from qat.commands import command
from qat.reporting import terminal
from qat.reporting.numbers import (
    SIGNIFICANT,
    compute_gain,
    format_gain,
    format_interval,
    format_size,
    format_size_ratio,
    format_value,
)
from qat.results import RunResult, Variant
from qat.tasks import RECONSTRUCTION, TASKS, is_in_percent
from qat.variants import FLOAT, STOCK, STOCK_VARIANT, is_trained

AUC = TASKS[RECONSTRUCTION].metric


def format_verdict(result: RunResult, variant_name: str) -> list[str]:
    """Metrics, comparison and, where it matters, how long each was trained.

    Args:
        result: what the run measured (accuracy as 0-1, sizes in bytes).
        variant_name: name of the variant that was asked for, as `qat_int8`.

    Returns:
        Sentences, the first of which names the file.
    """
    return list(_sentences(result, variant_name))


def _sentences(result: RunResult, variant_name: str) -> Iterator[str]:
    variant, reference = result.variants[variant_name], result.variants.get(FLOAT)
    yield _metric_sentence(result, variant_name)
    if is_near_chance(result, FLOAT if reference is not None else variant_name):
        share = 100 * (result.most_frequent_class or 0)
        guess = f"always answering the most frequent class is right in {share:.1f} %"
        yield (
            f"The model is near chance: {'a guess has an auc of 0.5' if variant.metric.name == AUC else guess}. What "
            "is compared here says nothing yet: train longer, or look at the labels and at how samples are scaled."
        )
    if variant_name != FLOAT and reference is not None:
        yield f"{variant_name} {format_float_comparison(variant, reference)}."
        training_note = describe_longer_training(result, variant_name)
        if training_note:
            yield training_note
    if variant.parity is not None and not variant.parity.passed:
        broken = "; ".join(variant.parity.broken)
        yield f"Parity is BROKEN: {variant_name} departs from the model that was trained: {broken}."


def is_near_chance(result: RunResult, variant_name: str) -> bool:
    """Whether a guess may be as good as a file: always the most frequent class, or for an AUC any order of the samples.

    Args:
        result: what the run measured; it has the share of the most frequent class, 0-1, and the test samples' number.
        variant_name: name of the file's variant, as `qat_int8`.

    Returns:
        True where the lower end of the accuracy's 95 % interval is at most that share, or where 2.5 % of all orders
        have as large an AUC; False also for other metrics.
    """
    share, variant = result.most_frequent_class, result.variants[variant_name]
    if share is None:
        return False
    if variant.metric.name == AUC:
        samples = result.splits.get("test", 0)
        of_one, of_other = share * samples, (1 - share) * samples
        if not of_one * of_other:
            return False
        # the variance of the Mann-Whitney statistic where both kinds are drawn from one distribution
        return variant.metric.value <= 0.5 + 1.96 * math.sqrt((samples + 1) / (12 * of_one * of_other))
    return variant.accuracy_interval is not None and variant.accuracy_interval[0] <= share


def _metric_sentence(result: RunResult, variant_name: str) -> str:
    variant, reference = result.variants[variant_name], result.variants.get(FLOAT)
    metric = f"{variant.metric.name} {format_value(variant.metric)}"
    if variant.accuracy_interval is not None:
        metric += f" (95 %: {format_interval(variant.accuracy_interval)})"
    samples = f" on {result.splits['test']} test samples" if "test" in result.splits else ""
    size = format_size(variant.size_bytes)
    if variant_name != FLOAT and reference is not None:
        size += f", {format_size_ratio(variant.size_bytes, reference.size_bytes)} float"
    return f"{variant_name} is your file: {metric}{samples}, {size}."


def format_float_comparison(variant: Variant, reference: Variant) -> str:
    """`is +0.16 points of accuracy against float, better, within noise (…)`; better is positive.

    Args:
        variant: metrics of the file (accuracy as 0-1).
        reference: metrics of the float model.

    Returns:
        The end of a sentence that begins with the file's name.
    """
    gain = format_gain(variant.metric, reference.metric)
    unit = "points of accuracy" if is_in_percent(variant.metric.name) else f"in {variant.metric.name}"
    difference = compute_gain(variant.metric, reference.metric)
    if not difference:
        return f"is {gain} {unit} against float: the same"
    return f"is {gain} {unit} against float, {'better' if difference > 0 else 'worse'}{_noise_note(variant)}"


def _noise_note(variant: Variant) -> str:
    p = variant.p_against_float
    if p is None:
        return "" if is_in_percent(variant.metric.name) else "; whether this is noise was not tested"
    word = "within noise" if p >= SIGNIFICANT else "more than noise"
    return f", {word} (McNemar's paired test on the same samples, p = {p:.2g})"


def describe_losses(result: RunResult, variant_name: str) -> list[str]:
    """A sentence on each other file that is worse than float by more than noise.

    Args:
        result: what the run measured (accuracy as 0-1).
        variant_name: name of the variant that was asked for, which is left out.

    Returns:
        One sentence per file, with the loss in points of accuracy (0-100) or the metric's unit.
    """
    reference = result.variants.get(FLOAT)
    return [
        f"{name} {format_float_comparison(variant, reference)}."
        for name, variant in result.variants.items()
        if reference is not None and name not in (FLOAT, variant_name) and is_worse_than_noise(variant, reference)
    ]


def is_worse_than_noise(variant: Variant, reference: Variant) -> bool:
    """Whether a file is worse than float, with McNemar's p below 0.05 (McNemar 1947, paired on the same samples).

    Args:
        variant: metrics of the file, with its p value (0-1) against float.
        reference: metrics of the float model.

    Returns:
        True where it is; False also where no test was made.
    """
    p = variant.p_against_float
    return p is not None and p < SIGNIFICANT and compute_gain(variant.metric, reference.metric) < 0


def describe_longer_training(result: RunResult, variant_name: str) -> str | None:
    """A sentence on the epochs that QAT trains more than float: what it gains may come from these alone.

    Args:
        result: what the run measured; its histories have one entry per epoch.
        variant_name: name of the file's variant, as `qat_int8`.

    Returns:
        The sentence, with both numbers of epochs; None where the file was not trained with quantization.
    """
    key = STOCK if variant_name == STOCK_VARIANT else "qat"
    float_epochs, qat_epochs = len(result.histories.get(FLOAT, ())), len(result.histories.get(key, ()))
    if not is_trained(variant_name) or not qat_epochs:
        return None
    if not float_epochs:
        return f"QAT trained {_epochs(qat_epochs)} beyond the float model as it was given (quant.epochs)."
    return (
        f"QAT trained {_epochs(qat_epochs)} longer than float ({float_epochs} + {qat_epochs}, train.epochs + "
        f"quant.epochs): a float model trained as long, train.epochs={float_epochs + qat_epochs}, is the fair control "
        "of a gain."
    )


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"


def suggest_commands(result: RunResult, variant_name: str, folder: Path) -> list[tuple[str, str]]:
    """Commands to run next, the most useful first.

    Args:
        result: what the run measured (accuracy as 0-1, sizes in bytes) and was made by.
        variant_name: name of the variant that was asked for, as `qat_int8`.
        folder: the run's directory.

    Returns:
        Pairs (purpose, command), each one line of text.
    """
    return list(_suggestions(result, variant_name, folder))


def _suggestions(result: RunResult, variant_name: str, folder: Path) -> Iterator[tuple[str, str]]:
    variant, reference = result.variants[variant_name], result.variants.get(FLOAT)
    run = terminal.relative_to_cwd(folder)
    worse = reference and any(is_worse_than_noise(each, reference) for each in result.variants.values())
    if worse or any(each.parity and not each.parity.passed for each in result.variants.values()):
        yield "Why it differs from float", command("diagnose", run=run)
    if variant.integer_only:
        file = terminal.relative_to_cwd(folder / variant.file)
        yield "Which chips it runs on", command("verify", tflite=file, readiness="true")
    yield "How fast each file is on this machine", command("benchmark", run=run)
