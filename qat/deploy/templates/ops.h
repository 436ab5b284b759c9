// The operators that ${name} needs, and no others. C++.
#ifndef ${guard}
#define ${guard}

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

${notes}constexpr int k${camel}OpCount = ${count};

inline TfLiteStatus Register${camel}Ops(
    tflite::MicroMutableOpResolver<k${camel}OpCount>& resolver) {
${calls}  return kTfLiteOk;
}

#endif  // ${guard}
