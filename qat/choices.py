"""Names that several settings take and that the code behind them knows. Stdlib only."""

COLOUR_ORDERS = ("rgb", "bgr")
RESIZE_METHODS = ("nearest", "bilinear", "bicubic", "area")
SIGNATURE_NAME = r"[\w.:/-]+"  # of a file's signature, as a regular expression
