from collections.abc import Iterable
from typing import Any

from typing_extensions import Buffer

from fastser._core.packed import ArrowArrayExportable

def loads(
    data: Buffer | ArrowArrayExportable,
    *,
    safe: bool = False,
    allow: Iterable[type] = (),
    max_depth: int = 1000,
) -> Any: ...
