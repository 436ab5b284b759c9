"""`quantize_model`: from a float Keras model to one that trains on the grids of its integer file."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from qat.calibration_data import Calibration, as_batches
from qat.calls import explain_calls
from qat.config import QuantConfig
from qat.errors import TrainingSemanticsWarning, UnsupportedLayerError
from qat.models.keras_types import KerasModel
from qat.models.leading_layers import find_unscaled_inputs
from qat.models.which_keras import is_keras3, unwrap
from qat.quantization.bias_correction import correct_biases
from qat.quantization.build_report import record_outcome
from qat.quantization.calibrate import calibrate
from qat.quantization.calibration_warnings import (
    warn_of_coarse_operands,
    warn_of_lost_outputs,
    warn_of_outliers,
    warn_of_wide_ranges,
)
from qat.quantization.columns import warn_of_columns
from qat.quantization.dead_ranges import widen_dead
from qat.quantization.equalization import equalize, equalize_uneven
from qat.quantization.float_agreement import refuse_disagreement, refuse_other_sizes
from qat.quantization.importing.foreign_models import refuse_foreign
from qat.quantization.importing.model_inputs import warn_of_optional_inputs
from qat.quantization.importing.preflight import refuse_blockers
from qat.quantization.ir.graph import Graph, is_fixed
from qat.quantization.keras.build_model import emit
from qat.quantization.keras.check_rows import keep_rows
from qat.quantization.keras.custom_training import warn_of_missing_parts
from qat.quantization.keras.model import QatModel
from qat.quantization.keras3.model import as_keras3
from qat.quantization.merge_ranges import merge_close_ranges
from qat.quantization.placement import place
from qat.quantization.placement.quant_spec import MinMax, QuantSpec
from qat.quantization.preserve import mark_preserved
from qat.quantization.rewrites import canonicalize
from qat.quantization.rewrites.comparisons import scale_comparisons
from qat.quantization.rewrites.recurrent import carry_codes, join_gates, parts_by_slices
from qat.quantization.rewrites.rounding import fit_integers
from qat.quantization.rewrites.small_rows import sum_products
from qat.quantization.root_ranges import narrow_roots
from qat.quantization.settings import (
    calibration_specs,
    config_or_default,
    is_low_bit,
    override,
    refuse_low_bit,
    refuse_other_quantizers,
    refuse_unmatched,
    refuse_unusable,
    skipped_layers,
    warn_of_bits,
    weight_scheme,
)
from qat.quantization.settings_elsewhere import warn_of_idle_settings
from qat.quantization.unsettled_statistics import NormStatistics
from qat.warning import warn


@explain_calls(config=QuantConfig)
def quantize_model(float_model: KerasModel, calibration: Calibration, *, config: QuantConfig | None = None) -> Any:
    """A quantization-aware model with calibrated ranges, not compiled; `float_model` is left as it was.

    The result takes the same real inputs and gives the same nest of outputs, with the same names, in the Keras of the
    float model. Fake quantization is exactly where the integer file has codes.

    Args:
        float_model: a model of Keras 3 or of tf_keras (Keras 2) with fixed input sizes (the batch apart).
        calibration: an array [N, ...], a list in `model.inputs` order, a dict by input name, or an iterable of batches
            of these; real inputs, as the float model takes them.
        config: settings by which to quantize; None takes `QuantConfig(name="qat")`. Those that a training or an export
            reads, as `epochs`, change nothing here: a warning names them, with the call that takes them.

    Returns:
        A functional model: a `QatModel` of tfmot wrappers; for one of Keras 3 a `keras.Model` that computes by that.

    Raises:
        UnsupportedLayerError: layers without an integer kernel, and layers that assign variables or train at inference,
            all named at once.
        CalibrationError: calibration is empty, without an end, not finite, or misshapen.
        ModelError: the model is no Keras model, it is quantization-aware already, its input sizes are not known, or
            what it computes and what its rewritten form computes differ; layers resize in training alone, and later
            ones cannot follow.
        ConfigError: `config` is no `QuantConfig`, holds values that are not accepted, names layers or settings that are
            not there, or a quantizer whose file another function makes.
    """
    config = config_or_default(config)
    warn_of_idle_settings(config)
    return quantize_as_configured(float_model, calibration, config)


def quantize_as_configured(float_model: KerasModel, calibration: Calibration, config: QuantConfig) -> Any:
    """`quantize_model` of a run, which reads by itself the settings that are not read here.

    Args:
        float_model, calibration: as `quantize_model` takes them.
        config: section `quant` of the run's config.

    Returns:
        The model, as `quantize_model` returns it.

    Raises:
        QatError: as `quantize_model` raises it.
    """
    refuse_unusable(config)
    refuse_other_quantizers(config)
    warn_of_bits(config)
    float_model = unwrap(float_model)  # one that is quantization-aware already is refused as such
    refuse_foreign(float_model)
    warn_of_optional_inputs(float_model)
    trains = config.name != "ptq"
    if trains:
        warn_of_missing_parts(float_model)
    graph = canonicalize(float_model, few_bits=is_low_bit(config))
    _look_at_constants(graph, trains)
    refuse_blockers(graph)
    mark_preserved(graph, float_model, config)
    if config.equalization:
        equalize(graph)
    elif config.equalize_above is not None:
        equalize_uneven(graph, config.equalize_above)
    unscaled, specs = find_unscaled_inputs(float_model), calibration_specs(graph)
    batches = as_batches(calibration, specs, config.calibration.batch_size, unscaled_inputs=unscaled)
    warn_of_outliers(batches, specs)
    skipped = _fit_to_samples(graph, batches, config)
    expected = refuse_disagreement(float_model, graph, batches[0])
    ranges, statistics = place(graph, skipped), NormStatistics(graph)
    refuse_low_bit(config, graph)
    refuse_unmatched(config, graph)
    min_max = _choose_ranges(graph, ranges, batches, config, statistics)
    if trains:
        statistics.warn(batches[0])
    warn_of_columns(float_model, graph, min_max, batches)
    warn_of_wide_ranges(graph, min_max, batches)
    warn_of_coarse_operands(graph, min_max, batches)
    if config.bias_correction:
        correct_biases(graph, min_max, batches, config)
    model = _build_model(graph, float_model, min_max, config)
    warn_of_lost_outputs(model, graph, batches[0], expected)
    keep_rows(model, batches[0])
    if trains:
        _warn_of_losses(graph, float_model.name)
    return as_keras3(model, float_model) if is_keras3(float_model) else model


def _fit_to_samples(graph: Graph, batches: list[list[NDArray]], config: QuantConfig) -> frozenset[str]:
    """Rewrite what depends on the samples' values; returns the names of the layers that stay in float."""
    join_gates(graph, batches)
    parts_by_slices(graph)
    scale_comparisons(graph, batches)
    skipped = skipped_layers(config, graph)
    fit_integers(graph, batches, skipped)
    sum_products(graph, batches, skipped)
    return skipped


