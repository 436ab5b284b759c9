"""Probes: each function takes the evidence and returns findings; a file holds one family of causes."""
