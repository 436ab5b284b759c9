"""One file a stage: config in, files in the run directory out."""
