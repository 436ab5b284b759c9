"""The stages of a run: config in, files in the run directory out."""
