"""Our tfmot scheme: which weights of a canonical layer are quantized, how, and the wrapper that honours `trainable`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras
from tf_keras.src.engine.base_layer_utils import call_context

from qat.errors import TrainingSemanticsWarning
from qat.models.keras_types import Shape, TensorNest, Training
from qat.quantization.keras.arithmetic import in_numpy, settled
from qat.quantization.keras.grids import zero_point_of
from qat.quantization.keras.holder import Holder, PlainCalls, WeightOf
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.lstm import QUANTIZED, Lstm
from qat.quantization.keras.op import Op
from qat.quantization.keras.tfmot import QuantizeConfig, QuantizeWrapperV2
from qat.quantization.keras.training_layers import is_training
from qat.quantization.keras.weight_quantizers import GateQuantizer, KernelQuantizer, OperandQuantizer, SlopeQuantizer
from qat.warning import warn

_CUT = (
    "layers of a quantization-aware model train inside another model, as tf_keras.Model(q.input, ...) makes one, which "
    "does not hold their variables: its fit leaves them as they are. Call the whole model in it, "
    "tf_keras.Model(entry, head(q(entry))), or take gradients for q.trainable_variables"
)
STORED_AS_INT4 = 4  # bits of a kernel; fewer are stored as int8, whose kernels round otherwise
CHANNELS = {"depthwise_conv2d": "depthwise", "conv2d_transpose": "third"}


def kernel_quantizer(kind: str, is_normalized: bool, bits: int, per_channel: bool, one_range: bool) -> KernelQuantizer:
    """The quantizer of a linear op's kernel.

    If all channels have one range, folding BatchNormalization into the kernel gives each channel its own scale.
    Transposed convolutions are an exception: the converter finds their ranges itself. Rows of an embedding have one
    scale, and so has a dense kernel of 4 bits: microcontrollers have no kernel of int4 for another.

    Args:
        kind: kind of the linear op: "conv2d", "depthwise_conv2d", "conv2d_transpose", "dense" or "embedding".
        is_normalized: whether BatchNormalization is folded into the kernel.
        bits: bits of a code of the kernel, 2 to 8.
        per_channel: whether there is one scale per output channel, not one for all.
        one_range: whether all channels have one range before the normalization, as a clustered kernel needs it.

    Returns:
        A new one, switched on. With `one_range` and without normalization it has one scale for all channels.
    """
    shares = one_range and is_normalized and kind != "conv2d_transpose"
    of_one_scale = kind == "embedding" or (kind == "dense" and bits == STORED_AS_INT4)
    per_channel = per_channel and not of_one_scale and (is_normalized or not one_range)
    return KernelQuantizer(bits, per_channel, CHANNELS.get(kind, "last"), shares and per_channel)


class _Scheme(QuantizeConfig):
    """What every canonical layer has in common: its activations are quantized by ranges of their own."""

    def get_activations_and_quantizers(self, layer: tf_keras.layers.Layer) -> list:
        return []

    def set_quantize_activations(self, layer: tf_keras.layers.Layer, quantize_activations: list) -> None:
        """Nothing to set: a canonical layer holds no activation."""

    def set_quantize_weights(self, layer: tf_keras.layers.Layer, quantize_weights: list) -> None:
        """Nothing to set: `CanonicalWrapper` tells the layer itself."""

    def get_output_quantizers(self, layer: tf_keras.layers.Layer) -> list:
        return []


@tf_keras.utils.register_keras_serializable("qat")
class LinearScheme(_Scheme):
    """The kernel, folded with BatchNormalization at inference; the bias is left alone (int32 in the file).

    `low_bit`: of models saved earlier, where one kernel of few bits gave all dense kernels of the model one scale.
    `one_range`: the kernel is clustered, and a centroid is to be one code in all channels.
    """

    def __init__(self, bits: int = 8, per_channel: bool = True, low_bit: bool = False, one_range: bool = False) -> None:
        self.bits, self.per_channel, self.low_bit, self.one_range = bits, per_channel, low_bit, one_range

    def get_weights_and_quantizers(self, layer: Linear) -> list:
        per_channel = self.per_channel and not (self.low_bit and layer.kind == "dense")
        kernel = WeightOf(layer, layer.kernel_name)
        return [(kernel, kernel_quantizer(layer.kind, layer.norm is not None, self.bits, per_channel, self.one_range))]

    def get_config(self) -> dict[str, Any]:
        earlier = {"low_bit": True} if self.low_bit else {}
        return {"bits": self.bits, "per_channel": self.per_channel, "one_range": self.one_range} | earlier


@tf_keras.utils.register_keras_serializable("qat")
class LstmScheme(_Scheme):
    """Both matrices, one scale a gate; the bias is left alone (int32 in the file). The file holds 8 bits always."""

    def __init__(self, bits: int = 8) -> None:
        self.bits = bits

    def get_weights_and_quantizers(self, layer: Lstm) -> list:
        return [(WeightOf(layer, name), GateQuantizer(self.bits)) for name in QUANTIZED]

    def get_config(self) -> dict[str, Any]:
        return {"bits": self.bits}


@tf_keras.utils.register_keras_serializable("qat")
class OperandScheme(_Scheme):
    """Every constant or trained operand of an elementwise op."""

    def get_weights_and_quantizers(self, layer: Holder) -> list:
        kind = SlopeQuantizer if layer.op == "prelu" else OperandQuantizer
        return [(WeightOf(layer, name), kind()) for name in self.names(layer)]

    def names(self, layer: Holder) -> list[str]:
        """Which of the layer's weights are quantized, in the order of `get_weights_and_quantizers`."""
        return [name for name, spec in layer.weight_specs.items() if spec.get("dtype", "float32").startswith("float")]

    def get_config(self) -> dict[str, Any]:
        return {}


