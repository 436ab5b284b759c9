"""The texts that `snippets` fills in: @NAME@ stands for a number of the file."""

PYTHON = '''\
"""Feed @FILE@. Preprocessing: @CONTRACT@."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MULTIPLIER, OFFSET = np.array([@MULTIPLIERS@], np.float32), np.array([@OFFSETS@], np.float32)


def preprocess(raw):
    """Raw samples, @RAW_DTYPE@ [N, ...] of the model's size, to float32 model inputs."""
    raw = np.asarray(raw)
    assert raw.dtype == np.@RAW_DTYPE@, f"expected @RAW_DTYPE@, got {raw.dtype}: do not cast, find out why"
    return raw@BGR_PY@.astype(np.float32) * MULTIPLIER + OFFSET


def quantize(real):
    """@QUANTIZE_DOC_PY@"""
@QUANTIZE_PY@


def dequantize(codes):
    """The file's codes to real outputs: these are the numbers that a threshold is meant for."""
    return @DEQUANTIZE_PY@


def predict(raw, path="@FILE@"):
    """The outputs of all samples, which go through the file one by one."""
    interpreter = Interpreter(model_path=path)
@ALLOCATE_PY@    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    outputs = []
    for codes in quantize(preprocess(raw)):
@PREPARE_PY@        interpreter.set_tensor(source, @ONE_PY@)
        interpreter.invoke()
        outputs.append(dequantize(interpreter.get_tensor(target))@FIRST_PY@)
    return np.stack(outputs)
'''

KOTLIN = """\
// Feed @FILE@ on Android. Preprocessing: @CONTRACT@.
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter
import kotlin.math.floor
import kotlin.math.abs

object Feed {
    private val multiplier = floatArrayOf(@MULTIPLIERS_F@)
    private val offset = floatArrayOf(@OFFSETS_F@)
    private const val CHANNELS = @CHANNELS@
    private const val ELEMENTS = @ELEMENTS@          // @SHAPE@
    private const val OUTPUT_ELEMENTS = @OUT_ELEMENTS@

    /** Raw samples, channels last and RGB; pixels are 0..255 (a Kotlin Byte is signed: and(0xff) first). */
    fun preprocess(raw: FloatArray): FloatArray {
        require(raw.size == ELEMENTS) { "expected $ELEMENTS values (@SHAPE@), got ${raw.size}" }
        return FloatArray(ELEMENTS) { i ->
            val channel = i % CHANNELS
            val from = if (@BGR@) i - channel + (CHANNELS - 1 - channel) else i
            raw[from] * multiplier[channel % multiplier.size] + offset[channel % offset.size]
        }
    }

    /** Scale, round, zero point, saturate. Never toInt().toByte() of the real number itself. */
    fun quantize(real: Float): Int {
        val scaled = real / @IN_SCALE_F@
        val rounded = if (scaled < 0) -floor(abs(scaled) + 0.5f) else floor(scaled + 0.5f)
        return (rounded.toInt() + (@IN_ZERO@)).coerceIn(@IN_LOW@, @IN_HIGH@)
    }

    fun dequantize(code: Int): Float = (code - (@OUT_ZERO@)) * @OUT_SCALE_F@

    fun predict(interpreter: Interpreter, raw: FloatArray): FloatArray {
        val real = preprocess(raw)
        val input = ByteBuffer.allocateDirect(interpreter.getInputTensor(0).numBytes()).order(ByteOrder.nativeOrder())
        for (value in real) {
            when ("@IN_DTYPE@") {
                "int8", "uint8" -> input.put(quantize(value).toByte())
                "int16" -> input.putShort(quantize(value).toShort())
                "int32" -> input.putInt(value.toInt())
                else -> input.putFloat(value)
            }
        }
        input.rewind()
        val output = ByteBuffer.allocateDirect(interpreter.getOutputTensor(0).numBytes()).order(ByteOrder.nativeOrder())
@RESET_KOTLIN@        interpreter.run(input, output)
        output.rewind()
        return FloatArray(OUTPUT_ELEMENTS) {
            when ("@OUT_DTYPE@") {
                "int8" -> dequantize(output.get().toInt())
                "uint8" -> dequantize(output.get().toInt() and 0xff)
                "int16" -> dequantize(output.getShort().toInt())
                "int32" -> output.getInt().toFloat()
                else -> output.getFloat()
            }
        }
    }
}
"""

