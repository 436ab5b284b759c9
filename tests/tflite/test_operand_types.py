"""Types that no kernel writes, or that microcontrollers' kernels do not take, are found on ops written by hand."""

from types import SimpleNamespace

import pytest

from qat.tflite.graph import Op, Subgraph, Tensor
from qat.tflite.micro_kernels import find_unsupported
from qat.tflite.operand_types import check_types


def graph(name, inputs, outputs, options=None, shape=(1, 4), constant=()):
    """One op between tensors of these dtypes; those at `constant` hold bytes."""
    tensors = tuple(
        Tensor(at, f"t{at}", shape, shape, dtype, (), (), 0, False, memoryview(b"0") if at in constant else None)
        for at, dtype in enumerate((*inputs, *outputs))
    )
    ends = (*range(len(inputs)),), (*range(len(inputs), len(tensors)),)
    op = Op(0, name, None, 1, *ends, read_options=lambda: options or {})
    return op, Subgraph(0, "main", tensors, (op,), *ends)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "reason"),
    [
        ("ADD", ["int8", "int8"], ["float32"], "reads int8 and cannot write float32"),
        ("LESS", ["int8", "int8"], ["int8"], "cannot write int8"),
        ("DEQUANTIZE", ["int8"], ["int32"], "cannot write int32"),
        ("SELECT_V2", ["bool", "float32", "float32"], ["int8"], "reads float32 and cannot write int8"),
        ("CONV_2D", ["int8", "int8"], ["float32"], "reads int8 and cannot write float32"),
    ],
)
def test_an_output_that_no_kernel_writes_is_refused(name, inputs, outputs, reason):
    with pytest.raises(ValueError, match=rf"op 0 \({name}\) of subgraph 0 {reason}"):
        check_types(graph(name, inputs, outputs)[1])


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("ADD", ["int8", "int8"], ["int8"]),
        ("LESS", ["int8", "int8"], ["bool"]),
        ("FULLY_CONNECTED", ["int8", "int8"], ["int16"]),
        ("CAST", ["int8"], ["float32"]),
    ],
)
def test_what_kernels_write_passes(name, inputs, outputs):
    check_types(graph(name, inputs, outputs)[1])


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (graph("TANH", ["int32"], ["int32"]), "takes no int32 there"),
        (graph("QUANTIZE", ["float32"], ["uint8"]), "makes no uint8 of float32 there"),
        (graph("GATHER", ["int8", "int64"], ["int8"]), "takes no positions of int64 there"),
        (graph("CONV_2D", ["float32", "int8"], ["float32"]), "takes no int8 weights with float32 values there"),
        (graph("PAD", ["int8", "int32"], ["int8"]), "takes sizes that are constants, and input 1 ('t1') is computed"),
        (graph("TRANSPOSE", ["int8", "int32"], ["int8"], shape=(1,) * 6, constant=(1,)), "takes at most 5 axes"),
        (
            graph("STRIDED_SLICE", ["int8"], ["int8"], {"ellipsis_mask": 1}),
            "ignores ellipsis and new axes there",
        ),
    ],
)  # fmt: skip
def test_what_a_microcontroller_does_not_take_is_said_with_a_remedy(made, reason):
    found = dict(find_unsupported(*made))
    assert any(said.startswith(reason) for said in found)
    assert all(remedy.endswith(".") for remedy in found.values())


def test_what_a_microcontroller_takes_passes():
    for name, dtypes in (("ADD", ["int8", "int8"]), ("FULLY_CONNECTED", ["int8", "int4"]), ("TANH", ["float32"])):
        op, subgraph = graph(name, dtypes, dtypes[:1])
        subgraph = SimpleNamespace(tensors=subgraph.tensors, output_of=lambda op, s=subgraph: s.tensors[-1])
        assert list(find_unsupported(op, subgraph)) == []
