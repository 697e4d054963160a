from collections.abc import Iterable, Iterator
from typing import Any

from fastser._core.frame.packed import ArrowArrayExportable, ArrowStreamExportable
from fastser.hooks import Hooks

def loads_many(
    table: ArrowStreamExportable | ArrowArrayExportable | Iterable[ArrowStreamExportable | ArrowArrayExportable],
    *,
    column: str | None = None,
    writable: bool | None = None,
    safe: bool = False,
    allow: Iterable[type | str] = (),
    max_depth: int = 1000,
    hooks: Hooks | None = None,
) -> Iterator[Any]: ...