class TableScale:
    """On which grid the rows of an embedding are: that of the table."""

    def __init__(self, wrapper: CanonicalWrapper) -> None:
        self.wrapper = wrapper

    @property
    def rounds(self) -> bool:
        """Whether the table's quantizer is switched on."""
        return bool(self.wrapper._weight_vars[0][1].enabled)

    def scale(self) -> tf.Tensor:
        """The scale: a scalar."""
        if in_numpy():
            return settled(self.wrapper.kernel_on_grid()[1])
        table, quantizer, _ = self.wrapper._weight_vars[0]
        return quantizer.scale(table.value())

    def zero_point(self) -> tf.Tensor:
        """The code of 0, a scalar: the grid is symmetric."""
        return settled(tf.zeros([]))

    def size(self) -> tf.Tensor:
        """The largest absolute value of a row: a scalar."""
        return tf.reduce_max(tf.abs(self.wrapper._weight_vars[0][0].value()))


class Operand(NamedTuple):
    """An operand of an op: its values, the same on its grid, that grid's step, its code of 0, and its ends."""

    values: tf.Tensor
    on_grid: tf.Tensor
    scale: tf.Tensor
    zero_point: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor


def _operand_on_grid(weight: WeightOf, quantizer: OperandQuantizer, in_training: bool) -> Operand:
    values, min_scale = weight.value(), None if in_training else weight.layer.min_scale()
    scale, (low, high) = quantizer.scale(values, min_scale), quantizer.min_max(values, min_scale)
    on_grid = quantizer(values, False, weights={}, min_scale=min_scale)
    return Operand(values, on_grid, scale, zero_point_of(low, scale, 8), low, high)


