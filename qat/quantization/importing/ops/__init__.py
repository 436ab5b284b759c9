"""TensorFlow ops to nodes: one small function for each op whose attributes or operands need reading."""
