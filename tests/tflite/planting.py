"""Faults planted into a good file, by editing the flatbuffer: what a converter bug or an attacker could have made."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.tflite.editing import apply_edit


def edited(content, edit):
    return apply_edit(content, edit)


def with_float_output(content):
    """A DEQUANTIZE after the last op, as a file has whose output type was not asked for."""

    def edit(model):
        graph = model.subgraphs[0]
        source = graph.outputs[0]
        tensor = schema.TensorT()
        tensor.name, tensor.type = "extra/Dequantize", schema.TensorType.FLOAT32
        tensor.shape, tensor.shapeSignature = graph.tensors[source].shape, graph.tensors[source].shapeSignature
        tensor.buffer = 0
        graph.tensors.append(tensor)
        op, code = schema.OperatorT(), schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = 2
        model.operatorCodes.append(code)
        op.opcodeIndex = len(model.operatorCodes) - 1
        op.inputs, op.outputs = [int(source)], [len(graph.tensors) - 1]
        graph.operators.append(op)
        graph.outputs = [len(graph.tensors) - 1]
        model.signatureDefs = []

    return edited(content, edit)


def with_custom_op(content, name):
    """The last op turned into a custom one."""

    def edit(model):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode, code.version = name, 1
        model.operatorCodes.append(code)
        op = model.subgraphs[0].operators[-1]
        op.opcodeIndex = len(model.operatorCodes) - 1
        op.builtinOptions, op.builtinOptionsType = None, schema.BuiltinOptions.NONE

    return edited(content, edit)


def with_open_outputs(content):
    """The outputs' first axis said to be open, which ops before them may not keep."""

    def edit(model):
        for index in model.subgraphs[0].outputs:
            tensor = model.subgraphs[0].tensors[index]
            tensor.shapeSignature = [-1, *tensor.shape[1:]]

    return edited(content, edit)


def with_weights_handed_in(content):
    """Constants in the body of a loop turned into inputs of it, as some converters hand them in; not to be run."""

    def edit(model):
        for graph in model.subgraphs[1:]:
            for index, tensor in enumerate(graph.tensors):
                if tensor.type == schema.TensorType.INT8 and tensor.buffer:
                    tensor.buffer = 0
                    graph.inputs = [*graph.inputs, index]

    return edited(content, edit)


def with_uint8_activations(content):
    """int8 all over turned into uint8, as files of the first quantizing converter have it."""

    def edit(model):
        for tensor in model.subgraphs[0].tensors:
            if tensor.type == schema.TensorType.INT8:
                tensor.type = schema.TensorType.UINT8
                tensor.quantization.zeroPoint = [int(zero) + 128 for zero in tensor.quantization.zeroPoint]

    return edited(content, edit)


def with_fixed_batch(content):
    """The same file, as older converters wrote it: for one sample, no open dimension."""

    def edit(model):
        for tensor in model.subgraphs[0].tensors:
            tensor.shapeSignature = None

    return edited(content, edit)


def with_variable_scale(content, scale):
    """The input's scale replaced."""

    def edit(model):
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].quantization.scale = np.array([scale], np.float32)

    return edited(content, edit)


def mutated(content, rng, flips=8):
    """A few bytes changed at random, the identifier kept so that parsing goes on."""
    changed = bytearray(content)
    for position in rng.integers(8, len(content), flips):
        changed[position] = rng.integers(256)
    return bytes(changed)
