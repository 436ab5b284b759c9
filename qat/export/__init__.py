"""A quantization-aware model as the operators of a `.tflite`, written without TensorFlow's converter."""
