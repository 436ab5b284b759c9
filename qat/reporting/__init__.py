"""What people see of a run: progress, the table at its end, TensorBoard."""

from qat.reporting.progress import Bar, Progress
from qat.reporting.table import markdown_table, print_table
from qat.reporting.tensorboard import Board, open_address, open_command

__all__ = ["Bar", "Board", "Progress", "markdown_table", "open_address", "open_command", "print_table"]
