"""Arrays of any package that exchanges them by DLPack, for classes that nothing else could pack: no fields, no reducer.

They go as a NumPy array over their memory, by reference, and are made again by ``from_dlpack``: of their class, of the namespace that
the array API standard gives them, or of their package.
"""

import sys
from typing import Any

import numpy as np

from fastser.hooks import Hook

_CPU = 1  # kDLCPU


def _encode(obj: Any) -> Any:
    if obj.__dlpack_device__()[0] != _CPU or getattr(obj, "__dict__", None) or _has_reducer(obj):
        return NotImplemented
    cls = type(obj)
    namespace = obj.__array_namespace__() if hasattr(cls, "__array_namespace__") else None
    for holder in (cls, namespace, sys.modules.get(cls.__module__.partition(".")[0])):
        if callable(getattr(holder, "from_dlpack", None)):
            return holder, np.from_dlpack(obj)
    return NotImplemented


def _has_reducer(obj: Any) -> bool:
    """Whether the default one works, as it does for objects that are nothing but fields."""
    try:
        obj.__reduce_ex__(4)
    except TypeError:
        return False
    return True


def _decode(payload: Any) -> Any:
    holder, array = payload
    # Not every reader of the protocol knows that memory can be read-only.
    return holder.from_dlpack(array if array.flags.writeable else array.copy())


HOOKS = (Hook(object, "dlpack", _encode, _decode, False),)
