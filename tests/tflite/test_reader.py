"""The reader against the runtime's own view of a file, and against files that are damaged in every way we know."""

from pathlib import Path

import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType

from qat.codes import dequantize
from qat.errors import TfliteFileError
from qat.tflite import read
from qat.tflite.graph import layer_name, unpack_codes
from qat.tflite.reader import name_file

from . import planting


@pytest.fixture(scope="module")
def litert(files):
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = LiteRT(model_content=files.int8, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    return interpreter


@pytest.mark.parametrize("value", [None, 3, tf_keras.Sequential()])
def test_what_is_neither_a_path_nor_bytes_is_told_what_makes_them(value):
    kind = type(value).__name__
    with pytest.raises(TfliteFileError, match=rf"a {kind} is no TFLite file: .*qat\.tflite\.convert\(model\)"):
        read(value)


def test_tensors_are_those_that_the_runtime_sees(files, litert):
    tensors = read(files.int8).tensors
    details = litert.get_tensor_details()
    assert [t.name for t in tensors] == [d["name"] for d in details][: len(tensors)]
    for ours, detail in zip(tensors, details, strict=False):
        parameters = detail["quantization_parameters"]
        assert (ours.shape, ours.dtype) == (tuple(detail["shape"]), np.dtype(detail["dtype"]).name)
        np.testing.assert_array_equal(ours.scales, parameters["scales"])
        np.testing.assert_array_equal(ours.zero_points, parameters["zero_points"])


def test_constants_are_those_that_the_runtime_holds(files, litert):
    constants = [tensor for tensor in read(files.int8).tensors if tensor.is_constant]
    assert len(constants) >= 6
    for tensor in constants:
        np.testing.assert_array_equal(tensor.data, litert.get_tensor(tensor.index))


def test_weights_are_the_keras_weights_to_half_a_scale(files, cnn):
    graph = read(files.int8)
    weights = next(graph.tensors[op.inputs[1]] for op in graph.ops if op.name == "FULLY_CONNECTED")
    kernel = cnn.get_layer("head").kernel.numpy().T
    error = np.abs(dequantize(weights.data, weights.quantization) - kernel)
    assert (error <= 0.5001 * np.array(weights.scales).reshape(-1, 1)).all()


def test_ops_carry_their_options_in_words(files):
    conv, depthwise, *_ = read(files.int8).ops
    assert (conv.name, conv.options["padding"], conv.options["fused_activation_function"]) == (
        "CONV_2D",
        "SAME",
        "RELU",
    )
    assert (conv.options["stride_w"], conv.options["dilation_w_factor"]) == (1, 1)
    assert (depthwise.name, depthwise.options["padding"]) == ("DEPTHWISE_CONV_2D", "VALID")


def test_producers_and_consumers_are_the_ends_of_an_edge(files):
    graph = read(files.int8).main
    first, second = graph.ops[:2]
    edge = first.outputs[0]
    assert graph.producers[edge] is first
    assert graph.consumers[edge] == (second,)


def test_a_path_reads_like_bytes(files, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(files.int8)
    assert [op.name for op in read(path).ops] == [op.name for op in read(files.int8).ops]
    assert read(str(path)).size_bytes == len(files.int8)


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2"])
def test_packed_codes_unpack_to_what_was_packed(dtype):
    bits = 2 if dtype == "int2" else 4
    low = 0 if dtype[0] == "u" else -(1 << (bits - 1))
    codes = np.random.default_rng(0).integers(low, low + (1 << bits), 25)
    padded = np.concatenate([codes, np.zeros(-len(codes) % (8 // bits), int)]) & ((1 << bits) - 1)
    packed = (padded.reshape(-1, 8 // bits) << np.arange(0, 8, bits)).sum(axis=1).astype(np.uint8)
    np.testing.assert_array_equal(unpack_codes(packed, dtype, len(codes)), codes)


def test_a_layer_in_a_nested_model_is_found_among_known_names():
    location = "outer/encoder/quant_conv_2/Conv2D;outer/encoder/bn/FusedBatchNormV3"
    assert layer_name(location, layers=["conv_2", "bn"]) == "conv_2"
    assert layer_name("StatefulPartitionedCall:0") == "StatefulPartitionedCall"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes: no TFLite file; it is empty"),
        (b"PK\x03\x04" + bytes(100), r"it is a zip archive, as a \.keras or an \.npz is"),
        (b"\x89HDF" + bytes(100), r"it is an HDF5 file, as Keras' \.h5 is"),
        (b"version https://git-lfs.github.com/spec/v1", "fetch the file by git lfs pull"),
        (b"\x1c\x00\x00\x00TFL3", "no TFLite file; bytes 4-8 are b'TFL3'"),
        (b"plain text, and no file", "bytes 4-8 are b'n te', expected b'TFL3': a file of another kind, or a damaged"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(100), "damaged TFLite file of 108 bytes"),
    ],
)
def test_what_is_no_tflite_file_is_said_so(content, message):
    with pytest.raises(TfliteFileError, match=message):
        read(content)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(b"\xff\xff\xff\x7fTFL3" + bytes(100))
    with pytest.raises(
        TfliteFileError,
        match=r"cut\.tflite: damaged TFLite file of 108 bytes, perhaps not copied whole \(its tables",
    ):
        read(path)


def test_an_error_gets_the_path_once(tmp_path):
    with (
        pytest.raises(TfliteFileError, match=r"^a\.tflite: refused$"),
        name_file("a.tflite"),
        name_file(Path("a.tflite")),
    ):
        raise TfliteFileError("refused")
    with pytest.raises(TfliteFileError, match=r"^refused$"), name_file(b"bytes"):
        raise TfliteFileError("refused")


@pytest.mark.parametrize("name", ["e", "refused", "TFLite"])
def test_a_file_whose_name_is_a_word_of_the_error_is_named(name):
    with pytest.raises(TfliteFileError, match=rf"^{name}: a TFLite file, refused$"), name_file(name):
        raise TfliteFileError("a TFLite file, refused")


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(TfliteFileError, match=r"nothing\.tflite: cannot be read"):
        read(tmp_path / "nothing.tflite")
    for name in ("a\0b", "\ud800"):  # as a stranger's results.json may name a file
        with pytest.raises(TfliteFileError, match=r"no path \("):
            read(name)


def test_a_file_cut_anywhere_is_read_or_refused_but_never_more(files):
    outcomes = set()
    for size in range(0, len(files.int8), 97):
        try:
            read(files.int8[:size])
            outcomes.add("read")
        except TfliteFileError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_mutated_files_are_read_or_refused_with_all_their_constants_and_options(files):
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        try:
            graph = read(planting.mutated(files.int8, rng))
            for op in graph.ops:
                assert isinstance(op.options, dict)
            for tensor in graph.tensors:
                assert tensor.quantization is None or tensor.quantization.scale.min() > 0
                assert tensor.data is None or tensor.data.shape == tensor.shape
        except TfliteFileError:
            refused += 1
    assert refused > 10


def test_tables_that_point_at_each_other_are_no_endless_work():
    """A vector of a million references to one table, in a file of a few megabytes."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tensor = schema.TensorT()
    tensor.shape, tensor.name = np.zeros(100_000, np.int32), "x" * 100_000
    graph, model = schema.SubGraphT(), schema.ModelT()
    model.version, model.subgraphs, graph.tensors = 3, [graph], [tensor]
    builder = flatbuffers.Builder(0)
    packed = tensor.Pack(builder)
    schema.SubGraphStartTensorsVector(builder, 100_000)
    for _ in range(100_000):
        builder.PrependUOffsetTRelative(packed)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    packed_graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(packed_graph)
    subgraphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, subgraphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    with pytest.raises(TfliteFileError, match="more often than any real model"):
        read(bytes(builder.Output()))


def test_a_scale_that_is_none_is_refused_when_it_is_asked_for(files):
    graph = read(planting.with_variable_scale(files.int8, 0.0))
    with pytest.raises(TfliteFileError, match=r"tensor \d+ \(image\): scale=.*expected finite numbers above 0"):
        assert graph.inputs[0].quantization
