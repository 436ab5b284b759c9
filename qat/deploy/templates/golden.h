// Codes in and codes out of ${name}, computed by LiteRT; ${kernels}.
#ifndef ${guard}
#define ${guard}

#include "${name}.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ${prefix}_GOLDEN_SAMPLES = ${samples} };
${tensors}
#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // ${guard}
