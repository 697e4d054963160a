"""Pack Python objects as Arrow columns: a pickle for data, fast and without copies.

`loads` and `load` trust their input as pickle does: a frame from a stranger can run any code. ``safe=True`` is for those.
"""

from typing import TYPE_CHECKING

from fastser import interpreter  # noqa: F401 - first: it refuses those that NumPy cannot be loaded in
from fastser._core.arrow.data import ArrowData
from fastser._core.dumps import dumps, pack
from fastser._core.frame.packed import Packed, frame_length
from fastser._core.from_arrow import from_arrow
from fastser._core.loads import loads, requirements
from fastser._core.loads_many import loads_many
from fastser._core.pack_many import PackedRows, pack_many
from fastser._core.to_arrow import to_arrow
from fastser.allow import STANDARD
from fastser.api import Serializer, dump, load, register
from fastser.errors import (
    DecodeError,
    DefinitionWarning,
    DepthError,
    EncodeError,
    FastserError,
    ForeignRefError,
    ObjectExistsError,
    ObjectNotFoundError,
    StoreClosedError,
    StoreError,
    StoreExistsError,
    StoreFullError,
    StoreNotFoundError,
    StorePermissionError,
    StoreTimeoutError,
    UnsafeDataError,
)
from fastser.explain import Explanation, explain
from fastser.lazy import __getattr__  # noqa: F401 - what Python asks for names that are not here yet

if TYPE_CHECKING:
    from fastser.store import ObjectRef, ObjectStore
    from fastser.store.executor import Executor

__all__ = [
    "STANDARD",
    "ArrowData",
    "DecodeError",
    "DefinitionWarning",
    "DepthError",
    "EncodeError",
    "Executor",
    "Explanation",
    "FastserError",
    "ForeignRefError",
    "ObjectExistsError",
    "ObjectNotFoundError",
    "ObjectRef",
    "ObjectStore",
    "Packed",
    "PackedRows",
    "Serializer",
    "StoreClosedError",
    "StoreError",
    "StoreExistsError",
    "StoreFullError",
    "StoreNotFoundError",
    "StorePermissionError",
    "StoreTimeoutError",
    "UnsafeDataError",
    "dump",
    "dumps",
    "explain",
    "frame_length",
    "from_arrow",
    "load",
    "loads",
    "loads_many",
    "pack",
    "pack_many",
    "register",
    "requirements",
    "to_arrow",
]

__version__ = "0.1.0"
