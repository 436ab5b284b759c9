"""With fake quantization off, the QAT model is the float model in training: what is compared, and how closely.

    python -m tests.quantization.invariant [SET/name-regex ...] --rows FILE     see `--help`
    report = check(Case("name", build))                                        one case; `report.failures` is empty

Compared are the trainable variables (number, order, name, shape, dtype, value), the losses with their penalties, every
gradient of one step, the moving statistics behind it, the weights after ten steps of SGD, momentum and Adam, one epoch
of `fit` with its history, what `to_float` gives back, and that no variable of the given model ever moves. A number is
held to `RELATIVE` of its variable's largest entry or to `FLOORS` times what the float model differs from itself when
the rows of each batch change places, whichever is larger; a variable without a gradient (a bias before
BatchNormalization: rounding noise) to the same share of the model's largest gradient. Deep networks are chaotic in
float32: they are built in float64, and one gradient is held to `RELATIVE_64`.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import qat  # before TensorFlow: it selects Keras 2

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model
from qat.quantization.importing.model_inputs import nest_inputs
from qat.quantization.schedule import enable_quantization

from .zoo.drawing import draw, randomise, seed_of

__all__ = ["Case", "Failure", "Report", "check", "qat"]

RELATIVE, RELATIVE_64, FLOORS = 1e-4, 1e-6, 3.0
SMALL_LAYERS = 6  # with variables of their own: more are deep
ROWS, BATCH, STEPS = 32, 8, 10
SHUFFLES = 2  # the rounding floor is the larger of two other orders of the rows
VANISHING = 1e-5  # of the model's largest gradient: below, and mostly rounding noise, a gradient is none
NO_GRADIENT = 1e-6  # steps by less move no weight
RATE, ADAM_RATE = 0.01, 1e-3
OPTIMIZERS: dict[str, Callable[[float], Any]] = {
    "sgd": lambda rate: tf_keras.optimizers.SGD(rate),
    "momentum": lambda rate: tf_keras.optimizers.SGD(rate, momentum=0.9),
    "adam": lambda _: tf_keras.optimizers.Adam(ADAM_RATE),
}
RANDOM_ATTRIBUTES = ("rate", "dropout", "recurrent_dropout", "stddev", "drop_rate", "drop_path_rate")

Quantize = Callable[[tf_keras.Model, Any], tf_keras.Model]
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Case:
    """A float model and what is special about it.

    `build` makes the model; it is called more than once and must make the same each time (the seed is set before).
    `states` says in words what must hold. `inputs(model, rows, seed)` gives the arrays in `model.inputs` order.
    `relative` replaces `RELATIVE` (half precision). `depth` is "full", "step" (one step alone), "deep" (one
    step in float64), "full64" (all of it in float64: where a function jumps, as `tf.round` does, a rounding error of
    a weight beside a border is a whole step) or "auto": full or deep by the number of layers.
    `fit` is whether `fit`'s history and weights are compared beside the steps, which takes two more traces.
    `silenceable` is whether the random layers can be switched off by a rate of 0.
    """

    name: str
    build: Callable[[], tf_keras.Model]
    states: str = ""
    inputs: Callable[[tf_keras.Model, int, int], Arrays] = draw
    random_weights: bool = True
    relative: float = RELATIVE
    depth: str = "auto"
    silenceable: bool = True
    rows: int = ROWS
    fit: bool = True


@dataclass(frozen=True)
class Failure:
    """What differs: the check, the variable, and both numbers where it differs most."""

    check: str
    what: str
    expected: Any
    found: Any
    tolerance: float | None = None


@dataclass
class Report:
    """`worst` holds, for each check, the largest error as a share of its tolerance, and whose it is."""

    name: str
    states: str = ""
    failures: list[Failure] = field(default_factory=list)
    worst: dict[str, tuple[float, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def fail(self, check: str, what: str, expected: Any, found: Any, tolerance: float | None = None) -> None:
        self.failures.append(Failure(check, what, expected, found, tolerance))

    def hold(self, check: str, what: str, expected: Any, found: Any, tolerance: float) -> None:
        """Two arrays or numbers, entry by entry, within `tolerance`; not finite on one side alone is a failure."""
        expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
        if expected.shape != found.shape:
            self.fail(check, what, f"shape {expected.shape}", f"shape {found.shape}")
            return
        if not expected.size:
            return
        error = np.where(np.isnan(expected) & np.isnan(found) | (expected == found), 0.0, np.abs(expected - found))
        error = np.where(np.isnan(error), np.inf, error)
        at = np.unravel_index(int(np.argmax(error)), error.shape)
        share = float(error[at]) / tolerance if tolerance > 0 else float(np.inf if error[at] > 0 else 0.0)
        if check not in self.worst or share > self.worst[check][0]:
            self.worst[check] = (share, what)
        if share > 1:
            where = f"{what}[{','.join(map(str, at))}]" if at else what
            self.fail(check, where, float(expected[at]), float(found[at]), tolerance)

    def row(self) -> dict[str, Any]:
        """As one JSON line."""
        worst = {check: [float(f"{share:.3g}"), what] for check, (share, what) in self.worst.items()}
        return {
            "name": self.name,
            "passed": not self.failures,
            "failures": [asdict(failure) for failure in self.failures],
            "worst": worst,
            "notes": self.notes,
            "seconds": round(self.seconds, 1),
            "states": self.states,
        }


# --- one model


def plain(name: str) -> str:
    """A variable's name without the prefixes that wrappers give.

    >>> plain("block/quant_conv/kernel:0")
    'block/conv/kernel:0'
    """
    return re.sub(r"(^|/)quant_", r"\1", name)


def values_of(variables: Sequence[Any]) -> Arrays:
    return [np.array(variable.numpy()) for variable in variables]


def restore(variables: Sequence[Any], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def layers_with_variables(model: tf_keras.Model) -> int:
    """How many layers hold variables themselves; wrappers of others and nested models do not count."""
    return sum(bool(layer._trainable_weights) for layer in model._flatten_layers() if layer is not model)


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """What is built inside computes in float64."""
    before, policy = tf_keras.backend.floatx(), tf_keras.mixed_precision.global_policy()
    tf_keras.backend.set_floatx("float64")
    tf_keras.mixed_precision.set_global_policy("float64")  # one that somebody has set goes before the other
    try:
        yield
    finally:
        tf_keras.backend.set_floatx(before)
        tf_keras.mixed_precision.set_global_policy(policy)


def fresh(case: Case) -> tf_keras.Model:
    """The case's model with its weights set, the same and with the same names each time."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed_of(case.name))
    model = case.build()
    if case.random_weights:
        randomise(model, seed_of(case.name))
    return model


