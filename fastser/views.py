"""Which objects that reducers make again leave the arrays in them views, as a list or a dict does.

A reader copies what a call makes something of: code that never heard of fastser may write to it. Mere containers are no more than lists
are, and pandas copies a block of a table by itself before it writes to it.
"""

import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from importlib import import_module
from typing import Any

from fastser.hooks import INTEGRATIONS

# As plans.pxd has them.
COPIED, VIEWED, OF_FRAME, IN_FRAME = range(4)

_CONTAINERS = (OrderedDict, defaultdict, deque, Counter, types.SimpleNamespace, memoryview)


def arrays_of(cls: type) -> int:
    """What becomes of the arrays in objects of exactly this class, which a reducer takes apart."""
    if any(cls is container for container in _CONTAINERS):  # its metaclass may compare as it likes
        return VIEWED
    module = cls.__module__
    if type(module) is str and module.partition(".")[0] == "pandas":
        known = frames()
        return OF_FRAME if known is not None and known.is_frame(cls) else IN_FRAME
    return COPIED


def frames() -> Any:
    """What knows of pandas' tables, or None where nobody has imported pandas, and there are none."""
    return import_module(INTEGRATIONS["pandas"]) if "pandas" in sys.modules else None
