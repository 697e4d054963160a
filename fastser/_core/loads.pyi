from collections.abc import Iterable
from typing import Any

from typing_extensions import Buffer

from fastser._core.frame.packed import ArrowArrayExportable, ArrowStreamExportable
from fastser.hooks import Hooks

def loads(
    data: Buffer | ArrowArrayExportable | ArrowStreamExportable,
    *,
    writable: bool | None = None,
    safe: bool = False,
    allow: Iterable[type | str] = (),
    max_depth: int = 1000,
    hooks: Hooks | None = None,
) -> Any: ...
def loads_private(
    data: Buffer,
    *,
    readonly: bool,
    writable: bool | None = None,
    safe: bool = False,
    allow: Iterable[type | str] = (),
    max_depth: int = 1000,
    hooks: Hooks | None = None,
) -> Any: ...
def requirements(
    data: Buffer | ArrowArrayExportable | ArrowStreamExportable,
    *,
    max_depth: int = 1000,
) -> dict[str, tuple[str, ...]]: ...
