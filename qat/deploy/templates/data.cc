#include "${name}.h"

alignas(${alignment}) const unsigned char ${name}_data[] = {
${body}};

static_assert(sizeof(${name}_data) == ${prefix}_DATA_SIZE, "the file is not whole");
