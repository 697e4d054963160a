from typing_extensions import Buffer

from fastser._core.arrow.data import ArrowData
from fastser._core.frame.packed import ArrowArrayExportable, ArrowStreamExportable

def to_arrow(
    data: Buffer | ArrowArrayExportable | ArrowStreamExportable, *, exact: bool = False, nan_is_null: bool = False
) -> ArrowData: ...
