"""The LSTM of the canonical form: trained on the grid of TFLite's fused kernel, and computed as that kernel does.

UNIDIRECTIONAL_SEQUENCE_LSTM in its int8 form: weights int8, one scale for each of the eight matrices; gates int16 with
2^-12 to a code; sigmoid and tanh int16 to int16; cell int16 on a power of two; state and output int8 on one range.
Source: tflite/kernels/lstm_eval.cc (CalculateLstmGateInteger8x8_16 and what follows it),
unidirectional_sequence_lstm.cc (PopulateQuantizedLstmParams8x8_16).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tf_keras.src import backend

from qat.models.keras_types import Training
from qat.quantization.ir.lstm_steps import apply_gates, compute_state_gates, make_float_step, run_time_steps
from qat.quantization.ir.program import Program
from qat.quantization.keras.activation_quantizer import SHRINKS
from qat.quantization.keras.arithmetic import in_integers, in_numpy, settled, with_gradients
from qat.quantization.keras.grids import fake_quant, min_scale, straight_through
from qat.quantization.keras.holder import CallRanges, RangedHolder
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.training_layers import is_training
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array
from qat.quantization.kernels.lstm_tables import HIGHEST, LOWEST, WIDEST_CELL, tables_of_all
from qat.quantization.kernels.requantize import multiply_by_rounding_factors, rescaling_factor, rounding_factors
from qat.training.replicas import least_over_replicas

GATE_SCALE = 2.0**-12
GATES = (-8.0, 8.0 - GATE_SCALE)
CODES = 2**16
EAGER_STEPS = 24  # a graph of the loop takes as long to make as so many steps of some sixty ops, one by one
QUANTIZED = ("kernel", "recurrent")


@dataclass(frozen=True)
class Masks:
    """Dropout's: of the inputs, none, one, or one a gate; of the state, none or one a gate, [batch, units] each."""

    of_inputs: list[tf.Tensor]
    of_state: list[tf.Tensor]


@dataclass(frozen=True)
class LstmWeights:
    """The weights of one LSTM, its four gates in the order input, forget, cell, output.

    `kernel` and `recurrent` are int8 [units, inputs] and [units, units] a gate, each with one scale and the zero point
    0; `bias` is real, [units] a gate. The cell's scale is 2^(cell_bits - 15). `scale` and `zero_point` are the state's,
    which is int8 and what comes out.
    """

    kernel: list[NDArray[np.int8]]
    recurrent: list[NDArray[np.int8]]
    bias: list[NDArray[np.float32]]
    kernel_scales: list[float]
    recurrent_scales: list[float]
    cell_bits: int
    scale: float
    zero_point: int


