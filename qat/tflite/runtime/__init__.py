"""Run a `.tflite` on real numbers or on codes, in threads; an untrusted file runs in a child process."""
