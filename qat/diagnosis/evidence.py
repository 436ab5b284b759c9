"""Everything measured, once and on demand: each stage's outputs, files converted again, what the app did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis import runs, tensor_order
from qat.diagnosis.case import CalibrationSet, Case, as_arrays, collect_samples
from qat.diagnosis.engine import Loss
from qat.diagnosis.file_facts import FileFacts
from qat.diagnosis.normalisations import (
    BY_RANGE,
    PLAIN,
    SAMPLES,
    compute_limits,
    find_likeliest,
    name_range,
    normalise,
)
from qat.diagnosis.score import OutputScore, are_probabilities, worst_sqnr_db
from qat.errors import DataError, QatError
from qat.models.which_keras import input_names
from qat.tflite import read, read_metadata

_CONVERSIONS_OF_QAT = (runs.Conversion(), runs.Conversion(scheme="float32"))  # any other would not change its ranges


@dataclass
class Evidence:
    """Lazy facts about one case. `remarks` collects what could not be done, and why."""

    case: Case
    remarks: list[str] = field(default_factory=list)
    labels_distrusted: bool = False
    noise_db: list[tuple[str, float]] = field(default_factory=list)  # of each layer's output in int8, if it was asked
    refusal: runs.Refusal | None = None  # what the app's own run broke at
    _files: dict[runs.Conversion, Any] = field(default_factory=dict)

    @cached_property
    def facts(self) -> FileFacts:
        return FileFacts(self.case.graph)

    @cached_property
    def file(self) -> runs.FileRunner:
        """The user's file, its inputs and outputs put into Keras order."""
        return self._ordered(runs.FileRunner(self.case.content, self.case.graph))

    @cached_property
    def keras(self) -> Any:
        """The Keras model.

        Raises:
            ModelError: its inputs or outputs are not the file's.
        """
        model = self.case.keras_model
        if model is not None:
            tensor_order.check_same_signature(self.case.graph, model)
        return model

    @cached_property
    def keras_is_qat(self) -> bool:
        """Whether the Keras model holds tfmot's wrappers, or those of `quantize_model`, which are made from them."""
        bases = (base for layer in ([] if self.keras is None else self.keras.layers) for base in type(layer).__mro__)
        return any(base.__name__ == "QuantizeWrapperV2" for base in bases)

    # ---- inputs

    @cached_property
    def right_inputs(self) -> list[NDArray] | None:
        """A0's inputs: preprocessed as in training, Keras order."""
        raw, graph = self.case.inputs, self.case.graph
        if raw is None:
            return None
        if self.case.preprocess is not None:
            inputs = self._called("preprocess", self.case.preprocess)
        elif raw.dtype != np.uint8 or len(graph.inputs) != 1:
            inputs = runs.as_inputs("inputs", raw, len(raw), 1)
        else:
            inputs = self._guessed_inputs(tensor_order.reshape_raw(raw, graph))
        tensor_order.check_inputs(inputs, graph)
        return inputs

    def _guessed_inputs(self, raw: NDArray) -> list[NDArray]:
        tensor_order.check_inputs([raw], self.case.graph)
        name = BY_RANGE.get(name_range(self.facts.input_range) or "", "raw")
        name = name if name in PLAIN else "raw"
        if self.case.labels is not None and (self.keras is not None or not self._tells_its_input):
            score = OutputScore(self.case.labels[:SAMPLES], None, True)
            run = self.file.real if self.keras is None else lambda values: runs.run_keras(self.keras, values)
            name = find_likeliest(raw, lambda values: score.value(run([values])), name)
        self.remarks.append(f"preprocess was not given; the diagnosis goes on as if training had used {name!r}")
        return [normalise(raw, name)]

    @property
    def _tells_its_input(self) -> bool:
        """Whether the file's metadata and its input's range are of one usual normalisation."""
        try:
            contract = read_metadata(self.case.graph).contract
        except QatError:
            return False
        named = name_range(self.facts.input_range)
        return contract is not None and named is not None and named == name_range(compute_limits(contract))

    def _called(self, name: str, function: Callable) -> list[NDArray]:
        """What a preprocessing function makes of the raw samples; inputs in a dictionary in the model's order."""
        value = runs.call_user(name, function, self.case.inputs)
        names = [] if self.keras is None else input_names(self.keras)
        if isinstance(value, dict) and set(names) == set(value):
            value = [value[each] for each in names]
        return runs.as_inputs(name, value, self.case.count, len(self.case.graph.inputs))

    @cached_property
    def user_inputs(self) -> list[NDArray] | None:
        """What the app's own preprocessing makes."""
        function = self.case.user_preprocess
        return None if function is None else self._called("user_preprocess", function)

    # ---- the app

    @cached_property
    def app_run(self) -> tuple[list[NDArray], list[NDArray] | None] | None:
        """Outputs of `user_run`, and what it wrote into the input tensors."""
        if self.case.user_run is None:
            return None
        with runs.record_calls() as calls:
            try:
                value = runs.call_user("user_run", self.case.user_run, self.case.inputs, self.case.content)
            except DataError:
                self.refusal = calls.refused
                if self.refusal is None:
                    raise
                return None
        outputs = as_arrays("user_run", value, self.case.count, len(self.case.graph.outputs))
        return outputs, calls.fed(self.case.graph, self.case.count)

    def app_on(self, conversion: runs.Conversion) -> list[NDArray] | None:
        """What the app writes into the inputs of a sound file: of a broken one the codes may say nothing."""
        content, runner = self.content(conversion), self.runner(conversion)
        if content is None or self.case.user_run is None:
            return None
        with runs.record_calls() as calls:
            runs.call_user("user_run", self.case.user_run, self.case.inputs, content)
        return calls.fed(runner.graph, self.case.count)

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

    # ---- stages

    @cached_property
    def keras_outputs(self) -> list[NDArray] | None:
        """The Keras model on the right inputs."""
        if self.keras is None or self.right_inputs is None:
            return None
        return runs.run_keras(self.keras, self.right_inputs)

    @cached_property
    def file_outputs(self) -> list[NDArray] | None:
        """The user's file on the right inputs, quantized and dequantized by us."""
        return None if self.right_inputs is None else self.file.real(self.right_inputs)

    @cached_property
    def float_file_outputs(self) -> list[NDArray] | None:
        """A float file made here, on the right inputs."""
        return self.convert_and_run(runs.Conversion(scheme="float32"))

    @property
    def float_file_db(self) -> float | None:
        """SQNR of the float file against the Keras model, of its worst output; None where there is none."""
        outputs = self.float_file_outputs
        return None if outputs is None else worst_sqnr_db(self.keras_outputs, outputs)

    @property
    def loss_of_file(self) -> Loss[bytes]:
        """What the file loses against the Keras model; its states are changed forms of the file."""
        return Loss(self.score, self.keras_outputs, self.file_outputs, self.case.content, self.outputs_of)

    @cached_property
    def classifies(self) -> bool:
        reference = self.keras_outputs or self.file_outputs
        if self.case.labels is not None:
            return True
        return reference is not None and are_probabilities(reference[0])

    @property
    def float_file_outputs_if_converted(self) -> list[NDArray] | None:
        """A1, if some step needed that file."""
        return self.float_file_outputs if runs.Conversion(scheme="float32") in self._files else None

    @property
    def outputs_on_app_inputs(self) -> list[NDArray] | None:
        """The file on the app's own inputs."""
        arrays, right = self.user_inputs, self.right_inputs
        if arrays is None or right is None or [a[0].size for a in arrays] != [r[0].size for r in right]:
            return None
        return self.file.real([a.reshape(r.shape) for a, r in zip(arrays, right, strict=True)])

    @property
    def app_outputs(self) -> list[NDArray] | None:
        """The app's own results, where they can be read as outputs."""
        recorded, expected = self.recorded, self.file_outputs
        if recorded is None or expected is None:
            return None
        if self.score.unit != "dB":
            return [recorded[0].reshape(-1) if recorded[0].size == len(recorded[0]) else recorded[0], *expected[1:]]
        same = recorded[0].size == expected[0].size
        tensor = self.case.graph.outputs[self.file.output_order[0]]
        if same and recorded[0].dtype == np.dtype(tensor.dtype):
            recorded = [runs.to_real(recorded[0], tensor), *recorded[1:]]
        return [recorded[0].reshape(expected[0].shape), *expected[1:]] if same else None

    @cached_property
    def score(self) -> OutputScore:
        labels = None if self.labels_distrusted else self.case.labels
        return OutputScore(labels, self.keras_outputs or self.file_outputs, self.classifies)

    def distrust_labels(self) -> None:
        """Judge by agreement with the reference from now on."""
        self.labels_distrusted = True
        self.__dict__.pop("score", None)

    # ---- other files

    @cached_property
    def calibration(self) -> CalibrationSet | None:
        return collect_samples(self.case.calibration)

    def content(self, conversion: runs.Conversion) -> bytes | None:
        """A file converted here from the Keras model, or None with a remark."""
        if conversion not in self._files:
            self._files[conversion] = self._converted(conversion)
        return self._files[conversion]

    def _converted(self, conversion: runs.Conversion) -> bytes | None:
        if self.keras is None or (self.keras_is_qat and conversion not in _CONVERSIONS_OF_QAT):
            return None
        samples, dtype = self.select_calibration(conversion.calibration), self.case.graph.inputs[0].dtype
        io = dtype if dtype in ("int8", "uint8") else "float32"  # the user's own, so that the app can run the file
        content, why = runs.make_file(self.keras, conversion, samples, io)
        self.remarks += [why] if why else []
        return content

    def select_calibration(self, which: str) -> list[NDArray] | None:
        if which == "user":
            samples = self.calibration
            return None if samples is None or not samples.usable else samples.arrays
        return None if self.right_inputs is None else [a[: runs.CALIBRATION_SAMPLES] for a in self.right_inputs]

    def runner(self, conversion: runs.Conversion) -> runs.FileRunner | None:
        content = self.content(conversion)
        return None if content is None else runs.FileRunner(content, read(content))

    def convert_and_run(self, conversion: runs.Conversion) -> list[NDArray] | None:
        """Outputs of a file converted here, on the right inputs."""
        runner = self.runner(conversion)
        return None if runner is None or self.right_inputs is None else runner.real(self.right_inputs)

    def outputs_of(self, content: bytes) -> list[NDArray]:
        """Outputs of a changed form of the user's file, on the right inputs."""
        runner = runs.FileRunner(content, read(content))
        runner.input_order, runner.output_order = self.file.input_order, self.file.output_order
        return runner.real(self.right_inputs)

    # ---- order of inputs and outputs

    def _ordered(self, runner: runs.FileRunner) -> runs.FileRunner:
        graph = runner.graph
        if self.keras is None:
            self._put_labelled_first(runner)
            return runner
        if len(graph.inputs) > 1:
            runner.input_order = tensor_order.match_inputs(graph, self.keras)
        if len(graph.outputs) > 1:
            runner.output_order = tensor_order.match_outputs(graph, self.keras, runner, self.right_inputs)
        return runner

    def _put_labelled_first(self, runner: runs.FileRunner) -> None:
        """Converters sort outputs by name: labels belong to the first that gives probabilities, if the app says no
        other."""
        case, outputs = self.case, runner.graph.outputs
        if case.labels is None or case.user_run is not None or case.given_outputs is not None:
            return
        place = next((i for i in range(len(outputs)) if self.facts.gives_probabilities(i)), 0)
        if place:
            runner.output_order.insert(0, runner.output_order.pop(place))
            self.remarks.append(
                f"labels are held against output {place} of the file, {outputs[place].name!r}: it gives probabilities"
            )

    @property
    def right_limits(self) -> tuple[float, float] | None:
        """Smallest and largest right value of the file's first input."""
        if self.right_inputs is None:
            return None
        values = self.right_inputs[self.file.input_order.index(0)]
        return float(values.min()), float(values.max())

    @cached_property
    def rescales_inside(self) -> bool:
        """Whether the model scales its input itself."""
        if self.keras is not None:
            return any(type(layer).__name__ in ("Rescaling", "Normalization") for layer in self.keras.layers[:4])
        tensors = self.case.graph.tensors
        op = next((o for o in self.facts.computing), None)
        constants = [] if op is None else [tensors[i] for i in op.inputs if i >= 0 and tensors[i].is_constant]
        return op is not None and op.name in ("MUL", "ADD", "SUB") and any(t.size <= 4 for t in constants)
