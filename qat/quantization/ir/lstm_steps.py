"""An LSTM over its time steps: the float layer, its simulation and its integer kernel differ in one time step only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Step = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]

State = tuple[tf.Tensor, tf.Tensor]


def run_time_steps(
    x_gates: tf.Tensor, units: int, step: Step, *, start: State | None = None, unrolled: bool = False
) -> State:
    """Run an LSTM over all time steps.

    Args:
        x_gates: what the inputs add to the four gates, [batch, time steps, 4 * units]; the number of steps is known.
        units: number of the state's elements.
        step: function of x_gates [batch, 4 * units], state and cell to output, state and cell, [batch, units] each.
        start: initial state and cell, [batch, units] each; None takes zeros.
        unrolled: whether to write out the steps, without a loop in the graph; nor is there one where the gates are a
            NumPy array, and `step` is of NumPy.

    Returns:
        Outputs and cells, [batch, time steps, units] each.
    """
    if isinstance(x_gates, np.ndarray):
        zeros = np.zeros([len(x_gates), units], x_gates.dtype)
        return _in_numpy(x_gates, start or (zeros, zeros), step)
    zeros = tf.zeros([tf.shape(x_gates)[0], units], x_gates.dtype)
    run = _unrolled if unrolled else _run_loop
    return run(x_gates, start or (zeros, zeros), step)


def _in_numpy(x_gates: NDArray, start: tuple[NDArray, NDArray], step: Step) -> tuple[NDArray, NDArray]:
    state, cell = start
    outputs, cells = (np.empty([*x_gates.shape[:2], state.shape[1]], x_gates.dtype) for _ in range(2))
    for at in range(x_gates.shape[1]):
        outputs[:, at], state, cell = step(x_gates[:, at], state, cell)
        cells[:, at] = cell
    return outputs, cells


def _unrolled(x_gates: tf.Tensor, start: State, step: Step) -> State:
    state, cell = start
    outputs, cells = [], []
    for row in tf.unstack(x_gates, axis=1):
        output, state, cell = step(row, state, cell)
        outputs.append(output)
        cells.append(cell)
    return tf.stack(outputs, axis=1), tf.stack(cells, axis=1)


def _run_loop(x_gates: tf.Tensor, start: State, step: Step) -> State:
    steps, units = x_gates.shape[1], start[0].shape[1]
    x_steps = tf.TensorArray(x_gates.dtype, steps).unstack(tf.transpose(x_gates, [1, 0, 2]))
    buffers = [tf.TensorArray(x_gates.dtype, steps, element_shape=[None, units]) for _ in range(2)]

    def body(
        index: tf.Tensor, state: tf.Tensor, cell: tf.Tensor, outputs: tf.TensorArray, cells: tf.TensorArray
    ) -> tuple:
        output, state, cell = step(x_steps.read(index), state, cell)
        return index + 1, state, cell, outputs.write(index, output), cells.write(index, cell)

    results = tf.while_loop(lambda index, *_: index < steps, body, (0, *start, *buffers), maximum_iterations=steps)
    outputs, cells = (tf.transpose(array.stack(), [1, 0, 2]) for array in results[3:])
    for result in (outputs, cells):
        result.set_shape([x_gates.shape[0], steps, units])
    return outputs, cells


def make_float_step(recurrent: tf.Tensor, masks: Sequence[tf.Tensor] | None = None) -> Step:
    """One time step as Keras' LSTM defines it; gates in the order input, forget, cell, output.

    Args:
        recurrent: the recurrent kernel, [units, 4 * units].
        masks: masks of recurrent dropout, one per gate, [batch, units] each; None for no dropout.

    Returns:
        A step for `run_time_steps`, which computes in the dtype of `recurrent`.
    """

    def step(x_gates: tf.Tensor, state: tf.Tensor, cell: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        output, cell = apply_gates(x_gates + compute_state_gates(state, recurrent, masks), cell)
        return output, output, cell

    return step


def compute_state_gates(state: tf.Tensor, recurrent: tf.Tensor, masks: Sequence[tf.Tensor] | None = None) -> tf.Tensor:
    """What the state adds to the gates.

    Args:
        state: output of the time step before, [batch, units].
        recurrent: the recurrent kernel, [units, 4 * units].
        masks: masks of recurrent dropout, one per gate, [batch, units] each; None for no dropout.

    Returns:
        What is added, [batch, 4 * units], in the order input, forget, cell, output.
    """
    if not masks:
        return tf.matmul(state, recurrent)
    gates = zip(masks, tf.split(recurrent, 4, axis=1), strict=True)
    return tf.concat([tf.matmul(state * mask, part) for mask, part in gates], axis=-1)


def apply_gates(gates: tf.Tensor, cell: tf.Tensor, round_cell: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> tuple:
    """The new output and cell of one time step.

    Args:
        gates: sums before the activations, [batch, 4 * units], in the order input, forget, cell, output.
        cell: cell of the time step before, [batch, units].
        round_cell: function that is applied to the new cell before it is read; the default changes nothing.

    Returns:
        Output and cell, [batch, units] each.
    """
    enter, forget, new, leave = tf.split(gates, 4, axis=-1)
    cell = round_cell(tf.sigmoid(forget) * cell + tf.sigmoid(enter) * tf.tanh(new))
    return tf.sigmoid(leave) * tf.tanh(cell), cell
