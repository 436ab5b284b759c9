"""Dense layers that the converter writes into the file twice, once with the ReLU behind them and once without."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from qat.tflite.borders import operator_of

_OP, _FUSED = schema.BuiltinOperator, schema.ActivationFunctionType
_ALONE = {_FUSED.RELU: _OP.RELU, _FUSED.RELU6: _OP.RELU6}


def one_product_each(content: Any) -> None:
    """FULLY_CONNECTED and the same with a ReLU as FULLY_CONNECTED and RELU: half the work, and what was trained.

    The converter fuses a ReLU with a dense layer whoever else reads the layer. `content`: a `ModelT`, in place.
    """
    graph = content.subgraphs[0]
    dense = [op for op in graph.operators if operator_of(content, op) == _OP.FULLY_CONNECTED]
    plain = {_read_by(op): op for op in dense if op.builtinOptions.fusedActivationFunction == _FUSED.NONE}
    twins = [op for op in dense if op.builtinOptions.fusedActivationFunction in _ALONE and _read_by(op) in plain]
    for op in twins:
        fused = op.builtinOptions.fusedActivationFunction
        op.opcodeIndex = _opcode(content, _ALONE[fused])
        op.inputs = [int(plain[_read_by(op)].outputs[0])]
        op.builtinOptions, op.builtinOptionsType = None, schema.BuiltinOptions.NONE
    if twins:
        _in_order(graph)


def _read_by(op: Any) -> tuple[int, ...]:
    return tuple(map(int, op.inputs))


def _opcode(content: Any, builtin: int) -> int:
    for at, code in enumerate(content.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return at
    made = schema.OperatorCodeT()
    made.builtinCode, made.deprecatedBuiltinCode, made.version = builtin, min(builtin, 127), 2  # the int8 kernels'
    content.operatorCodes.append(made)
    return len(content.operatorCodes) - 1


def _in_order(graph: Any) -> None:
    """Each op behind those whose results it reads, and otherwise where it was."""
    made = {int(index) for op in graph.operators for index in op.outputs}
    done: set[int] = set()
    waiting, order = list(graph.operators), []
    while waiting:
        at = next(i for i, op in enumerate(waiting) if all(int(k) in done or int(k) not in made for k in op.inputs))
        op = waiting.pop(at)
        done.update(map(int, op.outputs))
        order.append(op)
    graph.operators = order
