from collections.abc import Iterable
from typing import Literal, final

from fastser.hooks import Hooks

@final
class PackedRows:
    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

def pack_many(
    objects: Iterable[object],
    *,
    layout: Literal["columns", "frames"] = "columns",
    copy: bool = False,
    large: bool = False,
    track_refs: bool = True,
    max_depth: int = 1000,
    fallback: Literal["cloudpickle", "pickle"] | None = "cloudpickle",
    hooks: Hooks | None = None,
) -> PackedRows: ...
