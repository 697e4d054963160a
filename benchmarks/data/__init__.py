"""The rows of the benchmark: synthetic ones, objects, frames, hard ones, real data sets that ship
inside PyPI packages, and objects of packages that define how they are pickled."""

from . import synthetic, documents, objects, frames, hard, real, packages  # noqa: F401, I001  (each registers its rows, in this order)
from .rows import ROWS, Row

__all__ = ["ROWS", "Row"]
