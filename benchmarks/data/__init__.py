"""The rows of the benchmark: synthetic ones, hard ones, and real data sets that ship inside PyPI packages."""

from .rows import ROWS, Row
from . import synthetic, hard, real  # noqa: E402,F401  (each registers its rows, in this order)

__all__ = ["ROWS", "Row"]
