"""`qat` comes before TensorFlow in every test file here, whatever order their imports are sorted into."""

import qat

from .small_models import calibration, cnn, contract, files, qat_model

__all__ = ["calibration", "cnn", "contract", "files", "qat", "qat_model"]
