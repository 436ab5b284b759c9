"""An operator has the lowest version that what it does needs, so that older runtimes load the file."""

from types import SimpleNamespace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.versions import lowest_version

OP, TYPE = schema.BuiltinOperator, schema.TensorType


def tensor(dtype="INT8", shape=(1, 4), scale=1.0):
    return SimpleNamespace(
        type=getattr(TYPE, dtype), shape=shape, quantization=SimpleNamespace(scale=np.array([scale]))
    )


def conv(dilation=1, depthwise=False):
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.dilationHFactor = options.dilationWFactor = dilation
    return options


IMAGE = (1, 8, 8, 4)


@pytest.mark.parametrize(
    ("operator", "inputs", "options", "version"),
    [
        ("SOFTMAX", [tensor("FLOAT32")], None, 1),
        ("SOFTMAX", [tensor()], None, 2),
        ("RESHAPE", [tensor()], None, 1),  # has no rule
        ("CONV_2D", [tensor(shape=IMAGE), tensor(shape=IMAGE)], conv(), 3),
        ("CONV_2D", [tensor(shape=IMAGE), tensor("INT4", IMAGE)], conv(), 7),
        ("CONV_2D", [tensor(shape=IMAGE), tensor(shape=(1, 8, 8, 2))], conv(), 6),  # in groups
        ("DEPTHWISE_CONV_2D", [tensor("FLOAT32", IMAGE), tensor("FLOAT32", IMAGE)], conv(2, True), 2),
        ("MUL", [tensor(scale=1.0), tensor(scale=2.0)], None, 3),  # the product's scale is at least the result's
        ("MUL", [tensor(scale=0.1), tensor(scale=0.1)], None, 2),
        ("MAXIMUM", [tensor(shape=(1, 2, 2, 2, 2)), tensor()], None, 3),
        ("TRANSPOSE", [tensor("BOOL")], None, 3),
        ("TRANSPOSE", [tensor(shape=(1,) * 6)], None, 6),
        ("PAD", [tensor(shape=(1,) * 5)], None, 4),
        ("CAST", [tensor("INT32")], None, 3),
    ],
)
def test_the_version_follows_types_shapes_and_scales(operator, inputs, options, version):
    assert lowest_version(getattr(OP, operator), inputs, [tensor()], options) == version