def silence(model: tf_keras.Model) -> list[str]:
    """Set the rates of all random layers to 0; the names of those that had another."""
    found = []
    for layer in model._flatten_layers():
        for attribute in RANDOM_ATTRIBUTES:
            value = getattr(layer, attribute, None)
            if isinstance(value, float) and value:
                with contextlib.suppress(AttributeError):  # a property: its cell holds the number
                    setattr(layer, attribute, 0.0)
                    found.append(f"{layer.name}.{attribute}")
    return found


@dataclass
class Batch:
    """Inputs in `model.inputs` order and one target for each output, None where the output is no float."""

    inputs: Arrays
    targets: list[np.ndarray | None]

    def rows(self, chosen: np.ndarray) -> Batch:
        count = len(self.inputs[0])
        targets = [t if t is None or not t.ndim or len(t) != count else t[chosen] for t in self.targets]
        return Batch([array[chosen] for array in self.inputs], targets)

    def __len__(self) -> int:
        return len(self.inputs[0])


def batch_for(case: Case, model: tf_keras.Model, rows: int) -> Batch:
    """Rows drawn for the case, targets drawn beside its outputs."""
    seed = seed_of(case.name)
    inputs = case.inputs(model, rows, seed + 2)
    rng = np.random.default_rng(seed + 3)
    outputs = tf.nest.flatten(call(model, inputs, training=False))
    targets = [
        (output.numpy() + rng.normal(0, 1, output.shape)).astype(output.dtype.as_numpy_dtype)
        if output.dtype.is_floating
        else None
        for output in outputs
    ]
    return Batch(inputs, targets)