@tf_keras.utils.register_keras_serializable("qat")
class CanonicalWrapper(PlainCalls, QuantizeWrapperV2):
    """tfmot's wrapper around weights that are computed: it holds no variable, so that what is frozen, shared or
    constrained in the float model stays so (model-optimization issues 527, 881, 1067), and folds a kernel with its
    BatchNormalization before it is quantized for inference."""

    def call(self, inputs: TensorNest, training: Training = None, **kwargs: Any) -> Any:
        inner = self.layer
        if is_training(training) and not (inner.variables_of_model.in_a_pass or call_context().saving):
            warn(_CUT, TrainingSemanticsWarning)
        if isinstance(inner, Lstm):
            inner.use(self._quantized_gates(inner, training))
            result = inner.call(inputs, training=training, **kwargs)
        elif not isinstance(inner, Linear):
            inner.use(self._quantized_operands(is_training(training)))
            result = inner.call(inputs, **kwargs)
        else:
            by_xnnpack = inner.kind == "dense" and inner.weight_specs["kernel"]["shape"][0] % 2 == 0
            coarse = self._weight_vars[0][1].bits == STORED_AS_INT4 and not by_xnnpack
            object.__setattr__(inner, "coarse", coarse)  # plain: Keras' own looks for variables in it
            inner.use(self._quantized_kernel(inner, training))
            result = inner.call(inputs, training=training, **kwargs)
        inner.use({})
        return result

    def _quantized_operands(self, in_training: bool) -> dict[str, tf.Tensor]:
        """The operands on their grids, the steps of their codes and their codes of 0, by the names under which `Op`
        looks for them."""
        tensors: dict[str, tf.Tensor] = {}
        for name, (weight, quantizer, _) in self._named_operands().items():
            if quantizer.enabled:
                operand = self.operand_on_grid(name, in_training)
                tensors |= {
                    name: operand.on_grid,
                    f"{name}/scale": operand.scale,
                    f"{name}/zero_point": operand.zero_point,
                }
            else:
                tensors[name] = weight.value()
        return tensors

    def _named_operands(self) -> dict[str, tuple]:
        return dict(zip(self.quantize_config.names(self.layer), self._weight_vars, strict=True))

    def operand_on_grid(self, name: str, in_training: bool = False) -> Operand:
        """An operand of an op as the file holds it, made once in a forward pass. In training its scale may be below
        `min_scale`: a range that follows would never see what that rounds to 0."""
        compute = partial(_operand_on_grid, *self._named_operands()[name][:2], in_training)
        return Operand(*self.layer.variables_of_model.once(f"{name} of {self.name}", compute))

    def _quantized_kernel(self, inner: Linear, training: Training) -> dict[str, tf.Tensor]:
        quantizer = self._weight_vars[0][1]
        in_training = is_training(training)
        if quantizer.enabled and not in_training:
            kernel, scale = self.kernel_on_grid()
            return {inner.kernel_name: kernel, "scale": scale}
        raw = inner.uses_batch(training)
        # made once in a pass: an unrolled layer has a call a time step
        key = f"kernel of {self.name}, {in_training=}, {raw=}"
        trained = inner.variables_of_model.once(key, lambda: self._trained_kernel(inner, in_training, raw))
        return {inner.kernel_name: trained}

    def _trained_kernel(self, inner: Linear, in_training: bool, raw: bool) -> tf.Tensor:
        weight, quantizer, variables = self._weight_vars[0]
        kernel = weight.value() if raw else inner.folded_kernel()
        grid: dict[str, Any] = {}
        if quantizer.enabled:
            grid = {"min_scale": inner.min_kernel_scale(raw), "limit": inner.shared_limit(quantizer, raw)}
        return quantizer(kernel, in_training, weights=variables, **grid)

    def kernel_on_grid(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The folded kernel as the file holds it, in real numbers, and its scale; made once in a forward pass."""
        return self.layer.variables_of_model.once(f"kernel of {self.name}", self._kernel_on_grid)

    def _kernel_on_grid(self) -> tuple[tf.Tensor, tf.Tensor]:
        inner, (_, quantizer, _) = self.layer, self._weight_vars[0]
        grid = {"min_scale": inner.min_kernel_scale(), "limit": inner.shared_limit(quantizer)}
        return quantizer.on_grid(inner.folded_kernel(), **grid)

    def _quantized_gates(self, inner: Lstm, training: Training) -> dict[str, tf.Tensor]:
        """Both matrices on their grids and, but for training, the steps of those."""
        in_training = is_training(training)
        named = {name: variables for name, variables in zip(QUANTIZED, self._weight_vars, strict=True)}
        inner.quantized_by({name: quantizer for name, (_, quantizer, _) in named.items()})
        tensors = {}
        for name, (weight, quantizer, variables) in named.items():
            if quantizer.enabled and not in_training:
                tensors[name], tensors[f"{name}/scale"] = inner.matrix_on_grid(name)
            else:
                min_scale = inner.min_scale(name) if quantizer.enabled else None
                tensors[name] = quantizer(weight.value(), in_training, weights=variables, min_scale=min_scale)
        return tensors

    def build(self, input_shape: Shape | None = None) -> None:
        if self.built:  # loading builds once by itself and once more in the first call
            return
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        scheme = self.quantize_config.get_weights_and_quantizers(self.layer)
        self._weight_vars = [(weight, quantizer, {}) for weight, quantizer in scheme]
        self.built = True

    def save_own_variables(self, store: Mapping[str, Any]) -> None:
        """Nothing: the layer inside saves its own weights, and ranges of weights come from their values."""

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Nothing, as for saving."""

    def compute_output_shape(self, input_shape: Shape) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """By names of our own, which every format of Keras holds as they are."""
        inner = {"kind": type(self.layer).__name__, "config": self.layer.get_config()}
        scheme = {"kind": type(self.quantize_config).__name__, "config": self.quantize_config.get_config()}
        return tf_keras.layers.Layer.get_config(self) | {"layer": inner, "quantize_config": scheme}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict[str, type] | None = None) -> Any:
        config = dict(config)
        inner, scheme = config.pop("layer"), config.pop("quantize_config")
        layer = _INNER[inner["kind"]].from_config(inner["config"])
        return cls(layer, _SCHEMES[scheme["kind"]](**scheme["config"]), **config)

    @property
    def trainable_weights(self) -> list:
        """None: what is trained are the float model's variables, which other layers hold."""
        return []

    @property
    def non_trainable_weights(self) -> list:
        return list(self.layer.weights)


_INNER = {kind.__name__: kind for kind in (Linear, Op, Lstm)}
_SCHEMES = {kind.__name__: kind for kind in (LinearScheme, LstmScheme, OperandScheme)}
