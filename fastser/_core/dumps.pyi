from typing import Literal

from fastser._core.packed import Packed

def dumps(
    obj: object,
    *,
    track_refs: bool = True,
    max_depth: int = 1000,
    fallback: Literal["cloudpickle", "pickle"] | None = "cloudpickle",
) -> bytes: ...
def pack(
    obj: object,
    *,
    track_refs: bool = True,
    max_depth: int = 1000,
    fallback: Literal["cloudpickle", "pickle"] | None = "cloudpickle",
) -> Packed: ...
