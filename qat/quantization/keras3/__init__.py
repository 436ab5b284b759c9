"""The Keras 3 skin of a quantization-aware model: one implementation, in `qat.quantization.keras`, under both Keras."""