SWIFT = """\
// Feed @FILE@ on iOS. Preprocessing: @CONTRACT@.
import Foundation
import TensorFlowLite

enum Feed {
    static let multiplier: [Float] = [@MULTIPLIERS@]
    static let offset: [Float] = [@OFFSETS@]
    static let channels = @CHANNELS@
    static let elements = @ELEMENTS@  // @SHAPE@

    /// Raw samples, channels last and RGB; pixels are 0...255.
    static func preprocess(_ raw: [Float]) -> [Float] {
        precondition(raw.count == elements, "expected \\(elements) values (@SHAPE@), got \\(raw.count)")
        return (0..<elements).map { i in
            let channel = i % channels
            let from = @BGR@ ? i - channel + (channels - 1 - channel) : i
            return raw[from] * multiplier[channel % multiplier.count] + offset[channel % offset.count]
        }
    }

    /// Scale, round, zero point, saturate. Never Int8(real).
    static func quantize(_ real: Float) -> @IN_SWIFT@ {
        guard @IN_QUANTIZED@ else { return @IN_SWIFT@(real) }
        let code = (real / @IN_SCALE@).rounded(.toNearestOrAwayFromZero) + (@IN_ZERO@)
        return @IN_SWIFT@(min(max(code, @IN_LOW@), @IN_HIGH@))
    }

    static func dequantize(_ code: @OUT_SWIFT@) -> Float {
        guard @OUT_QUANTIZED@ else { return Float(code) }
        return (Float(code) - (@OUT_ZERO@)) * @OUT_SCALE@
    }

    static func predict(@INTERPRETER_SWIFT@raw: [Float]) throws -> [Float] {
@RESET_SWIFT@        let codes = preprocess(raw).map(quantize)
        try interpreter.copy(codes.withUnsafeBytes { Data($0) }, toInputAt: 0)
        try interpreter.invoke()
        let data = try interpreter.output(at: 0).data
        return data.withUnsafeBytes { $0.bindMemory(to: @OUT_SWIFT@.self).map(dequantize) }
    }

    static func load() throws -> Interpreter {
        let path = Bundle.main.path(forResource: "@STEM@", ofType: "@EXTENSION@")!
        let interpreter = try Interpreter(modelPath: path)
        try interpreter.allocateTensors()
        return interpreter
    }
}
"""

CPP = """\
// Feed @FILE@ from C++. Preprocessing: @CONTRACT@.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensorflow/lite/interpreter.h"

namespace feed {

constexpr int kElements = @ELEMENTS@;  // @SHAPE@
constexpr int kOutputElements = @OUT_ELEMENTS@;
constexpr int kChannels = @CHANNELS@;
constexpr float kMultiplier[] = {@MULTIPLIERS_F@};
constexpr float kOffset[] = {@OFFSETS_F@};
constexpr int kScalings = sizeof(kMultiplier) / sizeof(kMultiplier[0]);

// One value of a raw sample (channels last, RGB; pixels are 0..255) to a real model input.
inline float Preprocess(@RAW_C@ raw, int channel) {
  return static_cast<float>(raw) * kMultiplier[channel % kScalings] + kOffset[channel % kScalings];
}

// Scale, round, zero point, saturate. Never static_cast<@IN_C@>(real).
inline @IN_C@ Quantize(float real) {
  if (!@IN_QUANTIZED@) return static_cast<@IN_C@>(real);
  const float code = std::round(real / @IN_SCALE_F@) + (@IN_ZERO@);
  return static_cast<@IN_C@>(std::min(std::max(code, static_cast<float>(@IN_LOW@)), static_cast<float>(@IN_HIGH@)));
}

inline float Dequantize(@OUT_C@ code) {
  if (!@OUT_QUANTIZED@) return static_cast<float>(code);
  return static_cast<float>(static_cast<std::int32_t>(code) - (@OUT_ZERO@)) * @OUT_SCALE_F@;
}

// `raw` holds kElements values. AllocateTensors() has been called.
inline std::vector<float> Predict(tflite::Interpreter& interpreter, const @RAW_C@* raw) {
  @IN_C@* input = interpreter.typed_input_tensor<@IN_C@>(0);
  for (int i = 0; i < kElements; ++i) {
    const int channel = i % kChannels;
    const int from = @BGR@ ? i - channel + (kChannels - 1 - channel) : i;
    input[i] = Quantize(Preprocess(raw[from], channel));
  }
@RESET_C@  interpreter.Invoke();
  const @OUT_C@* output = interpreter.typed_output_tensor<@OUT_C@>(0);
  std::vector<float> real(kOutputElements);
  std::transform(output, output + kOutputElements, real.begin(), Dequantize);
  return real;
}

}  // namespace feed
"""
