"""What a forward pass keeps of what it computes."""

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.ir.weight_source import Results, Source
from qat.quantization.keras.range_layer import RangeLayer


def test_what_exceeds_the_budget_is_computed_again_and_what_is_read_takes_none():
    results, value = Results(budget=8), tf.zeros([2])
    results.keep("fits", value)
    results.keep("does not", value)
    results.keep("read", tf.zeros([100]), copied=False)
    assert set(results) == {"fits", "read"}
    assert results.budget == 0


def test_an_expression_is_the_same_with_and_without_a_budget():
    variable = tf.Variable([1.0, 2.0])
    source = Source("transpose", {"perm": [0]}, [Source.variable(0, True)])
    kept, nothing = Results(), Results(budget=0)
    values = [source.evaluate([variable], results, "float32").numpy().tolist() for results in (kept, nothing)]
    assert values == [[1.0, 2.0], [1.0, 2.0]]
    assert source.key in kept
    assert source.key not in nothing


def test_a_kernel_that_many_time_steps_share_is_quantized_once_in_a_training_step():
    series = tf_keras.Input((4, 3))
    model = tf_keras.Model(series, layers.Dense(2)(layers.SimpleRNN(5)(series)))
    quantized = quantize_model(model, np.random.default_rng(0).normal(size=(128, 4, 3)).astype(np.float32))
    step = tf.function(lambda x: quantized(x, training=True)).get_concrete_function(tf.TensorSpec((2, 4, 3)))
    kernels = [op for op in step.graph.get_operations() if op.type == "FakeQuantWithMinMaxVarsPerChannel"]
    assert len(kernels) == 2  # of the cell and of the Dense layer


def test_a_range_that_many_time_steps_share_is_read_once_until_it_moves():
    series = tf_keras.Input((8, 3))
    model = tf_keras.Model(series, layers.GRU(5)(series))
    quantized = quantize_model(model, np.random.default_rng(0).normal(size=(128, 8, 3)).astype(np.float32))
    layers_of_ranges = [layer for layer in quantized.layers if isinstance(layer, RangeLayer)]
    ranges = [layer for layer in layers_of_ranges if layer.quantizer.follows]
    step = tf.function(lambda x: quantized(x, training=True)).get_concrete_function(tf.TensorSpec((2, 8, 3)))
    captured = {id(inner): id(outer) for outer, inner in step.graph.captures}
    ends = {id(each.quantizer_vars["max_var"].handle) for each in ranges}
    reads = [op for op in step.graph.get_operations() if op.type == "ReadVariableOp"]
    of_ends = [op for op in reads if captured.get(id(op.inputs[0])) in ends]
    assert len(of_ends) <= 5 * len(ranges)  # and not with the number of time steps
