// Input contract: ${facts}.
// The model takes BGR: channel 0 is blue. Swap red and blue of an RGB image first. // [if bgr]
static inline float ${name}_preprocess(${raw_type} raw, int channel) {
  static const float multiplier[] = {${multipliers}};
  static const float offset[] = {${offsets}};
  (void)channel;
  return (float)raw * multiplier[${index}] + offset[${index}];
}
// From a raw value to the code that the model is fed. // [if quantized]
static inline ${c_type} ${name}_code_of_raw(${raw_type} raw, int channel) { // [if quantized]
  return ${name}_quantize_input(${name}_preprocess(raw, channel)); // [if quantized]
} // [if quantized]
