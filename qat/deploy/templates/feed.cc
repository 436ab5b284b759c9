// Feed QAT_FILE from C++. Preprocessing: QAT_CONTRACT.
#include <algorithm>
#include <cmath>  // [if quantized_in]
#include <cstdint>
#include <vector>

#include "tensorflow/lite/interpreter.h"

namespace feed {

constexpr int kElements = QAT_ELEMENTS;  // QAT_SHAPE
constexpr int kOutputElements = QAT_OUT_ELEMENTS;
constexpr int kChannels = QAT_CHANNELS;
constexpr float kMultiplier[] = {QAT_MULTIPLIERS_F};
constexpr float kOffset[] = {QAT_OFFSETS_F};
constexpr int kScalings = sizeof(kMultiplier) / sizeof(kMultiplier[0]);

// One value of a raw sample (channels last, RGB; pixels are 0..255) to a real model input.
inline float Preprocess(QAT_RAW_C raw, int channel) {
  return static_cast<float>(raw) * kMultiplier[channel % kScalings] + kOffset[channel % kScalings];
}

// Scale, round, zero point, saturate. Never static_cast<QAT_IN_C>(real).  // [if quantized_in]
inline QAT_IN_C Quantize(float real) {
  const float code = std::round(real / QAT_IN_SCALE_F) + (QAT_IN_ZERO);  // [if quantized_in]
  const float low = QAT_IN_LOW, high = QAT_IN_HIGH;  // [if quantized_in]
  return static_cast<QAT_IN_C>(std::min(std::max(code, low), high));  // [if quantized_in]
  return static_cast<QAT_IN_C>(real);  // [if not quantized_in]
}

inline float Dequantize(QAT_OUT_C code) {
  return static_cast<float>(static_cast<std::int32_t>(code) - (QAT_OUT_ZERO)) * QAT_OUT_SCALE_F;  // [if quantized_out]
  return static_cast<float>(code);  // [if not quantized_out]
}

// `raw` holds kElements values. AllocateTensors() has been called.
inline std::vector<float> Predict(tflite::Interpreter& interpreter, const QAT_RAW_C* raw) {
  QAT_IN_C* input = interpreter.typed_input_tensor<QAT_IN_C>(0);
  for (int i = 0; i < kElements; ++i) {
    const int channel = i % kChannels;
    const int from = i - channel + (kChannels - 1 - channel);  // [if bgr]
    input[i] = Quantize(Preprocess(raw[from], channel));  // [if bgr]
    input[i] = Quantize(Preprocess(raw[i], channel));  // [if not bgr]
  }
  interpreter.ResetVariableTensors();  // QAT_WHY_RESET  // [if remembers]
  interpreter.Invoke();
  const QAT_OUT_C* output = interpreter.typed_output_tensor<QAT_OUT_C>(0);
  std::vector<float> real(kOutputElements);
  std::transform(output, output + kOutputElements, real.begin(), Dequantize);
  return real;
}

}  // namespace feed
