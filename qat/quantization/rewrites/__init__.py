"""Canonical form: a Keras model as a graph of ops that each have an exact integer kernel in TFLite.

`canonicalize` traces the model (`importing.trace`, `importing.layer_handlers`), reads the ops (`importing.importer`)
and runs the `PHASES`, each to a fixed point (`driver`). The float function stays what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qat.models.keras_types import KerasModel
from qat.quantization.importing.foreign_wrappers import refuse_wrapped
from qat.quantization.importing.modes import read
from qat.quantization.importing.preflight import refuse_unknown_ranks
from qat.quantization.ir.graph import Graph
from qat.quantization.rewrites import (
    activations,
    arithmetic,
    choices,
    common_subexpressions,
    contractions,
    diagonals,
    dilation,
    exponentials,
    linear,
    masks,
    normalization_affine,
    normalizations,
    outputs,
    pooling,
    recurrent,
    rounding,
    scatters,
    special_values,
    token_concat,
    token_ids,
    windows,
)
from qat.quantization.rewrites.driver import Pass, run_to_fixed_point

LOWER: tuple[Pass, ...] = (  # one op each, whatever stands around it, in ops that have a kernel
    recurrent.dropout_by_mask,
    token_ids.integer_inputs,
    token_ids.lookup,
    rounding.straight_through,
    dilation.dilated_convolution,
    pooling.average_of_everything,
    pooling.average_by_depthwise,
    contractions.einsum_dense,
    contractions.einsum,
    contractions.product_with_repeated,
    contractions.product_of_many_axes,
    diagonals.diagonal,
    diagonals.matrix_with_diagonal,
    diagonals.cross_product,
    scatters.scatter,
    scatters.scatter_sum,
    scatters.scatter_update,
    windows.patches,
    windows.local_response,
    windows.running_mean,
    windows.running_sum,
    windows.roll,
    special_values.finite,
    special_values.without_negative_zero,
    special_values.sign,
    special_values.euclidean_norm,
    special_values.product_along_axis,
    special_values.running_product,
    special_values.hyperbolic,
    special_values.product_with_logarithm,
    special_values.contrast,
    normalizations.layer_norm,
    normalizations.group_norm,
    arithmetic.division_by_constant,
    arithmetic.reversal,
)
RECOGNIZE: tuple[Pass, ...] = (  # several ops that are one thing; then the arithmetic that belongs to none
    normalizations.l2_normalize,
    masks.casts_through_moves,
    masks.condition_of_reals,
    arithmetic.chosen_by_mask,
    arithmetic.cast_of_condition,
    masks.through_selection,
    masks.move_of_selection,
    arithmetic.comparison_for_equality,
    choices.chosen_extremes,
    choices.unchosen_side,
    choices.bounded_exponential,
    arithmetic.without_empty_parts,
    outputs.parts_that_nobody_reads,
    outputs.slices_of_a_whole,
    exponentials.softmax_of_exponentials,
    exponentials.mean_of_exponential_weights,
    exponentials.tanh_of_exponentials,
    exponentials.sigmoid_of_exponential,
    exponentials.softplus_of_exponential,
    exponentials.log_of_sum_of_exponentials,
    exponentials.log_of_probabilities,
    exponentials.exponential_of_log_softmax,
    special_values.division_without_nan,
    normalizations.root_of_square,
    normalizations.variance_of_squares,
    normalizations.difference_before_product,
    normalizations.cosine,
    activations.gelu,
    activations.prelu,
    activations.slope_relu,
    activations.relu_without_slope,
    arithmetic.unary,
    arithmetic.power,
    arithmetic.square_of_difference,
    arithmetic.sum_of_many,
    arithmetic.division_by_root,
    arithmetic.division_by_positive,
    masks.minimum_of_hidden,
    masks.selected_mask,
    masks.additive_mask,
    arithmetic.subtraction_of_constant,
    token_concat.token_concat,
    token_concat.token_pack,
    token_concat.padded_conditions,
    arithmetic.clip,
    activations.clamp_before_factor,
    activations.relu_times_sixth,
    activations.leaky_maximum,
    pooling.activation_before_max_pool,
)
FUSE: tuple[Pass, ...] = (  # what a linear op's kernel computes with it
    dilation.depthwise_of_groups,
    dilation.padding_before_convolution,
    masks.product_of_masked,
    masks.sum_with_masked,  # here: `bias_of_sum` moves constants after masks
    linear.dense_on_two_axes,
    linear.channelwise_before_reshape,
    linear.bias_of_sum,
    linear.bias,
    normalizations.attach_batch_norm,
    linear.factor,
    linear.input_affine,
    normalization_affine.affine_of_normalization,
    normalization_affine.shift_of_normalization_past_sum,
)
SIMPLIFY: tuple[Pass, ...] = (  # what is left, without what is computed twice
    recurrent.clamp_of_state,
    normalizations.stand_alone_batch_norm,
    linear.elementwise_before_reshapes,
    common_subexpressions.common_subexpressions,
    arithmetic.sum_with_itself,
)
CLEANUP: tuple[Pass, ...] = (  # ends each phase: where nothing else acts, what depends on no input is computed
    arithmetic.fold_constants,
    arithmetic.neutral,
    linear.merge_reshapes,
)
PHASES: dict[str, tuple[Pass, ...]] = {
    "LOWER": (*LOWER, *CLEANUP),
    "RECOGNIZE": (*RECOGNIZE, *CLEANUP),
    "FUSE": (*FUSE, *CLEANUP),
    "SIMPLIFY": (*SIMPLIFY, *CLEANUP),
}
BEFORE: tuple[tuple[Pass, Pass, str], ...] = (  # in one phase, the first before the second: why
    (pooling.average_of_everything, pooling.average_by_depthwise, "the second would make a convolution of it"),
    (windows.running_mean, windows.running_sum, "the second would take the sum in it"),
    (arithmetic.chosen_by_mask, arithmetic.cast_of_condition, "the second takes those that no product reads"),
    (arithmetic.without_empty_parts, outputs.parts_that_nobody_reads, "the second counts the parts"),
    (
        exponentials.tanh_of_exponentials,
        exponentials.sigmoid_of_exponential,
        "the second would take the same denominator",
    ),
    *(
        (known, writer, "the second writes out what the first is known by")
        for known in (activations.gelu, activations.prelu, activations.slope_relu)
        for writer in (arithmetic.unary, arithmetic.power)
    ),
    (
        arithmetic.unary,
        arithmetic.square_of_difference,
        "the second takes the products that the first makes of squares",
    ),
    (arithmetic.division_by_root, arithmetic.division_by_positive, "the second would take the root of a root"),
    (masks.additive_mask, arithmetic.subtraction_of_constant, "the second takes constants as biases, and -1e9 is none"),
    (arithmetic.clip, activations.relu_times_sixth, "the second reads a ReLU6 that the first finds"),
)
APART: tuple[tuple[Pass, Pass, str], ...] = (  # in two phases, the first in the earlier one: why
    (arithmetic.clip, recurrent.clamp_of_state, "the first would join again what the second takes apart"),
    (normalizations.attach_batch_norm, normalizations.stand_alone_batch_norm, "the second takes what the first leaves"),
    (linear.bias, common_subexpressions.common_subexpressions, "what two read is not fused"),
)


def apply_phases(graph: Graph, phases: Mapping[str, Sequence[Pass]] = PHASES) -> None:
    """Bring a graph into canonical form.

    Args:
        graph: the imported graph; changed in place.
        phases: name of each phase to its passes, in the order in which they run.
    """
    graph.prune()
    for phase in phases.values():
        run_to_fixed_point(graph, phase)
    graph.sort()


def canonicalize(model: KerasModel, few_bits: bool = False) -> Graph:
    """The model's inference function in canonical form, and what training adds to it.

    Args:
        model: a float model of either Keras.
        few_bits: whether some kernels are to have fewer than 8 bits, whose codes no scale of an input may take.

    Raises:
        ModelError: the model's input sizes are not known, or it is quantization-aware already.
        UnsupportedLayerError: an op's result has an unknown number of axes.
    """
    refuse_wrapped(model)
    graph = read(model)
    graph.few_bits = few_bits
    refuse_unknown_ranks(graph)
    apply_phases(graph)
    return graph