def _choose_ranges(
    graph: Graph,
    ranges: list[QuantSpec],
    batches: list[list[NDArray]],
    config: QuantConfig,
    statistics: NormStatistics,
) -> dict[QuantSpec, MinMax]:
    """Each range's (min, max) by the samples and by what the kernels need."""
    methods = [override(config, quant_spec.layer).get("method", config.calibration.method) for quant_spec in ranges]
    observed = calibrate(graph, ranges, batches, config.calibration, methods, statistics.compute)
    min_max = widen_dead(graph, dict(zip(ranges, observed, strict=True)))
    min_max = carry_codes(graph, min_max)
    return narrow_roots(graph, merge_close_ranges(graph, min_max))


def _build_model(
    graph: Graph, float_model: KerasModel, min_max: dict[QuantSpec, MinMax], config: QuantConfig
) -> QatModel:
    """The model of wrappers, its ranges set."""
    model, layers = emit(graph, float_model, config, lambda layer: weight_scheme(config, layer))
    if graph.training_nest is not None:
        model.qat_config["training_nest"] = graph.training_nest
    if config.name != "ptq":
        refuse_other_sizes(model, graph)
    model.qat_config["outcome"] = record_outcome(graph, config)
    model.qat_config["post_training"] = config.name == "ptq"
    for quant_spec, (low, high) in min_max.items():
        if quant_spec in layers:
            layers[quant_spec].set_range(low, high)
    return model


def _warn_of_losses(graph: Graph, name: str) -> None:
    """Name the parts of the model that have no effect in quantization-aware training."""
    if graph.lost_in_training:
        missing = "\n    ".join(dict.fromkeys(graph.lost_in_training))
        warn(
            f"the following parts of model {name!r} have no effect during quantization-aware training; inference is "
            f"unchanged:\n    {missing}",
            TrainingSemanticsWarning,
        )


def _look_at_constants(graph: Graph, trains: bool) -> None:
    """Refuse layers that give a constant at inference and something else in training; where nothing is trained, they
    give the constant."""
    for node in list(graph.nodes_of("in_training")):
        if not is_fixed(node.inputs[0]):
            continue
        if trains:
            raise UnsupportedLayerError(
                f"layer {node.layer!r} gives a constant at inference and something else in training: make "
                "its output depend on its input in both modes, or add the constant outside of the model"
            )
        graph.bypass(node)
