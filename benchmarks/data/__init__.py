"""The rows of the benchmark: synthetic ones, objects, frames, hard ones, and real data sets that ship inside PyPI packages."""

from . import synthetic, objects, frames, hard, real  # noqa: F401, I001  (each registers its rows, in this order)
from .rows import ROWS, Row

__all__ = ["ROWS", "Row"]
