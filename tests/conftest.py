"""`qat` comes before TensorFlow in every test file here, whatever order their imports are sorted into."""

import qat

__all__ = ["qat"]
