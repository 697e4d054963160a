from typing import Literal

from fastser._core.frame.packed import Packed
from fastser.hooks import Hooks

def dumps(
    obj: object,
    *,
    track_refs: bool = True,
    max_depth: int = 1000,
    fallback: Literal["cloudpickle", "pickle"] | None = "cloudpickle",
    hooks: Hooks | None = None,
    verify: bool = False,
) -> bytes: ...
def pack(
    obj: object,
    *,
    track_refs: bool = True,
    max_depth: int = 1000,
    fallback: Literal["cloudpickle", "pickle"] | None = "cloudpickle",
    hooks: Hooks | None = None,
    verify: bool = False,
) -> Packed: ...
