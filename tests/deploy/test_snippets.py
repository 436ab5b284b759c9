"""The feeding snippets: Python's is run, the others are compiled where a compiler is; all hold the file's numbers."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from qat.contract import Contract
from qat.deploy import snippets
from qat.tflite import Interpreter, convert, feeding_snippets, read, with_metadata


def needs(compiler):
    """Runs where the compiler is installed, else is skipped and says so."""
    return pytest.mark.skipif(not shutil.which(compiler), reason=f"{compiler} is not installed")


def compiled(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


CPP_COMPILERS = [pytest.param(name, marks=needs(name)) for name in ("g++", "clang++")]
KINDS = ("int8", "uint8", "float_io")
CONTRACTS = {
    "range": Contract((16, 16, 3), range=(0.0, 1.0)),
    "mean and std": Contract((16, 16, 3), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)),
    "bgr": Contract((16, 16, 3), range=(0.0, 1.0), colour_order="bgr"),
}
INTERPRETER_HEADER = """\
#pragma once
#include <cstdint>
namespace tflite {
struct Interpreter {
  void* input; void* output; bool invoked = false;
  template <class T> T* typed_input_tensor(int) { return static_cast<T*>(input); }
  template <class T> T* typed_output_tensor(int) { return static_cast<T*>(output); }
  int Invoke() { invoked = true; return 0; }
};
}
"""
INTERPRETER_KOTLIN = """\
package org.tensorflow.lite
class Tensor { fun numBytes() = 0 }
class Interpreter {
    fun getInputTensor(index: Int) = Tensor()
    fun getOutputTensor(index: Int) = Tensor()
    fun run(input: Any, output: Any) {}
    fun resetVariableTensors() {}
}
"""
INTERPRETER_SWIFT = """\
import Foundation
public struct Tensor { public let data: Data }
public final class Interpreter {
    public init(modelPath: String) throws {}
    public func allocateTensors() throws {}
    @discardableResult public func copy(_ data: Data, toInputAt index: Int) throws -> Tensor { Tensor(data: data) }
    public func invoke() throws {}
    public func output(at index: Int) throws -> Tensor { Tensor(data: Data()) }
}
"""
MAIN = """\
#include <cstdio>
#include "feed.cc"
int main() {
  static std::uint8_t raw[feed::kElements];
  static INPUT codes[feed::kElements];
  static OUTPUT out[feed::kOutputElements];
  for (int i = 0; i < feed::kElements; ++i) raw[i] = static_cast<std::uint8_t>(i * 7 % 256);
  for (int i = 0; i < feed::kOutputElements; ++i) out[i] = static_cast<OUTPUT>(i * 3);
  tflite::Interpreter interpreter{codes, out};
  const auto real = feed::Predict(interpreter, raw);
  for (auto code : codes) std::printf("in %.9g\\n", static_cast<double>(code));
  for (auto value : real) std::printf("out %.9g\\n", static_cast<double>(value));
}
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_the_python_snippet_gives_what_our_interpreter_gives(kind, contract, files, tmp_path):
    content = with_metadata(getattr(files, kind), contract=contract)
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    scope = {}
    exec(compile(feeding_snippets(content)["feed.py"], "feed.py", "exec"), scope)
    raw = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)
    expected = Interpreter(content, check_range=False).run(raw)
    np.testing.assert_allclose(scope["predict"](raw, str(path)), expected, atol=1e-6)
    with pytest.raises(AssertionError, match="do not cast, find out why"):
        scope["predict"](raw.astype(np.float32), str(path))