def call(model: tf_keras.Model, inputs: Arrays, **options: Any) -> Any:
    return model(nest_inputs(model, [tf.convert_to_tensor(array) for array in inputs]), **options)


@dataclass
class Step:
    """What one step of training finds; `state` are the other variables behind it, in their order."""

    loss: float
    penalties: list[float]
    gradients: list[np.ndarray | None]
    outputs: Arrays
    state: Arrays

    @property
    def largest(self) -> float:
        return max((float(np.max(np.abs(g))) for g in self.gradients if g is not None and g.size), default=0.0)


def differentiate(model: tf_keras.Model, inputs: Any, targets: Any, **mode: Any) -> tuple[Any, Any, Any, Any]:
    """Loss, penalties, gradients and outputs as tensors."""
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(call(model, inputs, **mode))
        parts = [
            tf.cast(tf.reduce_mean(tf.square(output - target)), tf_keras.backend.floatx())
            for output, target in zip(outputs, targets, strict=True)
            if target is not None
        ]
        penalties = [tf.cast(tf.reduce_sum(penalty), tf_keras.backend.floatx()) for penalty in model.losses]
        loss = tf.add_n(parts + penalties or [tf.zeros((), tf_keras.backend.floatx())])
    gradients = tape.gradient(loss, model.trainable_variables)
    return loss, penalties, [None if g is None else tf.convert_to_tensor(g) for g in gradients], outputs


def step(model: tf_keras.Model, batch: Batch, seed: int = 0) -> Step:
    """One step, not traced, from the variables as they are, which are put back; random ops begin at `seed`."""
    before = values_of(model.variables)
    tf_keras.utils.set_random_seed(seed)
    loss, penalties, gradients, outputs = differentiate(model, batch.inputs, batch.targets, training=True)
    state = values_of(model.non_trainable_variables)
    restore(model.variables, before)
    return Step(
        float(loss),
        [float(penalty) for penalty in penalties],
        [None if g is None else g.numpy() for g in gradients],
        [output.numpy() for output in outputs],
        state,
    )


class Trainer:
    """Steps of training on batches of one size, in traced graphs: one for gradients, one for each optimizer."""

    def __init__(self, model: tf_keras.Model, rate: float) -> None:
        self.model = model

        @tf.function
        def gradients(inputs: Any, targets: Any) -> Any:
            return differentiate(model, inputs, targets, training=True)[2]

        self.gradients = gradients
        self.optimizers = {name: Optimizer(make(rate), model) for name, make in OPTIMIZERS.items()}

    def train(self, batches: list[Batch], optimizer: str) -> tuple[Arrays, Arrays]:
        """Trainable and other variables after a step on each batch; the model's variables are put back."""
        before = values_of(self.model.variables)
        self.optimizers[optimizer].reset()
        for batch in batches:
            self.optimizers[optimizer].apply(self.gradients(batch.inputs, batch.targets))
        after = values_of(self.model.trainable_variables), values_of(self.model.non_trainable_variables)
        restore(self.model.variables, before)
        return after


class Optimizer:
    """An optimizer of Keras that begins anew on demand."""

    def __init__(self, optimizer: Any, model: tf_keras.Model) -> None:
        self.optimizer, self.trained = optimizer, list(model.trainable_variables)
        optimizer.build(self.trained)
        self.fresh = values_of(optimizer.variables)
        self.traced = tf.function(self._apply)

    def _apply(self, gradients: Any) -> None:
        pairs = [(g, v) for g, v in zip(gradients, self.trained, strict=True) if g is not None]
        if pairs:
            self.optimizer.apply_gradients(pairs)

    def apply(self, gradients: Any) -> None:
        self.traced(gradients)

    def reset(self) -> None:
        restore(self.optimizer.variables, self.fresh)


def shuffled(batch: Batch, number: int) -> Batch:
    return batch.rows(np.random.default_rng(100 + number).permutation(len(batch)))


def floors(wanted: list[np.ndarray | None], others: list[list[np.ndarray | None]]) -> list[float]:
    """By variable, the largest difference of the float model from itself."""

    def apart(a: np.ndarray | None, b: np.ndarray | None) -> float:
        return 0.0 if a is None or b is None or not a.size else float(np.max(np.abs(a.astype(float) - b.astype(float))))

    return [max(apart(a, other[i]) for other in others) for i, a in enumerate(wanted)]


