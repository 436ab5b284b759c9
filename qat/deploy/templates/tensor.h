// ${word}: ${tensor}, ${dtype}, ${shape}
typedef ${c_type} ${name}_${word}_t;
enum { ${prefix}_ELEMENTS = ${elements} };
// No scale: fed and read as it is. // [if not quantized]
#define ${prefix}_SCALE ${scale} // [if quantized]
#define ${prefix}_ZERO_POINT (${zero_point}) // [if quantized]
static inline ${c_type} ${name}_quantize_${word}(float real) { // [if quantized]
  float code = roundf(real / ${prefix}_SCALE) + (float)${prefix}_ZERO_POINT; // [if quantized]
  if (!(code > (${low}.0f))) return (${low});  // NaN as well // [if quantized]
  return code > ${high}.0f ? (${c_type})${high} : (${c_type})code; // [if quantized]
} // [if quantized]
static inline float ${name}_dequantize_${word}(${c_type} code) { // [if quantized]
  return (float)((int32_t)code - ${prefix}_ZERO_POINT) * ${prefix}_SCALE; // [if quantized]
} // [if quantized]
