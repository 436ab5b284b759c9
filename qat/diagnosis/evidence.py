"""Everything measured, once and on demand: rungs of the ladder, re-conversions, what the app wrote and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.calibration_set import CalibrationSet, collected
from qat.diagnosis.case import Case
from qat.diagnosis.facts import Facts, preset_of
from qat.diagnosis.running import FileRunner, as_inputs, best_order, called, run_keras, watched
from qat.diagnosis.yardstick import Yardstick, worst_sqnr_db
from qat.errors import DataError, QatError

CALIBRATION_SAMPLES = 128
NORMALISATIONS = {
    "raw / 255": lambda raw: raw / 255,
    "raw / 127.5 - 1": lambda raw: raw / 127.5 - 1,
    "raw": lambda raw: raw,
    "(raw / 255 - mean) / std (ImageNet)": lambda raw: (raw / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    "BGR minus caffe means": lambda raw: raw[..., ::-1] - [103.939, 116.779, 123.68],
    "raw / 255, BGR": lambda raw: raw[..., ::-1] / 255,
    "raw, BGR": lambda raw: raw[..., ::-1],
}
_OF_PRESET = {"[0, 1]": "raw / 255", "[-1, 1]": "raw / 127.5 - 1", "[0, 255]": "raw"}


@dataclass(frozen=True)
class Recipe:
    """How a file is made of the Keras model: by the user's calibration, or by right inputs."""

    calibration: str = "right"  # right | user
    per_channel: bool = True
    scheme: str = "int8"


