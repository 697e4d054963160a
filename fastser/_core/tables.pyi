from typing_extensions import Buffer

from fastser._core.arrow_data import ArrowData
from fastser._core.packed import ArrowArrayExportable, ArrowStreamExportable

def to_arrow(
    data: Buffer | ArrowArrayExportable | ArrowStreamExportable, *, exact: bool = False, nan_is_null: bool = False
) -> ArrowData: ...
