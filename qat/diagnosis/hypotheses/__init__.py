"""Causes supposed: each file holds one family, as hypotheses with their evidence, fix and repair."""
