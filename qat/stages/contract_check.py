"""Is a model that somebody brings fed as it was trained? Asked before hours go into it, on val, never on test.

A model that scales pixels itself and data that is scaled already give chance, and no error. So a model with trained
weights is scored as the data's contract feeds it, and as the usual contracts would. Where one of these is clearly
better, the run is refused with the option that says so; at chance also where the first layers scale pixels that are
scaled already. Else the run goes on and warns, for chance on val has innocent causes too: few samples, labels in
another order, a model that is brought to be trained here. A model whose weights nobody trained has no score worth
asking for; of it only the first layers are held against the contract.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import tf_keras
from numpy.typing import NDArray

from qat import metrics
from qat.config import DataConfig
from qat.contract import Contract
from qat.data import Split
from qat.diagnosis.normalisations import contracts_for
from qat.errors import DataError, ModelError
from qat.evaluation import evaluate, keras_predictor, spread
from qat.models import infer_task
from qat.models.leading_layers import apply_scaling_layers, is_untrained
from qat.stages.run import Run

TAKEN = ("saved", "user", "keras_app")
SAMPLES = 256  # of val
LUCK = 0.001  # the chance that the better of two contracts is so by luck alone, above which nothing is refused
LEARNT = 0.25  # of the way from chance to 1: what a contract must reach to be called the one of the training
SANE_WIDTHS = (0.05, 300.0)  # of what the first layers make of pixels; pixels scaled twice span 1/255 to 5/255
USUAL_WIDTHS = (0.5, 10.0)
TO_PIXELS = {  # range of float samples -> code that makes pixels of them
    (0.0, 1.0): "(x * 255).round().astype(numpy.uint8)",
    (-1.0, 1.0): "((x + 1) * 127.5).round().astype(numpy.uint8)",
}


@dataclass(frozen=True, eq=False)
class Fed:
    """Samples of val under one contract, and what the model gets right of them."""

    name: str
    split: Split
    right: NDArray[np.bool_] | None = None

    @property
    def accuracy(self) -> float:
        return 0.0 if self.right is None else float(self.right.mean())


def check_contract(run: Run, model: tf_keras.Model) -> None:
    """Refuse a model that is clearly better, or can only be meant, under another contract than the data's.

    Raises:
        ModelError: with the accuracy that each usual contract gave, and the option that mends it.
    """
    config = run.config
    if config.model.name not in TAKEN or len(run.splits.val) == 0:
        return
    few = run.splits.val.take(spread(len(run.splits.val), SAMPLES))
    others, code = _others(few)
    first = _scaled_wrongly(model, few, others)
    begins = f"\nIts first layers ({', '.join(first[0])}) scale pixels themselves." if first else ""
    given = config.model.name != "keras_app" or config.model.weights is not None
    if not given or is_untrained(model) or infer_task(model, len(run.splits.class_names)) != "classification":
        if first is not None:
            message = f"The data's contract does not fit model {model.name}: its pixels would be scaled twice or not "
            message += f"at all.{begins}"
            _refuse_or_warn(run, message, _mend(first[1].split.contract, config.data, code), _is_said(config.data))
        return
    with run.progress.work("score the model as it is"):
        now, best, scored = _scored(model, few, others)
    chance = float(np.bincount(few.labels).max() / len(few))
    told = _told(few, now, scored, chance)
    if best is not None and _is_clearly_better(best, now, chance):
        said = _is_said(config.data) and not _is_chance(now, chance)
        _refuse_or_warn(run, told + begins, _mend(best.split.contract, config.data, code), said)
    elif _is_chance(now, chance) and first is not None:
        _refuse_or_warn(run, told + begins, _mend(first[1].split.contract, config.data, code), _is_said(config.data))
    elif _is_chance(now, chance):
        better = "clearly better on so few samples" if best is not None and best.accuracy > now.accuracy else "better"
        _remark(run, f"{told}\nNo usual contract is {better}: is it trained, and are its classes in this order?")


def _others(few: Split) -> tuple[list[Fed], str]:
    """The same samples under each usual contract that is not theirs, and code, where they first become pixels."""
    found = _as_pixels(few)
    if found is None:
        return [], ""
    pixels, code = found
    now = _feeding(pixels.contract)
    usual = [(name, contract) for name, contract in contracts_for(pixels.contract) if _feeding(contract) != now]
    return [Fed(name, replace(pixels, contract=contract)) for name, contract in usual], code


def _as_pixels(few: Split) -> tuple[Split, str] | None:
    """Samples that count as 0..255, with the contract that feeds what is fed now; None where they cannot be told."""
    contract = few.contract
    if contract.raw_dtype == "uint8" or contract.layout == "NHWC":
        return few, ""
    if len(contract.shape) != 3 or contract.shape[-1] not in (1, 3):
        return None
    raw = np.asarray(few.raw())
    for low, high in (*TO_PIXELS, (0.0, 255.0)):
        if low <= raw.min() and raw.max() <= high:
            fed = replace(contract, layout="NHWC", range=(low, high))
            pixels = ((raw - low) * (255 / (high - low))).astype(np.float32)
            code = TO_PIXELS.get((low, high), "")
            return Split(few.name, few.labels, fed, pixels, np.arange(len(few))), code
    return None


def _feeding(contract: Contract) -> tuple[object, ...]:
    return (*(tuple(np.round(each, 9)) for each in contract.affine), contract.colour_order)


def _scaled_wrongly(model: tf_keras.Model, few: Split, others: list[Fed]) -> tuple[list[str], Fed] | None:
    """The first layers that make something unusable of the inputs, and the plainest contract that mends it."""
    sample = np.arange(min(len(few), 32))
    found = apply_scaling_layers(model, few.inputs(sample))
    if found is None or SANE_WIDTHS[0] <= _width(found[1]) <= SANE_WIDTHS[1]:
        return None
    for other in others:
        again = apply_scaling_layers(model, other.split.inputs(sample))
        if again is not None and USUAL_WIDTHS[0] <= _width(again[1]) <= USUAL_WIDTHS[1]:
            return found[0], other
    return None


def _width(values: NDArray) -> float:
    """Of the range of the widest channel."""
    return float(np.ptp(values.reshape(-1, values.shape[-1]), axis=0).max())


def _scored(model: tf_keras.Model, few: Split, others: list[Fed]) -> tuple[Fed, Fed | None, list[Fed]]:
    predictor = keras_predictor(model)

    def scored(fed: Fed) -> Fed:
        try:
            scores = evaluate(predictor, fed.split, "classification").scores
        except (DataError, ModelError):  # outputs that are not finite, inputs that are no pixels: nothing right
            return replace(fed, right=np.zeros(len(few), bool))
        return replace(fed, right=metrics.predicted_class(scores) == few.labels)

    tried = [scored(other) for other in others]
    best = max(tried, key=_accuracy, default=None)
    if best is not None and best.split.contract.shape[-1] == 3 and best.split.contract.layout == "NHWC":
        turned = _other_colour_order(best)
        if all(_feeding(turned.split.contract) != _feeding(each.split.contract) for each in tried):
            tried.append(scored(turned))
    return scored(Fed("as now", few)), max(tried, key=_accuracy, default=None), tried


def _accuracy(fed: Fed) -> float:
    return fed.accuracy


def _other_colour_order(fed: Fed) -> Fed:
    contract = fed.split.contract
    order = "rgb" if contract.colour_order == "bgr" else "bgr"
    name = f"{fed.name}, {order.upper()}"
    return Fed(name, replace(fed.split, contract=replace(contract, colour_order=order)))


def _is_chance(fed: Fed, chance: float) -> bool:
    """Whether always answering the most frequent class may be as good."""
    right = fed.right if fed.right is not None else np.zeros(1, bool)
    return metrics.wilson_interval(int(right.sum()), len(right))[0] <= chance


def _is_clearly_better(best: Fed, now: Fed, chance: float) -> bool:
    if best.right is None or now.right is None or best.accuracy <= now.accuracy:
        return False
    learnt = best.accuracy >= chance + LEARNT * (1 - chance) and not _is_chance(best, chance)
    return learnt and metrics.mcnemar_p(best.right, now.right) < LUCK


def _told(few: Split, now: Fed, scored: list[Fed], chance: float) -> str:
    rows = [now, *sorted(scored, key=lambda fed: -fed.accuracy)]
    lines = [
        f"The model gives {now.accuracy:.1%} on {len(few)} samples of {few.name}, fed as the data's contract says; "
        f"always answering the most frequent class gives {chance:.1%}. Accuracy by how it is fed:",
        *(f"  {fed.accuracy:>6.1%}  {_words(fed)}" for fed in rows),
    ]
    return "\n".join(lines)


def _words(fed: Fed) -> str:
    says = " ".join(_options(fed.split.contract))
    return f"{says or 'unscaled'} ({fed.name})" if len(says) <= 50 else fed.name


def _options(contract: Contract, current: DataConfig | None = None) -> Iterator[str]:
    """What `data` is to say, left out what `current` says already."""
    for key in ("range", "mean", "std", "colour_order"):
        value, there = getattr(contract, key), getattr(current or DataConfig(), key)
        if value != (tuple(there) if isinstance(there, list) else there):
            text = value if isinstance(value, str) else "null"
            if isinstance(value, tuple):
                text = f"[{','.join(f'{number:.7g}' for number in value)}]"
            yield f"data.{key}={text}"


def _mend(contract: Contract, current: DataConfig, code: str) -> str:
    options = " ".join(_options(contract, current))
    first = f"hand over the pixels, as\n  {code}\nand " if code else ""
    function = "\n(A function that returns Splits says so in their Contract.)" if current.name == "user" else ""
    return f"{first}set\n  {options}{function}"


def _is_said(data: DataConfig) -> bool:
    return data.range is not None or data.mean is not None or data.colour_order != "rgb"


def _refuse_or_warn(run: Run, message: str, mend: str, said: bool) -> None:
    """What the user has said of the contract stands where it may be meant; a default does not."""
    if said:
        _remark(run, f"{message}\nTo change that, {mend}")
        return
    raise ModelError(f"{message}\nTo mend it, {mend}")


def _remark(run: Run, message: str) -> None:
    """Warned of now, and said again at the end of the run."""
    warnings.warn(message, stacklevel=2)
    run.remarks.append(message)
