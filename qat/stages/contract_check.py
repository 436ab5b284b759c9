"""Does the data's contract fit a model that somebody brings? Checked on val, before hours go into its training.

A model that scales pixels itself and data that is scaled already give chance, and no error. So a model with trained
weights is scored as the data's contract feeds it, and as the usual contracts would. Where one of these is clearly
better, the run is refused with the option that says so; at chance also where the first layers scale pixels that are
scaled already. Else the run goes on and warns, for chance on val has innocent causes too: few samples, labels in
another order, a model that is brought to be trained here. A model whose weights nobody trained has no
score that says anything; of it only the first layers are compared with the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
import tf_keras
from numpy.typing import NDArray

from qat import metrics
from qat.config import DataConfig
from qat.contract import Contract
from qat.data import Split
from qat.diagnosis.normalisations import list_contracts
from qat.errors import DataError, ModelError
from qat.evaluation import evaluate, keras_predictor, spread_indices
from qat.models.fit_to_data import infer_model_task
from qat.models.leading_layers import apply_scaling_layers, is_untrained
from qat.stages.run import Run
from qat.tasks import CLASSIFICATION, TASKS
from qat.warning import warn

PRETRAINED_MODELS = ("saved", "user", "keras_app")
SAMPLES = 256  # of val
MOST_P_VALUE = 0.001  # McNemar's p of the better of two contracts, above which nothing is refused
LEAST_LEARNED = 0.25  # share of the way from chance to 1 that the contract of the training must reach
# limits of the range (max - min) that the first layers make of pixels; pixels scaled twice give 1/255 to 5/255
PLAUSIBLE_RANGES = (0.05, 300.0)
USUAL_RANGES = (0.5, 10.0)
TO_PIXELS = {  # range of float samples -> code that makes pixels of them
    (0.0, 1.0): "(x * 255).round().astype(numpy.uint8)",
    (-1.0, 1.0): "((x + 1) * 127.5).round().astype(numpy.uint8)",
}


@dataclass(frozen=True, eq=False)
class ContractScore:
    """Samples of val under one contract; `correct` [N] says which the model predicts correctly, None before it ran."""

    name: str
    split: Split
    correct: NDArray[np.bool_] | None = None

    @property
    def accuracy(self) -> float:
        return 0.0 if self.correct is None else float(self.correct.mean())


def check_contract(run: Run, model: tf_keras.Model) -> None:
    """Refuse a model that is clearly better, or can only be meant, under another contract than the data's.

    Args:
        run: the run; where only a default says the contract, the model is refused, else the user is warned.
        model: a built Keras model of the data's input shape, trained or not.

    Raises:
        ModelError: the model fits another contract clearly better; the message has the accuracy that each usual
            contract gave, and the option to set.
    """
    config = run.config
    if config.model.name not in PRETRAINED_MODELS or len(run.splits.val) == 0:
        return
    sample = run.splits.val.take(spread_indices(len(run.splits.val), SAMPLES))
    candidates, code = _usual_candidates(sample)
    wrong_scaling = _find_wrong_scaling(model, sample, candidates)
    is_set = config.data.range is not None or config.data.mean is not None or config.data.colour_order != "rgb"
    first_layers_note = (
        f"\nIts first layers ({', '.join(wrong_scaling[0])}) scale pixels themselves." if wrong_scaling else ""
    )
    has_weights = config.model.name != "keras_app" or config.model.weights is not None
    if (
        not has_weights
        or is_untrained(model)
        or not TASKS[infer_model_task(model, len(run.splits.class_names))].has_classes
    ):
        if wrong_scaling is not None:
            message = f"The data's contract does not fit model {model.name}: its pixels would be scaled twice or not "
            message += f"at all.{first_layers_note}"
            _refuse_or_warn(run, message, wrong_scaling[1], code, is_set)
        return
    with run.progress.work("score the model as it is"):
        current, best, scores = _score_candidates(model, sample, candidates)
    chance = float(np.bincount(sample.labels).max() / len(sample))
    message = _format_scores(sample, current, scores, chance)
    if best is not None and _is_clearly_better(best, current, chance):
        is_meant = is_set and not _is_chance(current, chance)
        _refuse_or_warn(run, message + first_layers_note, best, code, is_meant)
    elif _is_chance(current, chance) and wrong_scaling is not None:
        _refuse_or_warn(run, message + first_layers_note, wrong_scaling[1], code, is_set)
    elif _is_chance(current, chance):
        better = (
            "clearly better on so few samples" if best is not None and best.accuracy > current.accuracy else "better"
        )
        _add_remark(run, f"{message}\nNo usual contract is {better}: is it trained, and are its classes in this order?")


def _usual_candidates(sample: Split) -> tuple[list[ContractScore], str]:
    """The same samples under each usual contract but their own, and code that first makes pixels of them, or ""."""
    converted = _convert_to_pixels(sample)
    if converted is None:
        return [], ""
    pixels, code = converted
    current = _scaling(pixels.contract)
    others = [(name, contract) for name, contract in list_contracts(pixels.contract) if _scaling(contract) != current]
    return [ContractScore(name, replace(pixels, contract=contract)) for name, contract in others], code


def _convert_to_pixels(sample: Split) -> tuple[Split, str] | None:
    """Samples as 0..255, with a contract that gives the same inputs; None where their scale cannot be inferred."""
    contract = sample.contract
    if contract.raw_dtype == "uint8" or contract.layout == "NHWC":
        return sample, ""
    if len(contract.shape) != 3 or contract.shape[-1] not in (1, 3):
        return None
    raw = np.asarray(sample.raw())
    for low, high in (*TO_PIXELS, (0.0, 255.0)):
        if low <= raw.min() and raw.max() <= high:
            scaled = replace(contract, layout="NHWC", range=(low, high))
            pixels = ((raw - low) * (255 / (high - low))).astype(np.float32)
            code = TO_PIXELS.get((low, high), "")
            return Split(sample.name, sample.labels, scaled, pixels, np.arange(len(sample))), code
    return None


def _scaling(contract: Contract) -> tuple[object, ...]:
    """What makes two contracts feed the same: offset, factor and order of channels."""
    return (*(tuple(np.round(each, 9)) for each in contract.affine), contract.colour_order)


def _find_wrong_scaling(
    model: tf_keras.Model, sample: Split, candidates: list[ContractScore]
) -> tuple[list[str], ContractScore] | None:
    """The first layers that make something unusable of the inputs, and the plainest contract that mends it."""
    indices = np.arange(min(len(sample), 32))
    scaled = apply_scaling_layers(model, sample.inputs(indices))
    if scaled is None or PLAUSIBLE_RANGES[0] <= _channel_range(scaled[1]) <= PLAUSIBLE_RANGES[1]:
        return None
    for other in candidates:
        rescaled = apply_scaling_layers(model, other.split.inputs(indices))
        if rescaled is not None and USUAL_RANGES[0] <= _channel_range(rescaled[1]) <= USUAL_RANGES[1]:
            return scaled[0], other
    return None


def _channel_range(values: NDArray) -> float:
    """max - min of the channel with the widest range."""
    return float(np.ptp(values.reshape(-1, values.shape[-1]), axis=0).max())


def _score_candidates(
    model: tf_keras.Model, sample: Split, others: list[ContractScore]
) -> tuple[ContractScore, ContractScore | None, list[ContractScore]]:
    predictor = keras_predictor(model)

    def score(candidate: ContractScore) -> ContractScore:
        try:
            scores = evaluate(predictor, candidate.split, CLASSIFICATION).scores
        except (DataError, ModelError):  # outputs that are not finite, inputs that are no pixels: nothing right
            return replace(candidate, correct=np.zeros(len(sample), bool))
        return replace(candidate, correct=metrics.predicted_class(scores) == sample.labels)

    candidates = [score(other) for other in others]
    best = max(candidates, key=attrgetter("accuracy"), default=None)
    if best is not None and best.split.contract.shape[-1] == 3 and best.split.contract.layout == "NHWC":
        swapped = _swap_colour_order(best)
        if all(_scaling(swapped.split.contract) != _scaling(each.split.contract) for each in candidates):
            candidates.append(score(swapped))
    return score(ContractScore("as now", sample)), max(candidates, key=attrgetter("accuracy"), default=None), candidates


def _swap_colour_order(candidate: ContractScore) -> ContractScore:
    contract = candidate.split.contract
    order = "rgb" if contract.colour_order == "bgr" else "bgr"
    name = f"{candidate.name}, {order.upper()}"
    return ContractScore(name, replace(candidate.split, contract=replace(contract, colour_order=order)))


def _is_chance(candidate: ContractScore, chance: float) -> bool:
    """Whether always answering the most frequent class may be as good."""
    correct = candidate.correct if candidate.correct is not None else np.zeros(1, bool)
    return metrics.wilson_interval(int(correct.sum()), len(correct))[0] <= chance


def _is_clearly_better(best: ContractScore, current: ContractScore, chance: float) -> bool:
    if best.correct is None or current.correct is None or best.accuracy <= current.accuracy:
        return False
    has_learned = best.accuracy >= chance + LEAST_LEARNED * (1 - chance) and not _is_chance(best, chance)
    return has_learned and metrics.mcnemar_p(best.correct, current.correct) < MOST_P_VALUE


def _format_scores(sample: Split, current: ContractScore, candidates: list[ContractScore], chance: float) -> str:
    rows = [current, *sorted(candidates, key=lambda candidate: -candidate.accuracy)]
    lines = [
        f"The model gives {current.accuracy:.1%} on {len(sample)} samples of {sample.name}, fed as the data's contract "
        f"says; always answering the most frequent class gives {chance:.1%}. Accuracy by how it is fed:",
        *(f"  {candidate.accuracy:>6.1%}  {_describe(candidate)}" for candidate in rows),
    ]
    return "\n".join(lines)


def _describe(candidate: ContractScore) -> str:
    options = " ".join(_options(candidate.split.contract))
    return f"{options or 'unscaled'} ({candidate.name})" if len(options) <= 50 else candidate.name


def _options(contract: Contract, current: DataConfig | None = None) -> Iterator[str]:
    """What `data` is to say, left out what `current` says already."""
    for key in ("range", "mean", "std", "colour_order"):
        value, present = getattr(contract, key), getattr(current or DataConfig(), key)
        if value != (tuple(present) if isinstance(present, list) else present):
            text = value if isinstance(value, str) else "null"
            if isinstance(value, tuple):
                text = f"[{','.join(f'{number:.7g}' for number in value)}]"
            yield f"data.{key}={text}"


def _remedy(contract: Contract, current: DataConfig, code: str) -> str:
    options = " ".join(_options(contract, current))
    first = f"hand over the pixels, as\n  {code}\nand " if code else ""
    function = "\n(A function that returns Splits says so in their Contract.)" if current.name == "user" else ""
    return f"{first}set\n  {options}{function}"


def _refuse_or_warn(run: Run, message: str, better: ContractScore, code: str, is_meant: bool) -> None:
    """Warn where the user has set the contract, which may be meant; refuse where it is a default."""
    remedy = _remedy(better.split.contract, run.config.data, code)
    if is_meant:
        _add_remark(run, f"{message}\nTo change that, {remedy}")
        return
    raise ModelError(f"{message}\nTo mend it, {remedy}")


def _add_remark(run: Run, message: str) -> None:
    """Warn now, and repeat the warning at the end of the run."""
    warn(message)
    run.remarks.append(message)
