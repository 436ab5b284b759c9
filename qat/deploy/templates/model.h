// ${name}: a TensorFlow Lite model of ${bytes} bytes. C and C++.

#ifndef ${guard}
#define ${guard}

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

extern const unsigned char ${name}_data[];  // ${alignment}-byte aligned
enum { ${prefix}_DATA_SIZE = ${bytes} };

// What the activations need at least. The runtime's own structures and scratch buffers come on top:
// begin with twice as much, and read arena_used_bytes() after AllocateTensors().
enum { ${prefix}_ARENA_LOWER_BOUND = ${arena_bytes} };

${tensors}
#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // ${guard}
