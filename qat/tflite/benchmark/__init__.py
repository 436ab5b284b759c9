"""How long a `.tflite` takes here, whole and op by op."""