def size_of(value: np.ndarray | None) -> float:
    return float(np.max(np.abs(value))) if value is not None and value.size else 0.0


# --- float against QAT


class Comparison:
    """One float model beside one QAT model, fake quantization off."""

    def __init__(self, report: Report, case: Case, float_model: Any, qat_model: Any, relative: float) -> None:
        self.report, self.case, self.relative = report, case, relative
        self.float_model, self.qat_model = float_model, qat_model
        self.names = [plain(v.name) for v in float_model.trainable_variables]
        self.batch = batch_for(case, float_model, case.rows)
        self.vanishing: set[int] = set()

    def variables(self) -> bool:
        """Number, order, name, shape, dtype and value; whether gradients can be compared one by one."""
        expected, found = self.float_model.trainable_variables, self.qat_model.trainable_variables
        if len(expected) != len(found):
            names = [plain(v.name) for v in found]
            missing = [name for name in self.names if name not in names]
            added = [name for name in names if name not in self.names]
            self.report.fail(
                "variables", f"number; missing {missing[:6]}, added {added[:6]}", len(expected), len(found)
            )
            return False
        comparable = True
        for number, (a, b) in enumerate(zip(expected, found, strict=True)):
            if plain(a.name) != plain(b.name):
                self.report.fail("variables", f"name of number {number}", a.name, b.name)
            if a is b:
                self.report.fail("variables", a.name, "a copy", "the float model's own variable")
            if a.shape != b.shape or a.dtype != b.dtype:
                both = [f"{v.dtype.name} {tuple(v.shape)}" for v in (a, b)]
                self.report.fail("variables", f"shape or dtype of {a.name}", *both)
                comparable = comparable and a.shape == b.shape
            elif not np.array_equal(a.numpy(), b.numpy()):
                self.report.hold("variables", a.name, a.numpy(), b.numpy(), 0.0)
        return comparable

    def one_step(self, comparable: bool) -> None:
        """Outputs, loss, penalties, gradients and moving statistics of one step."""
        wanted, found = step(self.float_model, self.batch), step(self.qat_model, self.batch)
        others = [step(self.float_model, shuffled(self.batch, i)) for i in range(SHUFFLES)]
        self._loss(wanted, found, others)
        if comparable:
            floor = floors(wanted.gradients, [other.gradients for other in others])
            self._find_vanishing(wanted, floor)
            self._gradients(wanted, found, floor)
        self._state("statistics", wanted.state, found.state, [other.state for other in others])

    def _loss(self, wanted: Step, found: Step, others: list[Step]) -> None:
        outputs = getattr(self.float_model, "output_names", None) or []
        for number, (a, b) in enumerate(zip(wanted.outputs, found.outputs, strict=True)):
            name = outputs[number] if number < len(outputs) else f"output {number}"
            if a.dtype.kind == "f" and a.shape[:1] == (len(self.batch),):
                back = [np.argsort(np.random.default_rng(100 + i).permutation(len(a))) for i in range(SHUFFLES)]
                unshuffled = [[other.outputs[number][order]] for other, order in zip(others, back, strict=True)]
                floor = floors([a], unshuffled)[0]
                self.report.hold("outputs in training", name, a, b, self._tolerance(size_of(a), floor))
        spread = max(abs(wanted.loss - other.loss) for other in others)
        self.report.hold("loss", "total", wanted.loss, found.loss, self._tolerance(abs(wanted.loss), spread))
        if len(wanted.penalties) != len(found.penalties):
            self.report.fail("penalties", "len(model.losses)", len(wanted.penalties), len(found.penalties))
        total, spread = sum(wanted.penalties), max(abs(sum(wanted.penalties) - sum(o.penalties)) for o in others)
        tolerance = self._tolerance(max(map(abs, wanted.penalties), default=0.0), spread)
        self.report.hold("penalties", "sum(model.losses)", total, sum(found.penalties), tolerance)

    def _tolerance(self, largest: float, floor: float) -> float:
        return max(self.relative * largest, FLOORS * floor, 1e-30)

    def _find_vanishing(self, wanted: Step, floor: list[float]) -> None:
        """Variables whose gradient is rounding noise beside the model's others."""
        for number, gradient in enumerate(wanted.gradients):
            own = size_of(gradient)
            if own < VANISHING * wanted.largest and (own == 0 or floor[number] > 0.05 * own):
                self.vanishing.add(number)

    def _gradients(self, wanted: Step, found: Step, floor: list[float]) -> None:
        for number, name in enumerate(self.names):
            a, b = wanted.gradients[number], found.gradients[number]
            if a is None and b is None:
                continue
            if b is None and size_of(a) > 0 and number not in self.vanishing:
                self.report.fail("gradient", name, size_of(a), None)
                continue
            a = np.zeros_like(b) if a is None else a
            b = np.zeros_like(a) if b is None else b
            largest = wanted.largest if number in self.vanishing else size_of(a)
            self.report.hold("gradient", name, a, b, self._tolerance(largest, floor[number]))

    def _state(self, check: str, wanted: Arrays, found: Arrays, others: list[Arrays], noise: float = 0.0) -> None:
        """Of the variables that are not trained: those that the float model moves, and all others found by name.

        `noise` is how far a variable without a gradient may walk: a moving mean follows the bias in front of it.
        """
        before = values_of(self.float_model.non_trainable_variables)
        floor = floors(wanted, others)
        held: dict[str, list[np.ndarray]] = {}
        for variable, value in zip(self.qat_model.non_trainable_variables, found, strict=True):
            held.setdefault(plain(variable.name), []).append(value)
        for number, variable in enumerate(self.float_model.non_trainable_variables):
            name = plain(variable.name)
            if variable.dtype.is_integer or not variable.dtype.is_floating:
                continue
            own = held.get(name)
            if np.array_equal(before[number], wanted[number]) and not own:
                continue  # a constant of the model may be one of the graph
            if not own:
                self.report.fail(check, name, "moves in training", "no variable of this name")
                continue
            tolerance = max(self._tolerance(size_of(wanted[number]), floor[number]), noise)
            self.report.hold(check, name, wanted[number], own.pop(0), tolerance)

    def ten_steps(self) -> None:
        """Weights and statistics after ten steps of each optimizer, on batches in turn."""
        batches = [self._part(number) for number in range(STEPS)]
        orders = [[shuffled(b, 10 * i + n) for n, b in enumerate(batches)] for i in range(SHUFFLES)]
        gradients = [g for g in step(self.float_model, self.batch).gradients if g is not None]
        norm = float(np.sqrt(sum(np.sum(np.square(g, dtype=float)) for g in gradients)))
        rate = RATE / max(1.0, norm)
        float_side, qat_side = Trainer(self.float_model, rate), Trainer(self.qat_model, rate)
        for name in OPTIMIZERS:
            wanted = float_side.train(batches, name)
            if not all(np.isfinite(value).all() for value in wanted[0]):
                self.report.notes.append(f"{name}: the float model itself does not stay finite over ten steps")
                continue
            found = qat_side.train(batches, name)
            others = [float_side.train(order, name) for order in orders]
            self._trained(name, wanted[0], found[0], [other[0] for other in others])
            noise = 2 * STEPS * ADAM_RATE if self.vanishing and name == "adam" else 0.0
            states = [other[1] for other in others]
            self._state(f"statistics after ten steps of {name}", wanted[1], found[1], states, noise)

    def _trained(self, optimizer: str, wanted: Arrays, found: Arrays, others: list[Arrays]) -> None:
        """Adam makes steps of full length out of a vanishing gradient's rounding noise."""
        before = values_of(self.float_model.trainable_variables)
        moves = max((size_of(a - b) for a, b in zip(wanted, before, strict=True)), default=0.0)
        noise = 2 * STEPS * ADAM_RATE if optimizer == "adam" else self.relative * moves
        floor = floors(wanted, others)
        for number, name in enumerate(self.names):
            tolerance = self._tolerance(size_of(wanted[number]), floor[number])
            tolerance = max(tolerance, noise) if number in self.vanishing else tolerance
            self.report.hold(f"ten steps of {optimizer}", name, wanted[number], found[number], tolerance)

    def _part(self, number: int) -> Batch:
        parts = len(self.batch) // BATCH
        return self.batch.rows(np.arange(number % parts * BATCH, (number % parts + 1) * BATCH))

    def fit(self) -> None:
        """One epoch of `compile` and `fit`: history by its keys, weights behind it."""
        if any(target is None for target in self.batch.targets) or not self.names:
            return
        histories, weights = [], []
        for model in (self.float_model, self.qat_model):
            prepare(model, 1e-3)
        for model, batch in (
            (self.float_model, self.batch),
            (self.qat_model, self.batch),
            (self.float_model, self._shuffled_in_batches()),
        ):
            before = values_of(model.variables)
            histories.append(fitted(model, batch))
            weights.append(values_of(model.trainable_variables))
            restore(model.variables, before)
        wanted, found, other = histories
        if set(wanted) != set(found):
            self.report.fail("fit", "keys of history", sorted(wanted), sorted(found))
        for key in set(wanted) & set(found):
            spread = abs(wanted[key] - other[key])
            self.report.hold(
                "fit", f"history[{key}]", wanted[key], found[key], self._tolerance(abs(wanted[key]), spread)
            )
        floor = floors(weights[0], [weights[2]])
        for number, name in enumerate(self.names):
            tolerance = self._tolerance(size_of(weights[0][number]), floor[number])
            self.report.hold("weights after fit", name, weights[0][number], weights[1][number], tolerance)

    def _shuffled_in_batches(self) -> Batch:
        parts = [np.arange(at, at + BATCH) for at in range(0, len(self.batch), BATCH)]
        orders = [np.random.default_rng(7 + i).permutation(part) for i, part in enumerate(parts)]
        return self.batch.rows(np.concatenate(orders))

    def inference(self) -> None:
        """Outputs at inference."""
        wanted, found = (tf.nest.flatten(call(m, self.batch.inputs, training=False)) for m in self.models)
        for number, (a, b) in enumerate(zip(wanted, found, strict=True)):
            a, b = a.numpy(), b.numpy()
            if a.dtype.kind == "f":
                tolerance = self._tolerance(size_of(a), 0.0)
                self.report.hold("outputs at inference", f"output {number}", a, b, tolerance)

    def tape(self) -> None:
        """A GradientTape around a plain call, fake quantization on: what has a gradient in float has one here."""
        wanted, found = (
            differentiate(model, self.batch.inputs, self.batch.targets, training=False)[2] for model in self.models
        )
        sizes = [size_of(None if g is None else g.numpy()) for g in wanted]
        for number, name in enumerate(self.names):
            if (
                sizes[number] > 1e-3 * max(sizes)
                and size_of(None if found[number] is None else found[number].numpy()) == 0
            ):
                self.report.fail(
                    "tape", f"{name}, training=False", sizes[number], None if found[number] is None else 0.0
                )

    @property
    def models(self) -> tuple[Any, Any]:
        return self.float_model, self.qat_model


