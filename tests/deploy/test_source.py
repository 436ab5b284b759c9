"""The C files: compiled by every compiler at hand, run, and held against what Python computes."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType

from qat.codes import dequantize, quantize
from qat.contract import Contract, apply
from qat.deploy.golden import golden_vectors
from qat.errors import ConfigError
from qat.tflite import Interpreter, c_source, convert, read

from ..small_models import images

COMPILERS = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
    for name in ("g++", "clang++")
]
STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wconversion"]
RESOLVER = """\
#pragma once
#include <set>
#include <string>
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
namespace tflite {
template <unsigned int N> struct MicroMutableOpResolver {
  unsigned int count = 0;
  TfLiteStatus add() { return ++count <= N ? kTfLiteOk : kTfLiteError; }
  TfLiteStatus AddConv2D() { return add(); }
  TfLiteStatus AddDepthwiseConv2D() { return add(); }
  TfLiteStatus AddFullyConnected() { return add(); }
  TfLiteStatus AddMean() { return add(); }
  TfLiteStatus AddSoftmax() { return add(); }
};
}
"""
MAIN = r"""
#include <cstdio>
#include "net.h"
#include "net_golden.h"
#include "net_ops.h"
int main() {
  unsigned long sum = 0;
  for (int i = 0; i < NET_DATA_SIZE; ++i) sum = sum * 31 + net_data[i];
  std::printf("sum %lu\nmisaligned %lu\n", sum, static_cast<unsigned long>(reinterpret_cast<uintptr_t>(net_data) % 16));
  for (int i = 0; i < 1001; ++i)
    std::printf("q %d\n", net_quantize_input(static_cast<float>(i - 100) * 0.00137f));
  std::printf("nan %d\n", net_quantize_input(NAN));
  for (int code = -128; code < 128; ++code)
    std::printf("d %.9g\n", static_cast<double>(net_dequantize_output(static_cast<int8_t>(code))));
  for (int raw = 0; raw < 256; ++raw)
    std::printf("r %d\n", net_code_of_raw(static_cast<uint8_t>(raw), raw % 3));
  for (int s = 0; s < NET_GOLDEN_SAMPLES; ++s)
    for (int i = 0; i < NET_OUTPUT_ELEMENTS; ++i) std::printf("g %d\n", net_golden_output[s][i]);
  tflite::MicroMutableOpResolver<kNetOpCount> resolver;
  std::printf("ops %d\n", RegisterNetOps(resolver) == kTfLiteOk && resolver.count == kNetOpCount);
}
"""


@pytest.fixture(scope="module")
def contract():
    return Contract((16, 16, 3), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))


@pytest.fixture(scope="module")
def model(cnn, calibration):
    return convert(cnn, calibration=calibration, batch_size=1)


@pytest.fixture(scope="module")
def folder(model, contract, tmp_path_factory):
    path = tmp_path_factory.mktemp("source")
    for name, text in c_source(model, "net", contract=contract, samples=images(8)).items():
        (path / name).write_text(text)
    header = path / "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    header.parent.mkdir(parents=True)
    header.write_text(RESOLVER)
    (path / "main.cc").write_text(MAIN)
    return path


def compiled(compiler, folder, *arguments):
    subprocess.run([compiler, *STRICT, "-I.", *arguments], cwd=folder, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module", params=COMPILERS)
def printed(request, folder):
    """What the compiled program says, line kind to its numbers."""
    compiled(request.param, folder, "main.cc", "net_data.cc", "net_golden.cc", "-o", f"run_{request.param}")
    done = subprocess.run([folder / f"run_{request.param}"], capture_output=True, text=True, check=True, timeout=60)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {kind: np.array([float(value) for k, value in lines if k == kind]) for kind in {k for k, _ in lines}}


def test_the_bytes_are_the_model_and_aligned(printed, model):
    expected = 0
    for byte in model:
        expected = (expected * 31 + byte) % 2**64
    # Through a float only the upper digits come back.
    assert printed["sum"][0] == float(expected)
    assert printed["misaligned"][0] == 0


def test_c_quantizes_as_we_do(printed, model):
    params = read(model).inputs[0].quantization
    real = (np.arange(1001) - 100).astype(np.float32) * np.float32(0.00137)
    distance = np.abs(printed["q"] - quantize(real, params))
    assert distance.max() <= 1  # float against double, at a tie
    assert np.mean(distance == 0) > 0.995
    assert printed["q"].min() == -128
    assert printed["q"].max() == 127
    assert printed["nan"][0] == -128


def test_c_dequantizes_as_we_do(printed, model):
    codes = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_array_equal(
        printed["d"].astype(np.float32), dequantize(codes, read(model).outputs[0].quantization)
    )


def test_c_goes_from_pixels_to_codes_as_the_contract_says(printed, model, contract):
    raw = np.arange(256).astype(np.uint8)
    image = np.broadcast_to(raw[:, None, None, None], (256, 16, 16, 3))
    codes = quantize(apply(contract, np.ascontiguousarray(image)), read(model).inputs[0].quantization)
    expected = codes[raw, 0, 0, raw % 3]
    assert np.abs(printed["r"] - expected).max() <= 1
    assert np.mean(printed["r"] == expected) > 0.98


def test_the_operators_are_all_and_only_those_of_the_model(printed, folder):
    assert printed["ops"][0] == 1
    calls = re.findall(r"resolver\.(\w+)\(\)", (folder / "net_ops.h").read_text())
    assert calls == ["AddConv2D", "AddDepthwiseConv2D", "AddFullyConnected", "AddMean", "AddSoftmax"]


def array_of(folder, name):
    text = (folder / "net_golden.cc").read_text()
    body = text[text.index(f"net_golden_{name}[") :].partition("= {")[2].partition("};")[0]
    return np.array([int(word) for word in re.findall(r"-?\d+", body)])


@pytest.mark.parametrize("resolver", [OpResolverType.AUTO, OpResolverType.BUILTIN_REF])
def test_golden_vectors_match_litert_bit_for_bit(resolver, folder, model):
    litert = LiteRT(model_content=model, experimental_op_resolver_type=resolver)
    litert.allocate_tensors()
    source, target = litert.get_input_details()[0]["index"], litert.get_output_details()[0]["index"]
    inputs = array_of(folder, "input").reshape(-1, 1, 16, 16, 3).astype(np.int8)
    outputs = array_of(folder, "output").reshape(-1, 1, 5).astype(np.int8)
    assert len(inputs) == len(outputs) == 4
    for codes, expected in zip(inputs, outputs, strict=True):
        litert.set_tensor(source, codes)
        litert.invoke()
        np.testing.assert_array_equal(litert.get_tensor(target), expected)


def test_golden_vectors_compile_to_what_they_say(printed, folder):
    np.testing.assert_array_equal(printed["g"], array_of(folder, "output"))


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_the_header_is_c_as_well(folder):
    (folder / "plain.c").write_text('#include "net_golden.h"\nint8_t f(float x) { return net_quantize_input(x); }\n')
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-c", "plain.c", "-o", "plain.o"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("io", ["uint8", "float32"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_other_io_types_compile(compiler, io, cnn, calibration, tmp_path):
    for name, text in c_source(convert(cnn, calibration=calibration, io=io, batch_size=1), "other").items():
        (tmp_path / name).write_text(text)
    for name in ("other_data.cc", "other_golden.cc"):
        compiled(compiler, tmp_path, "-c", name, "-o", f"{name}.o")


def test_an_op_without_a_micro_kernel_is_said_so(files):
    import tf_keras

    from qat.tflite.micro_ops import resolver_calls

    image = tf_keras.Input((4, 4, 2))
    model = tf_keras.Model(image, tf_keras.layers.Activation("gelu")(image))
    content = convert(model, scheme="float32", batch_size=1)
    assert resolver_calls(read(content).ops)[1] == ["GELU"]
    text = c_source(content, "net")["net_ops.h"]
    assert "has no kernel for GELU: register your own" in text
    assert "constexpr int kNetOpCount = 1" in text


def test_golden_vectors_of_real_samples_are_their_codes(model):
    vectors, interpreter = golden_vectors(model, images(6)), Interpreter(model)
    assert vectors.exact
    codes = interpreter.quantized(images(6))[0]
    assert all(any((row == sample).all() for sample in codes) for row in vectors.inputs[0])


def test_a_name_that_is_no_identifier_is_refused(model):
    with pytest.raises(ConfigError, match="expected a C identifier, such as 'my_net'"):
        c_source(model, "my-net")