@pytest.mark.medium
@pytest.mark.parametrize("compiler", CPP_COMPILERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_the_cpp_snippet_feeds_the_same_codes(compiler, kind, contract, files, tmp_path):
    content = with_metadata(getattr(files, kind), contract=contract)
    graph = read(content)
    types = {"int8": "std::int8_t", "uint8": "std::uint8_t", "float32": "float"}
    main = MAIN.replace("INPUT", types[graph.inputs[0].dtype]).replace("OUTPUT", types[graph.outputs[0].dtype])
    header = tmp_path / "tensorflow/lite/interpreter.h"
    header.parent.mkdir(parents=True)
    header.write_text(INTERPRETER_HEADER)
    (tmp_path / "feed.cc").write_text(feeding_snippets(content)["feed.cc"])
    (tmp_path / "main.cc").write_text(main)
    compiled(compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I.", "main.cc", "-o", "run", cwd=tmp_path)
    lines = subprocess.run([tmp_path / "run"], capture_output=True, text=True, check=True).stdout.splitlines()
    codes = np.array([float(line.split()[1]) for line in lines if line.startswith("in")])
    real = np.array([float(line.split()[1]) for line in lines if line.startswith("out")])

    from qat.contract import apply
    from qat.tflite.runtime.fast_codes import dequantize_tensor

    raw = (np.arange(768) * 7 % 256).astype(np.uint8).reshape(1, 16, 16, 3)
    interpreter = Interpreter(content, check_range=False)
    distance = np.abs(codes - interpreter.quantized(apply(contract, raw))[0].reshape(-1))
    assert distance.max() <= (1e-5 if kind == "float_io" else 1)
    assert np.mean(distance < 1e-5) > 0.99
    outputs = (np.arange(5) * 3).astype(graph.outputs[0].dtype)
    np.testing.assert_allclose(real, dequantize_tensor(outputs, graph.outputs[0]), rtol=1e-6)


def test_every_language_names_the_files_own_numbers(files, contract):
    content = with_metadata(files.int8, contract=contract)
    source, target = read(content).inputs[0], read(content).outputs[0]
    for name, text in feeding_snippets(content, file_name="cats.tflite").items():
        assert "cats" in text, name
        assert f"{source.scales[0]:.9g}" in text, name
        assert f"{target.scales[0]:.9g}" in text, name
        assert str(source.zero_points[0]) in text, name
        assert "0..255 becomes 0..1" in text, name


def test_a_file_without_a_contract_says_that_inputs_must_be_preprocessed(files):
    for text in feeding_snippets(files.int8).values():
        assert "hand over inputs that are preprocessed as in training" in text


def test_types_follow_the_files_io(files, cnn, calibration):
    assert "func quantize(_ real: Float) -> UInt8" in feeding_snippets(files.uint8)["Feed.swift"]
    assert "return Float(real)" in feeding_snippets(files.float_io)["Feed.swift"]
    wide = convert(cnn, scheme="int16x8", calibration=calibration)
    assert "input.putShort(quantize(value))" in feeding_snippets(wide)["Feed.kt"]
    assert "std::int16_t Quantize" in feeding_snippets(wide)["feed.cc"].replace("inline int16_t", "std::int16_t")


@pytest.fixture(scope="module")
def remembering():
    """The file of an LSTM, whose kernel keeps its state from one call to the next, and samples."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(0)
    steps = tf_keras.Input((6, 3))
    samples = np.random.default_rng(0).normal(size=(100, 6, 3)).astype(np.float32)
    model = tf_keras.Model(steps, layers.Dense(2)(layers.LSTM(4)(steps)))
    return convert(model, calibration=samples, batch_size=1), samples


def test_each_sample_starts_with_an_empty_state(remembering, tmp_path):
    content, samples = remembering
    (tmp_path / "model.tflite").write_bytes(content)
    texts = feeding_snippets(content)
    scope = {}
    exec(compile(texts["feed.py"], "feed.py", "exec"), scope)
    outputs = scope["predict"](samples[:9], str(tmp_path / "model.tflite"))
    np.testing.assert_array_equal(outputs, Interpreter(content).predict(samples[:9]))
    assert "interpreter.resetVariableTensors()" in texts["Feed.kt"]
    assert "interpreter.ResetVariableTensors();" in texts["feed.cc"]
    assert "static func predict(\n        raw: [Float]\n    )" in texts["Feed.swift"]
    assert "let interpreter = try load()" in texts["Feed.swift"]


def test_a_file_without_a_state_is_not_reset(files):
    for name, text in feeding_snippets(files.int8).items():
        assert "eset" not in text, name


@pytest.mark.parametrize("contract", [None, *CONTRACTS.values()], ids=["none", *CONTRACTS])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_template_is_left_over(kind, contract, files):
    content = getattr(files, kind)
    for name, text in feeding_snippets(content, contract=contract).items():
        assert not re.search(r"QAT_|\[if |\b(true|false|True|False)\b", text), name
        assert text == text.rstrip() + "\n", name
        assert not re.search(r"[ \t]\n", text), name


def test_the_python_template_is_python_before_it_is_filled_in():
    template = Path(snippets.__file__).parent / "templates" / "feed.py"
    compile(template.read_text(encoding="utf-8"), "feed.py", "exec")


@needs("kotlinc")
@pytest.mark.parametrize("kind", KINDS)
def test_the_kotlin_snippet_compiles(kind, files, tmp_path):
    (tmp_path / "Feed.kt").write_text(feeding_snippets(getattr(files, kind), contract=CONTRACTS["bgr"])["Feed.kt"])
    (tmp_path / "Interpreter.kt").write_text(INTERPRETER_KOTLIN)
    compiled("kotlinc", "Feed.kt", "Interpreter.kt", "-d", "feed.jar", cwd=tmp_path)


@needs("swiftc")
@pytest.mark.parametrize("kind", KINDS)
def test_the_swift_snippet_compiles(kind, files, tmp_path):
    (tmp_path / "Feed.swift").write_text(
        feeding_snippets(getattr(files, kind), contract=CONTRACTS["bgr"])["Feed.swift"]
    )
    (tmp_path / "Interpreter.swift").write_text(INTERPRETER_SWIFT)
    compiled("swiftc", "-emit-module", "-module-name", "TensorFlowLite", "Interpreter.swift", cwd=tmp_path)
    compiled("swiftc", "-typecheck", "-I.", "Feed.swift", cwd=tmp_path)


@pytest.mark.parametrize("compiler", CPP_COMPILERS)
def test_the_cpp_snippet_resets_before_it_runs(compiler, remembering, tmp_path):
    header = tmp_path / "tensorflow/lite/interpreter.h"
    header.parent.mkdir(parents=True)
    reset = 'int ResetVariableTensors() { std::puts(invoked ? "late" : "reset"); return 0; }\n  int Invoke()'
    header.write_text(
        INTERPRETER_HEADER.replace("int Invoke()", reset).replace("<cstdint>", "<cstdint>\n#include <cstdio>")
    )
    (tmp_path / "feed.cc").write_text(feeding_snippets(remembering[0])["feed.cc"])
    main = MAIN.replace("INPUT", "std::int8_t").replace("OUTPUT", "std::int8_t").replace("std::uint8_t", "float")
    (tmp_path / "main.cc").write_text(main)
    compiled(compiler, "-std=c++17", "-I.", "main.cc", "-o", "run", cwd=tmp_path)
    lines = subprocess.run([tmp_path / "run"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in lines if line in ("reset", "late")] == ["reset"]
