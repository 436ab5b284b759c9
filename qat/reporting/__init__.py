"""What is shown of a run: progress, the table at its end, TensorBoard."""

from qat.reporting.progress import Bar, Progress
from qat.reporting.table import print_table, variants_markdown
from qat.reporting.tensorboard import SummaryWriter, tensorboard_command, tensorboard_url

__all__ = [
    "Bar",
    "Progress",
    "SummaryWriter",
    "print_table",
    "tensorboard_command",
    "tensorboard_url",
    "variants_markdown",
]