@dataclass
class Evidence:
    """Lazy facts about one case. `remarks` collects what could not be done, and why."""

    case: Case
    remarks: list[str] = field(default_factory=list)
    labels_distrusted: bool = False
    _files: dict[Recipe, Any] = field(default_factory=dict)

    @cached_property
    def facts(self) -> Facts:
        return Facts(self.case.graph)

    @cached_property
    def file(self) -> FileRunner:
        """The user's file, its inputs and outputs put into Keras order."""
        return self._ordered(FileRunner(self.case.content, self.case.graph))

    @cached_property
    def keras(self) -> Any:
        return self.case.keras_model

    @cached_property
    def keras_is_qat(self) -> bool:
        return self.keras is not None and any(
            type(layer).__name__ == "QuantizeWrapperV2" for layer in self.keras.layers
        )

    # ---- inputs

    @cached_property
    def right_inputs(self) -> list[NDArray] | None:
        """A0's inputs: preprocessed as in training, Keras order."""
        raw = self.case.inputs
        if raw is None:
            return None
        if self.case.preprocess is not None:
            found = as_inputs("preprocess", called("preprocess", self.case.preprocess, raw), len(raw))
        else:
            found = self._inferred_inputs(raw)
        self._check_inputs(found)
        return found

    def _inferred_inputs(self, raw: NDArray) -> list[NDArray]:
        if raw.dtype.kind == "f" or raw.dtype != np.uint8 or len(self.case.graph.inputs) != 1:
            return as_inputs("inputs", raw, len(raw))
        name = self._inferred_name(raw)
        self.remarks.append(f"preprocess was not given; the diagnosis goes on as if training had used {name!r}")
        return [NORMALISATIONS[name](raw.astype(np.float32)).astype(np.float32)]

    def _inferred_name(self, raw: NDArray) -> str:
        guess = _OF_PRESET.get(preset_of(self.facts.input_range) or "", "raw")
        few = slice(0, 256)
        if self.case.labels is None:
            return guess
        usable = [n for n in NORMALISATIONS if raw.shape[-1] == 3 or n in _OF_PRESET.values()]
        score = {}
        for name in sorted(usable, key=lambda n: n != guess):
            values = [NORMALISATIONS[name](raw[few].astype(np.float32)).astype(np.float32)]
            outputs = run_keras(self.keras, values) if self.keras is not None else self.file.real(values)
            score[name] = Yardstick(self.case.labels[few], None, True).value(outputs)
        best = max(score, key=score.get)
        return best if guess not in score or score[best] > score[guess] + 0.03 else guess

    def _check_inputs(self, arrays: list[NDArray]) -> None:
        wanted = [t.shape_signature for t in self.case.graph.inputs]
        if len(arrays) != len(wanted):
            raise DataError(
                f"{len(arrays)} arrays for the model's {len(wanted)} inputs; preprocess must return one for each"
            )
        if not self._fits(arrays):
            shapes = [list(a.shape[1:]) for a in arrays]
            raise DataError(
                f"model inputs have shapes {shapes} a sample, the file takes {[list(w[1:]) for w in wanted]}"
            )

    def _fits(self, arrays: Sequence[NDArray]) -> bool:
        signatures = sorted(tuple(t.shape_signature[1:]) for t in self.case.graph.inputs)
        given = sorted(tuple(a.shape[1:]) for a in arrays)
        return all(
            len(s) == len(g) and all(a in (-1, b) for a, b in zip(s, g, strict=True))
            for s, g in zip(signatures, given, strict=True)
        )

    @cached_property
    def user_inputs(self) -> list[NDArray] | None:
        """What the app's own preprocessing makes."""
        function = self.case.user_preprocess
        if function is None:
            return None
        return as_inputs("user_preprocess", called("user_preprocess", function, self.case.inputs), self.case.count)

    # ---- the app

    @cached_property
    def app_run(self) -> tuple[list[NDArray], list[NDArray] | None] | None:
        """Outputs of `user_run`, and what it wrote into the input tensors."""
        if self.case.user_run is None:
            return None
        with watched() as watch:
            value = called("user_run", self.case.user_run, self.case.inputs, self.case.content)
        return self.as_outputs(value), watch.fed(self.case.graph, self.case.count)

    def app_on(self, recipe: Recipe) -> list[NDArray] | None:
        """What the app writes into the inputs of a sound file: of a broken one the codes may say nothing."""
        content, runner = self.content(recipe), self.runner(recipe)
        if content is None or self.case.user_run is None:
            return None
        with watched() as watch:
            called("user_run", self.case.user_run, self.case.inputs, content)
        return watch.fed(runner.graph, self.case.count)

    def as_outputs(self, value: Any) -> list[NDArray]:
        count = self.case.count
        many = isinstance(value, (list, tuple)) and len(value) == len(self.case.graph.outputs) > 1
        arrays = [np.asarray(v) for v in (value if many else [value])]
        for array in arrays:
            if array.ndim == 0 or len(array) != count or array.dtype.kind not in "fiub":
                raise DataError(
                    f"user_run returned dtype {array.dtype}, shape {list(array.shape)} for {count} samples; "
                    "expected scores [N, ...] or labels [N]"
                )
        return arrays

    @cached_property
    def fed(self) -> list[NDArray] | None:
        """As written into the input tensors, the file's order: recorded, or seen while the app ran."""
        if self.case.fed is not None:
            return self.case.fed
        return self.app_run[1] if self.app_run is not None else None

    @cached_property
    def recorded(self) -> list[NDArray] | None:
        """What the app made of the outputs."""
        if self.case.outputs is not None:
            return self.case.outputs
        return self.app_run[0] if self.app_run is not None else None

    # ---- rungs

    @cached_property
    def a0(self) -> list[NDArray] | None:
        """The Keras model on the right inputs."""
        if self.keras is None or self.right_inputs is None:
            return None
        return run_keras(self.keras, self.right_inputs)

    @cached_property
    def a2(self) -> list[NDArray] | None:
        """The user's file on the right inputs, quantized and dequantized by us."""
        return None if self.right_inputs is None else self.file.real(self.right_inputs)

    @cached_property
    def a1(self) -> list[NDArray] | None:
        """A float file made here, on the right inputs."""
        return self.remade(Recipe(scheme="float32"))

    @cached_property
    def classifies(self) -> bool:
        reference = self.a0 or self.a2
        if self.case.labels is not None:
            return True
        if reference is None or reference[0].ndim != 2:
            return False
        rows = reference[0]
        return bool(rows.shape[1] > 1 and (rows >= -1e-3).all() and np.abs(rows.sum(axis=1) - 1).max() < 0.05)

    @property
    def a1_if_made(self) -> list[NDArray] | None:
        """A1, if some step needed that file."""
        return self.a1 if Recipe(scheme="float32") in self._files else None

    @property
    def a3(self) -> list[NDArray] | None:
        """The file on the app's own inputs."""
        arrays, right = self.user_inputs, self.right_inputs
        if arrays is None or right is None or [a[0].size for a in arrays] != [r[0].size for r in right]:
            return None
        return self.file.real([a.reshape(r.shape) for a, r in zip(arrays, right, strict=True)])

    @property
    def a4(self) -> list[NDArray] | None:
        """The app's own results, where they can be read as outputs."""
        recorded, wanted = self.recorded, self.a2
        if recorded is None or wanted is None:
            return None
        if self.yardstick.unit != "dB":
            return [recorded[0].reshape(-1) if recorded[0].size == len(recorded[0]) else recorded[0], *wanted[1:]]
        same = recorded[0].size == wanted[0].size
        return [recorded[0].reshape(wanted[0].shape), *wanted[1:]] if same else None

    @cached_property
    def yardstick(self) -> Yardstick:
        labels = None if self.labels_distrusted else self.case.labels
        return Yardstick(labels, self.a0 or self.a2, self.classifies)

    def distrust_labels(self) -> None:
        """Judge by agreement with the reference from now on."""
        self.labels_distrusted = True
        self.__dict__.pop("yardstick", None)

    # ---- other files

    @cached_property
    def calibration(self) -> CalibrationSet | None:
        return collected(self.case.calibration)

    def content(self, recipe: Recipe) -> bytes | None:
        """A file made here from the Keras model, or None with a remark."""
        if recipe not in self._files:
            self._files[recipe] = self._made(recipe)
        return self._files[recipe]

    def _made(self, recipe: Recipe) -> bytes | None:
        from qat.tflite import convert

        if self.keras is None or (self.keras_is_qat and recipe.scheme != "float32"):
            return None
        needs = recipe.scheme in ("int8", "int16x8")
        samples = self.calibration_samples(recipe.calibration) if needs else None
        if needs and samples is None:
            return None
        io = self._io if recipe.scheme == "int8" else "float32"
        try:
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return convert(
                    self.keras, calibration=samples, scheme=recipe.scheme, io=io, allow_float=True,
                    per_channel=recipe.per_channel,
                )  # fmt: skip
        except QatError as error:
            self.remarks.append(f"a {recipe.scheme} file could not be made from the Keras model: {str(error)[:200]}")
            return None

    @property
    def _io(self) -> str:
        """The user's own input dtype, so that the app can run what is made here."""
        dtype = self.case.graph.inputs[0].dtype
        return dtype if dtype in ("int8", "uint8") else "float32"

    def calibration_samples(self, which: str) -> list[NDArray] | None:
        if which == "user":
            seen = self.calibration
            return None if seen is None or not seen.usable else seen.arrays
        return None if self.right_inputs is None else [a[:CALIBRATION_SAMPLES] for a in self.right_inputs]

    def runner(self, recipe: Recipe) -> FileRunner | None:
        from qat.tflite import read

        content = self.content(recipe)
        return None if content is None else FileRunner(content, read(content))

    def remade(self, recipe: Recipe) -> list[NDArray] | None:
        """Outputs of a file made here, on the right inputs."""
        runner = self.runner(recipe)
        return None if runner is None or self.right_inputs is None else runner.real(self.right_inputs)

    # ---- order of inputs and outputs

    def _ordered(self, runner: FileRunner) -> FileRunner:
        graph = runner.graph
        if self.keras is None:
            return runner
        if len(graph.inputs) > 1:
            runner.input_order = self._input_order()
        if len(graph.outputs) > 1:
            runner.output_order = self._output_order(runner)
        return runner

    def _input_order(self) -> list[int]:
        graph, names = self.case.graph, list(self.keras.input_names)
        by_name = _places(names, _signature_names(graph, "inputs"), [t.name for t in graph.inputs])
        if by_name is not None:
            return by_name
        shapes = [tuple(x.shape[1:]) for x in self.keras.inputs]
        return best_order(shapes, [tuple(t.shape_signature[1:]) for t in graph.inputs], lambda a, b: float(a == b))

    def _output_order(self, runner: FileRunner) -> list[int]:
        """By what they compute where there is data, else by the names of the signature."""
        if self.right_inputs is not None:
            few = [a[:32] for a in self.right_inputs]
            wanted, found = run_keras(self.keras, few), runner.real(few)
            return best_order(wanted, found, lambda w, f: max(worst_sqnr_db([w], [f]), -100.0))
        names = _places(list(self.keras.output_names), _signature_names(self.case.graph, "outputs"), [])
        return names or runner.output_order

    @property
    def preset(self) -> str | None:
        return preset_of(self.facts.input_range)

    @property
    def right_limits(self) -> tuple[float, float] | None:
        """Smallest and largest right input; of raw uint8 images, what 0 and 255 become if that fits a preset."""
        if self.right_inputs is None:
            return None
        values = self.right_inputs[0]
        return float(values.min()), float(values.max())

    @cached_property
    def rescales_inside(self) -> bool:
        """Whether the model scales its input itself."""
        if self.keras is not None:
            kinds = [type(layer).__name__ for layer in self.keras.layers[:4]]
            return any(kind in ("Rescaling", "Normalization") for kind in kinds)
        tensors = self.case.graph.tensors
        op = next((o for o in self.facts.computing), None)
        constants = [] if op is None else [tensors[i] for i in op.inputs if i >= 0 and tensors[i].is_constant]
        return op is not None and op.name in ("MUL", "ADD", "SUB") and any(t.size <= 4 for t in constants)


def _signature_names(graph: Any, which: str) -> dict[str, int]:
    """Name to place among the file's inputs or outputs."""
    if not graph.signatures:
        return {}
    places = {t.index: place for place, t in enumerate(getattr(graph, which))}
    return {n: places[i] for n, i in getattr(graph.signatures[0], which).items() if i in places}


def _places(names: list[str], signature: dict[str, int], tensor_names: list[str]) -> list[int] | None:
    """Place in the file of each Keras name, if all of them are found."""
    stripped = {n.removeprefix("serving_default_").split(":")[0]: i for i, n in enumerate(tensor_names)}
    for known in (signature, stripped):
        if set(names) <= set(known):
            return [known[n] for n in names]
    return None
