"""An LSTM's steps, one after another: the float layer, its simulation and its integer twin differ in the step only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

Step = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]

State = tuple[tf.Tensor, tf.Tensor]


def over_steps(
    of_x: tf.Tensor, units: int, step: Step, *, start: State | None = None, written_out: bool = False
) -> State:
    """Outputs and cells, [batch, steps, units] each.

    Args:
        of_x: what the inputs add to the four gates, [batch, steps, 4 * units]; `steps` is known.
        step: (of_x [batch, 4 * units], state, cell) to (output, state, cell), [batch, units] each.
        start: state and cell to begin with, [batch, units] each; zeros where none are given.
        written_out: no loop in the graph.
    """
    zeros = tf.zeros([tf.shape(of_x)[0], units], of_x.dtype)
    run = _written_out if written_out else _looped
    return run(of_x, start or (zeros, zeros), step)


def _written_out(of_x: tf.Tensor, start: State, step: Step) -> State:
    state, cell = start
    outputs, cells = [], []
    for row in tf.unstack(of_x, axis=1):
        output, state, cell = step(row, state, cell)
        outputs.append(output)
        cells.append(cell)
    return tf.stack(outputs, axis=1), tf.stack(cells, axis=1)


def _looped(of_x: tf.Tensor, start: State, step: Step) -> State:
    steps, units = of_x.shape[1], start[0].shape[1]
    rows = tf.TensorArray(of_x.dtype, steps).unstack(tf.transpose(of_x, [1, 0, 2]))
    made = [tf.TensorArray(of_x.dtype, steps, element_shape=[None, units]) for _ in range(2)]

    def body(at: tf.Tensor, state: tf.Tensor, cell: tf.Tensor, outputs: Any, cells: Any) -> tuple:
        output, state, cell = step(rows.read(at), state, cell)
        return at + 1, state, cell, outputs.write(at, output), cells.write(at, cell)

    found = tf.while_loop(lambda at, *_: at < steps, body, (0, *start, *made), maximum_iterations=steps)
    outputs, cells = (tf.transpose(array.stack(), [1, 0, 2]) for array in found[3:])
    for result in (outputs, cells):
        result.set_shape([of_x.shape[0], steps, units])
    return outputs, cells


def float_step(recurrent: tf.Tensor, masks: Sequence[tf.Tensor] | None = None) -> Step:
    """The step as Keras defines it; gates in the order input, forget, cell, output.

    Args:
        recurrent: the recurrent kernel, [units, 4 * units].
        masks: of recurrent dropout, one a gate, [batch, units] each.
    """

    def step(of_x: tf.Tensor, state: tf.Tensor, cell: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        output, cell = gated(of_x + gates_of_state(state, recurrent, masks), cell)
        return output, output, cell

    return step


def gates_of_state(state: tf.Tensor, recurrent: tf.Tensor, masks: Sequence[tf.Tensor] | None = None) -> tf.Tensor:
    """What the state [batch, units] adds to the gates, [batch, 4 * units]."""
    if not masks:
        return tf.matmul(state, recurrent)
    gates = zip(masks, tf.split(recurrent, 4, axis=1), strict=True)
    return tf.concat([tf.matmul(state * mask, part) for mask, part in gates], axis=-1)


def gated(gates: tf.Tensor, cell: tf.Tensor, rounded: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> tuple:
    """The output and the new cell, which is `rounded` before it is read."""
    enter, forget, new, leave = tf.split(gates, 4, axis=-1)
    cell = rounded(tf.sigmoid(forget) * cell + tf.sigmoid(enter) * tf.tanh(new))
    return tf.sigmoid(leave) * tf.tanh(cell), cell