def prepare(model: tf_keras.Model, rate: float) -> None:
    """Compile for `fitted`: an optimizer without state."""
    model.compile(tf_keras.optimizers.SGD(rate, global_clipnorm=1.0), "mse")


def fitted(model: tf_keras.Model, batch: Batch) -> dict[str, float]:
    """The history of one epoch; the model stays trained."""
    tf_keras.utils.set_random_seed(0)
    inputs = nest_inputs(model, batch.inputs)
    nest = tf.nest.pack_sequence_as(call(model, [array[:1] for array in batch.inputs], training=False), batch.targets)
    history = model.fit(inputs, nest, batch_size=BATCH, epochs=1, shuffle=False, verbose=0).history
    return {key: float(values[-1]) for key, values in history.items()}


def switch(report: Report, qat_model: tf_keras.Model, on: bool) -> None:
    """Fake quantization on or off. Where the method is not there yet, by the switch that `quant.delay` uses."""
    if hasattr(qat_model, "fake_quantization"):
        qat_model.fake_quantization(on)
        return
    if not any(failure.check == "switch" for failure in report.failures):
        report.fail("switch", "QatModel.fake_quantization(on)", "a method", "none; enable_quantization used instead")
    enable_quantization(qat_model, on)


# --- a whole case


def check(case: Case, quantize: Quantize = quantize_model) -> Report:
    """Everything that is compared for one case; what raises is a failure, not an error.

    Args:
        case: see `Case`.
        quantize: what makes the QAT model of (float_model, calibration).
    """
    started, report = time.monotonic(), Report(case.name, case.states)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _check(case, quantize, report)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            words = re.sub(r'File "[^"]*/', 'File "', " ".join(str(error).split()))  # no folders of this machine
            message = f"{type(error).__name__}: {words[:300]}"
            report.fail("raised", f"{place.filename.split('/')[-1]}:{place.lineno}", "no error", message)
    report.seconds = time.monotonic() - started
    return report


