"""Runs against runs: what lies in their directories, as rows, means over seeds, and paired tests. No TensorFlow."""

from qat.comparison.collect import Collected, collect
from qat.comparison.comparison import Comparison, compare_runs
from qat.comparison.record import Measured, Refused, RunRecord

__all__ = ["Collected", "Comparison", "Measured", "Refused", "RunRecord", "collect", "compare_runs"]