@tf_keras.utils.register_keras_serializable("qat")
class Lstm(RangedHolder):
    """An LSTM that gives its whole sequence: `[batch, steps, inputs]` to `[batch, steps, units]`.

    Weights: `kernel` [inputs, 4 * units], `recurrent` [units, 4 * units], `bias` [4 * units], gates in Keras' order
    (input, forget, cell, output), and `cell_limit`, the largest cell seen. The state that goes round is on the range of
    the output, which stands after the layer.

    Args:
        dropped: rates `dropout` and `recurrent_dropout`, whether each gate has masks of its own (`per_gate`), whether
            each step has (`per_step`), and a `seed`, or `programs` that draw them; of a layer that drops in training.
    """

    def __init__(self, units: int, dropped: dict | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.dropped = units, dict(dropped or {})
        object.__setattr__(self, "generator", backend.RandomGenerator(self.dropped.get("seed")))
        self.quantized_by({})

    def quantized_by(self, quantizers: dict[str, Any]) -> None:
        """Remember the wrapper's quantizers, for `file_weights`."""
        object.__setattr__(self, "quantizers", quantizers)

    def call(self, inputs: tf.Tensor, training: Training = None, place: int = 0) -> tf.Tensor:
        self.begin_call(place)
        ranges = self.ranges
        in_training = is_training(training)
        masks = self._masks(inputs) if in_training and self.dropped else None
        if "kernel" not in self.quantized_weights or ranges.target is None:
            of_x = self._of_inputs(inputs, masks)
            step = make_float_step(self.weight("recurrent"), masks and masks.of_state)
            return run_time_steps(of_x, self.units, step, unrolled="kernel" not in self.quantized_weights)[0]
        on_grid = ranges.source is not None and all(f"{name}/scale" in self.quantized_weights for name in QUANTIZED)
        exact = in_integers() and on_grid
        if exact and not with_gradients():
            return self._as_kernel(inputs, ranges)
        simulated = self._simulated(inputs, ranges.target, in_training, masks)
        return straight_through(simulated, self._as_kernel(inputs, ranges)) if exact else simulated

    def _of_inputs(self, inputs: tf.Tensor, masks: Masks | None) -> tf.Tensor:
        """What the inputs add to the gates, [batch, steps, 4 * units]."""
        kernel, bias = self.weight("kernel"), self.real_weight("bias")
        if masks is None or not masks.of_inputs:
            return tf.tensordot(inputs, kernel, 1) + bias
        if len(masks.of_inputs) == 1:
            return tf.tensordot(inputs * masks.of_inputs[0], kernel, 1) + bias
        gates = zip(masks.of_inputs, tf.split(kernel, 4, axis=1), strict=True)
        return tf.concat([tf.tensordot(inputs * mask, part, 1) for mask, part in gates], -1) + bias

    def _masks(self, inputs: tf.Tensor) -> Masks:
        """Drawn once for a batch; of the inputs in each step anew, if the layer does so."""
        if self.dropped.get("programs"):
            return self._masks_by_programs(inputs)
        drop, count = self.dropped, 4 if self.dropped["per_gate"] else 1
        ones = tf.ones_like(inputs if drop["per_step"] else inputs[:, :1])
        of_inputs = [self.generator.dropout(ones, drop["dropout"]) for _ in range(count)] if drop["dropout"] else []
        state = tf.ones([tf.shape(inputs)[0], self.units], inputs.dtype)
        rate = drop["recurrent_dropout"] if drop["per_gate"] else 0.0
        of_state = [self.generator.dropout(state, rate) for _ in range(4)] if rate else []
        return Masks(of_inputs[:1] if drop["per_step"] else of_inputs, of_state)

    def _masks_by_programs(self, inputs: tf.Tensor) -> Masks:
        found: dict[str, list[tf.Tensor]] = {"dropout": [], "recurrent_dropout": []}
        for name, program in sorted(self.dropped["programs"].items()):
            drawn = Program.from_json(program).run([inputs], self.variables_of_model.readable)[0]
            found[name.split("/")[0]].append(tf.cast(drawn, inputs.dtype))
        of_inputs = [tf.expand_dims(mask, 1) for mask in found["dropout"]]
        return Masks(of_inputs, found["recurrent_dropout"] if self.dropped["per_gate"] else [])

    def _simulated(self, inputs: tf.Tensor, target: RangeLayer, training: bool, masks: Masks | None) -> tf.Tensor:
        """Rounded wherever the kernel rounds visibly, with gradients straight through."""
        recurrent, limit = self.weight("recurrent"), self.cell_end()
        low, high = (target.quantizer_vars[name] for name in ("min_var", "max_var"))

        def step(of_x: tf.Tensor, state: tf.Tensor, cell: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            gates = _rounded(of_x + compute_state_gates(state, recurrent, masks and masks.of_state), *GATES)
            output, cell = apply_gates(gates, cell, lambda real: _rounded(real, -limit, limit * (1 - 2.0**-15)))
            state = fake_quant(output, low, high, target.quantizer.bits)
            return output, state, cell

        of_x = self._of_inputs(inputs, masks)
        outputs, cells = run_time_steps(of_x, self.units, step)
        if training and target.quantizer.observing:
            self._follow(cells, target.quantizer.ema_decay)
        return outputs

    def _follow(self, cells: tf.Tensor, decay: float) -> None:
        """Hold the batch's largest cell, and forget it as ranges do. One that fills its range asks for the next power
        of two."""
        seen = -least_over_replicas(-tf.reduce_max(tf.abs(tf.stop_gradient(cells))))
        seen = tf.cast(seen, tf.float32)
        seen = tf.where(seen >= self.cell_end() * (1 - 2.0**-14), 1.25 * self.cell_end(), seen)
        limit = self.weight_cell_limit
        further = tf.cast(seen, limit.dtype) - limit
        share = tf.where(further > 0, 1.0, SHRINKS * (1.0 - decay))
        limit.assign_add(tf.where(tf.math.is_finite(further), share * further, 0.0))

    def cell_bits(self) -> Array:
        """How many whole bits the cell's codes have: an int32 scalar, 0 to 6."""
        limit = arrays.cast(settled(tf.convert_to_tensor(self.weight_cell_limit)), "float32")
        min_max = 2.0 ** np.arange(WIDEST_CELL, dtype=np.float32)
        return arrays.run(tf.reduce_sum, arrays.cast(limit > min_max, "int32"))

    def cell_end(self) -> tf.Tensor:
        """The power of two at which the cell saturates."""
        return 2.0 ** tf.cast(self.cell_bits(), tf.float32)

    def set_range(self, low: float, high: float) -> None:
        """Give the cell a place for these values, and for those of other calls: its limit grows, and never shrinks.

        Args:
            low: smallest value that the cell held, a real number.
            high: largest value that the cell held, in the same unit.
        """
        self.weight_cell_limit.assign(max(float(tf.convert_to_tensor(self.weight_cell_limit)), -low, high))

    def _as_kernel(self, inputs: Array, ranges: CallRanges) -> Array:
        """What LiteRT computes, to the last bit, in integers held by float64."""
        source, target = ranges.source.scale(), ranges.target.scale()
        scales = {name: arrays.repeat(self.quantized_weights[f"{name}/scale"], self.units) for name in QUANTIZED}
        codes = {name: _whole(self.quantized_weights[name] / scale) for name, scale in scales.items()}
        total = arrays.run(partial(tf.tensordot, axes=1), _whole(inputs / source), codes["kernel"])
        total = total + _whole(settled(self.real_weight("bias")) / (scales["kernel"] * source))
        of_x = _saturated(_rescaled(total, rounding_factors(rescaling_factor(scales["kernel"], source, GATE_SCALE))))
        of_output = arrays.cast(2.0**-30 / arrays.cast(target, "float64"), "float32")
        parameters = _KernelParameters(
            recurrent=codes["recurrent"],
            of_state=rounding_factors(rescaling_factor(scales["recurrent"], target, GATE_SCALE)),
            of_output=rounding_factors(of_output),
            lowest=_whole(ranges.target.min_max()[0] / target),
            cell_bits=self.cell_bits(),
        )
        in_graph = tf.executing_eagerly() and not in_numpy() and of_x.shape[1] > EAGER_STEPS
        outputs = (_graph_of_kernel_steps if in_graph else _kernel_steps)(of_x, parameters)
        return arrays.cast(outputs, inputs.dtype) * target

    def matrix_on_grid(self, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """A matrix as the file holds it, in real numbers, and the steps of its gates, [4]; made once in a forward
        pass."""
        return self.variables_of_model.once(f"{name} of {self.name}", partial(self._matrix_on_grid, name))

    def _matrix_on_grid(self, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        matrix, least = tf.convert_to_tensor(self.real_weight(name)), self.min_scale(name)
        return self.quantizers[name](matrix, False, {}, min_scale=least), self.quantizers[name].scale(matrix, least)

    def min_scale(self, name: str) -> tf.Tensor | None:
        """The smallest scale of a matrix with which the file holds its bias, [4 * units]; None without one."""
        sources = [each.source.scale() for each in self.ranges_of_calls if each.source is not None]
        if name != "kernel" or not sources:
            return None
        return min_scale(tf.convert_to_tensor(self.real_weight("bias")), tf.reduce_min(tf.stack(sources)))

    def file_weights(self, target: RangeLayer) -> LstmWeights:
        """The weights as the file holds them, where the output is on this range."""
        scale = float(target.scale())
        kernel, recurrent = (codes_of_gates(*self.matrix_on_grid(name)) for name in QUANTIZED)
        return LstmWeights(
            kernel=kernel[0],
            recurrent=recurrent[0],
            bias=np.split(np.asarray(self.real_weight("bias")), 4),
            kernel_scales=kernel[1],
            recurrent_scales=recurrent[1],
            cell_bits=int(self.cell_bits()),
            scale=scale,
            zero_point=int(target.zero_point()),
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units, "dropped": self.dropped}


def codes_of_gates(matrix: tf.Tensor, scales: tf.Tensor) -> tuple[list[NDArray[np.int8]], list[float]]:
    """Codes of each gate's matrix, and its scale.

    Args:
        matrix: real numbers on the grids of its gates, float32 [inputs, 4 * units], in the order input, forget, cell,
            output.
        scales: scale of each gate, float32 [4].

    Returns:
        Codes of each gate, int8 [units, inputs], and its scale: four of both.
    """
    gates = zip(np.split(matrix.numpy(), 4, axis=1), scales.numpy(), strict=True)
    return [np.round(gate / scale).astype(np.int8).T for gate, scale in gates], scales.numpy().tolist()


class _KernelParameters(NamedTuple):
    """What the kernel's steps read: recurrent codes, `rounding_factors`, the output's lowest code, the cell's bits."""

    recurrent: Array
    of_state: tuple[Array, Array]
    of_output: tuple[Array, Array]
    lowest: Array
    cell_bits: Array


def _kernel_steps(of_x: Array, parameters: _KernelParameters) -> Array:
    """Output codes [batch, steps, units] of what the inputs add to the gates' codes [batch, steps, 4 * units]."""
    units = of_x.shape[-1] // 4
    activate = _Activations(parameters.cell_bits, units)

    def step(of_x: Array, state: Array, cell: Array) -> tuple[Array, Array, Array]:
        gates = _saturated(of_x + _rescaled(arrays.matmul(state, parameters.recurrent), parameters.of_state))
        leave, cell = activate.cell(gates, cell)
        output = _rescaled(leave * activate.tanh_of_cell(cell), parameters.of_output)
        output = arrays.clip(output, parameters.lowest, parameters.lowest + 255)
        return output, output, cell

    return run_time_steps(of_x, units, step)[0]


_graph_of_kernel_steps = tf.function(_kernel_steps, autograph=False)  # one for all LSTMs of one size


class _Activations:
    """The functions of the gates and of the cell in one call, looked up: for all four gates at once."""

    def __init__(self, cell_bits: Array, units: int) -> None:
        self.table = tables_of_all()
        if not arrays.are_arrays(cell_bits):
            with tf.init_scope():  # made once, and captured by every graph
                self.table = tf.constant(self.table)
        of_sigmoid, of_tanh, of_cell = (-LOWEST + start * CODES for start in range(3))
        starts = [of_sigmoid, of_sigmoid, of_tanh, of_sigmoid]  # input, forget, new, output
        self.of_gates = np.repeat(np.int32(starts), units)
        self.of_cell = of_cell + CODES * cell_bits
        self.added = 2.0 ** (-15.0 - arrays.cast(cell_bits, "float64"))

    def cell(self, gates: Array, cell: Array) -> tuple[Array, Array]:
        """One step of the cell, in the kernel's integers, which float64 holds.

        Source: UpdateLstmCellInteger, tflite/kernels/lstm_eval.cc, with the int16 tables of `lstm_tables`.

        Args:
            gates: what each gate's function is applied to: int16 codes of 2^-12, held in float64 [batch, 4 * units], in
                the order input, forget, cell, output.
            cell: the cell of the step before: int16 codes of 2^(cell_bits - 15), held in float64 [batch, units].

        Returns:
            The output gate, codes of 2^-15, and the new cell, saturated to int16: float64 [batch, units] each.
        """
        enter, forget, new, leave = arrays.split_last(self._looked_up(gates, self.of_gates), 4)
        kept = arrays.round_half_away(forget * cell * 2.0**-15)
        return leave, _saturated(kept + arrays.round_half_away(enter * new * self.added))

    def tanh_of_cell(self, cell: Array) -> Array:
        return self._looked_up(cell, self.of_cell)

    def _looked_up(self, codes: Array, start: Array) -> Array:
        return arrays.take(self.table, arrays.cast(codes, "int32") + start)


def _rounded(real: Array, low: Array | float, high: Array | float) -> Array:
    return fake_quant(real, low, high, bits=16)


def _whole(codes: Array) -> Array:
    return arrays.rint(arrays.cast(codes, "float64"))


def _rescaled(total: Array, factor: tuple[Array, Array]) -> Array:
    return multiply_by_rounding_factors(total, factor, away=True)


def _saturated(codes: Array) -> Array:
    return arrays.clip(codes, float(LOWEST), float(HIGHEST))