def _check(case: Case, quantize: Quantize, report: Report) -> None:
    model = fresh(case)
    depth = case.depth
    if depth == "auto":
        depth = "full" if layers_with_variables(model) <= SMALL_LAYERS else "deep"
    if is_random(case, model):
        _masks(case, quantize, report, model)
        if not case.silenceable:
            report.notes.append("cannot be silenced: compared under equal masks only")
            return
    if depth in ("deep", "full64"):
        _equal_in_float64(case, quantize, report, whole=depth == "full64")
    else:
        _equal(case, quantize, report, case.relative, whole=depth == "full")


def _equal_in_float64(case: Case, quantize: Quantize, report: Report, whole: bool = False) -> None:
    """One gradient in float64, or the whole; where the float model itself cannot be built so, in float32."""
    with float64():
        try:
            call(model := fresh(case), case.inputs(model, 2, 5), training=False)
        except Exception as error:
            report.notes.append(f"not built in float64: {type(error).__name__}: {' '.join(str(error).split())[:120]}")
        else:
            _equal(case, quantize, report, RELATIVE_64, whole)
            return
    _equal(case, quantize, report, case.relative, whole)


def is_random(case: Case, model: tf_keras.Model) -> bool:
    """Whether two seeds give two answers in training."""
    before = values_of(model.variables)
    answers = []
    for seed in (1, 2, 3):
        tf_keras.utils.set_random_seed(seed)
        answers.append([np.asarray(t) for t in tf.nest.flatten(call(model, case.inputs(model, 8, 5), training=True))])
        restore(model.variables, before)
    return any(
        not np.array_equal(a, b, equal_nan=True)
        for other in answers[1:]
        for a, b in zip(answers[0], other, strict=True)
        if a.dtype.kind == "f"
    )


