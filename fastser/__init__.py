"""Pack Python objects as Arrow columns: a pickle for data, fast and without copies.

`loads` and `load` trust their input as pickle does: a frame from a stranger can run any code. ``safe=True`` is for those.
"""

from fastser._core.loads import loads
from fastser._core.dumps import dumps, pack
from fastser._core.packed import Packed
from fastser.api import Serializer, dump, load, register
from fastser.errors import DecodeError, DepthError, EncodeError, FastserError, UnsafeDataError
from fastser.explain import Explanation, explain

__all__ = [
    "DecodeError",
    "DepthError",
    "EncodeError",
    "Explanation",
    "FastserError",
    "Packed",
    "Serializer",
    "UnsafeDataError",
    "dump",
    "dumps",
    "explain",
    "load",
    "loads",
    "pack",
    "register",
]

__version__ = "0.1.0"
