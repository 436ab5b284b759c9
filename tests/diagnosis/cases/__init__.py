"""The benchmark of the diagnosis: faults planted in small networks, files and apps, in three sets.

`python -m tests.diagnosis.cases SET [--sample N] [NAME ...]`, SET one of development, others, held_out.
"""

import qat  # noqa: F401  it selects Keras 2, before TensorFlow is imported
