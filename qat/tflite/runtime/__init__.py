"""Run a `.tflite`: by real numbers or by codes, in threads; a stranger's file in a child process."""
