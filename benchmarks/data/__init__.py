"""The rows of the benchmark: synthetic ones, hard ones, and real data sets that ship inside PyPI packages."""

from . import synthetic, hard, real  # noqa: F401, I001  (each registers its rows, in this order)
from .rows import ROWS, Row

__all__ = ["ROWS", "Row"]
