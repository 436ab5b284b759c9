"""Canonical form: a Keras model as a graph of ops that each have an exact integer kernel in TFLite.

`canonicalize` traces the model (`importing.trace`, `importing.layer_handlers`), reads the ops (`importing.importer`)
and applies `REWRITES` in order.
The float function stays what it was.
"""

from __future__ import annotations

import tf_keras

from qat.quantization.importing.foreign_wrappers import refuse_wrapped
from qat.quantization.importing.modes import read
from qat.quantization.importing.preflight import refuse_unknown_ranks
from qat.quantization.ir.graph import Graph
from qat.quantization.rewrites import (
    activations,
    arithmetic,
    common_subexpressions,
    comparisons,
    contractions,
    dilation,
    linear,
    masks,
    normalizations,
    outputs,
    pooling,
    recurrent,
    rounding,
    special_values,
    token_concat,
    token_ids,
    windows,
)

REWRITES = (
    recurrent.dropout_by_mask,
    token_ids.integer_inputs,
    rounding.straight_through,
    dilation.dilated_convolution,
    pooling.average_of_everything,
    pooling.average_by_depthwise,
    contractions.einsum_dense,
    contractions.einsum,
    windows.patches,
    windows.local_response,
    windows.running_sum,
    windows.roll,
    special_values.finite,
    special_values.sign,
    special_values.product_along_axis,
    special_values.division_without_nan,
    normalizations.layer_norm,
    normalizations.group_norm,
    arithmetic.division_by_constant,
    arithmetic.fold_constants,
    normalizations.l2_normalize,
    masks.casts_through_moves,
    arithmetic.chosen_by_mask,
    masks.through_selection,
    arithmetic.reversal,
    arithmetic.comparison_for_equality,
    comparisons.chosen_extremes,
    arithmetic.without_empty_parts,
    outputs.parts_that_nobody_reads,
    activations.gelu,
    activations.prelu,
    activations.slope_relu,
    arithmetic.unary,
    arithmetic.power,
    arithmetic.square_of_difference,
    arithmetic.sum_of_many,
    arithmetic.division_by_root,
    arithmetic.division_by_positive,
    masks.additive_mask,
    arithmetic.subtraction_of_constant,
    token_concat.token_concat,
    arithmetic.clip,
    recurrent.clamp_of_state,
    activations.relu_times_sixth,
    activations.leaky_maximum,
    pooling.activation_before_max_pool,
    arithmetic.fold_constants,
    arithmetic.neutral,
    linear.merge_reshapes,
    linear.dense_on_two_axes,
    linear.channelwise_before_reshape,
    linear.bias_of_sum,
    linear.bias,
    linear.channelwise_before_reshape,
    normalizations.attach_batch_norm,
    linear.channelwise_before_reshape,
    linear.factor,
    linear.input_affine,
    normalizations.stand_alone_batch_norm,
    linear.elementwise_before_reshapes,
    linear.merge_reshapes,
    arithmetic.fold_constants,
    arithmetic.neutral,
    common_subexpressions.common_subexpressions,
    arithmetic.sum_with_itself,
)


def canonicalize(model: tf_keras.Model) -> Graph:
    """The model's inference function in canonical form, and what training adds to it.

    Raises:
        ModelError: the model's input sizes are not known, or it is quantization-aware already.
        UnsupportedLayerError: an op's result has an unknown number of axes.
    """
    refuse_wrapped(model)
    graph = read(model)
    refuse_unknown_ranks(graph)
    for rewrite in REWRITES:
        rewrite(graph)
        graph.prune()
    graph.sort()
    return graph