def _equal(case: Case, quantize: Quantize, report: Report, relative: float, whole: bool) -> None:
    float_model = fresh(case)
    silence(float_model)
    untouched = Untouched(report, float_model)
    qat_model = quantize(float_model, _calibration(case, float_model))
    untouched.hold("untouched by quantize_model")
    answers = _answers(case, float_model, qat_model)
    switch(report, qat_model, False)
    compared = Comparison(report, case, float_model, qat_model, relative)
    comparable = compared.variables()
    compared.inference()
    compared.one_step(comparable)
    if whole and comparable:
        compared.ten_steps()
        if case.fit:
            compared.fit()
    switch(report, qat_model, True)
    if not all(map(np.array_equal, answers, _answers(case, float_model, qat_model))):
        report.fail("switch", "fake_quantization(True)", "the outputs of before", "others")
    restore(float_model.variables, untouched.before)
    if comparable:
        compared.tape()
    if not whole:
        return
    if max(map(size_of, step(float_model, compared.batch).gradients), default=0.0) > NO_GRADIENT:
        _fit_on_the_grid(report, qat_model, compared.batch)
    untouched.hold("untouched by fit")
    _back_to_float(report, float_model, qat_model, compared.batch)


def _back_to_float(report: Report, float_model: tf_keras.Model, qat_model: tf_keras.Model, batch: Batch) -> None:
    """`to_float` of the trained QAT model: its values under the float model's names, the float model's function."""
    if not hasattr(qat_model, "to_float"):
        report.fail("to_float", "QatModel.to_float()", "a method", "none")
        return
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        back = qat_model.to_float()
    if any("penalties" in str(each.message) for each in heard):
        return  # said: Keras does not write down what add_loss was given as a function
    silence(back)  # a layer may be built anew with its rates, as MultiHeadAttention is
    expected, found = ([v.name for v in model.trainable_variables] for model in (float_model, back))
    if expected != found:
        report.fail("to_float", "names of the trainable variables", expected, found)
        return
    for a, b in zip(qat_model.trainable_variables, back.trainable_variables, strict=True):
        report.hold("to_float", b.name, a.numpy(), b.numpy(), 0.0)
        if a is b:
            report.fail("to_float", b.name, "a copy", "the QAT model's own variable")
    before = values_of(float_model.variables)
    restore(float_model.trainable_variables, values_of(back.trainable_variables))
    table = getattr(back, "float_variables", None)  # of one in our own layers
    held = back.variables if table is None else table.variables
    if len(float_model.variables) == len(held):
        restore(float_model.variables, values_of(held))
    wanted, answer = step(float_model, batch), step(back, batch)
    report.hold("to_float", "loss", wanted.loss, answer.loss, RELATIVE * abs(wanted.loss))
    if len(wanted.penalties) != len(answer.penalties):
        report.fail("to_float", "len(model.losses)", len(wanted.penalties), len(answer.penalties))
    restore(float_model.variables, before)


def _answers(case: Case, float_model: tf_keras.Model, qat_model: tf_keras.Model) -> Arrays:
    inputs = case.inputs(float_model, 8, 5)
    return [np.asarray(tensor) for tensor in tf.nest.flatten(call(qat_model, inputs, training=False))]


def _calibration(case: Case, model: tf_keras.Model) -> Any:
    return case.inputs(model, case.rows, seed_of(case.name) + 1)


class Untouched:
    """The float model's variables as they were given: none may move."""

    def __init__(self, report: Report, model: tf_keras.Model) -> None:
        self.report, self.variables = report, list(model.variables)
        self.before = values_of(self.variables)

    def hold(self, check: str) -> None:
        for variable, old in zip(self.variables, self.before, strict=True):
            if old.dtype.kind in "fiu":
                self.report.hold(check, variable.name, old, variable.numpy(), 0.0)


def _fit_on_the_grid(report: Report, qat_model: tf_keras.Model, batch: Batch) -> None:
    """An epoch with fake quantization on: finite, and something is trained."""
    if any(target is None for target in batch.targets) or not qat_model.trainable_variables:
        return
    before = values_of(qat_model.trainable_variables)
    prepare(qat_model, 1e-3)
    loss = fitted(qat_model, batch.rows(np.arange(min(len(batch), 2 * BATCH))))["loss"]
    if not np.isfinite(loss):
        report.fail("fit with fake quantization", "loss", "finite", loss)
    if all(map(np.array_equal, before, values_of(qat_model.trainable_variables))):
        report.fail("fit with fake quantization", "trainable variables", "moved", "none has")


EQUAL_SEEDS, MASK_SEEDS = 3, 24


def _masks(case: Case, quantize: Quantize, report: Report, model: tf_keras.Model) -> None:
    """Random ops act as in the float model: the same losses under the same seeds, or at least losses spread alike."""
    qat_model = quantize(model, _calibration(case, model))
    switch(report, qat_model, False)
    batch = batch_for(case, model, BATCH)
    models = model, qat_model
    wanted, found = ([step(each, batch, seed).loss for seed in range(EQUAL_SEEDS)] for each in models)
    apart = float(np.max(np.abs(np.subtract(wanted, found)) / np.abs(wanted)))
    if apart <= case.relative:
        report.worst["masks"] = (apart / case.relative, "loss")
        return
    report.notes.append(f"masks: not the same under the same seed ({wanted[0]:.6g}, {found[0]:.6g})")
    wanted, found = ([step(each, batch, seed).loss for seed in range(MASK_SEEDS)] for each in models)
    error = max(np.hypot(np.std(wanted), np.std(found)) / np.sqrt(MASK_SEEDS), 1e-12)
    report.hold("masks", f"mean loss over {MASK_SEEDS} seeds", np.mean(wanted), np.mean(found), 4 * error)
    if not 1 / 3 < np.std(found) / np.std(wanted) < 3:
        report.fail("masks", f"spread of the loss over {MASK_SEEDS} seeds", np.std(wanted), np.std(found))


if __name__ == "__main__":
    from .invariant_sets import main

    sys.exit(main())
