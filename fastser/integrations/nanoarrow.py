"""nanoarrow's arrays and schemas: their buffers are referenced, and rebuilt as views of the frame."""

import nanoarrow as na

from fastser._core.arrow.data import ArrowData
from fastser.hooks import Hook
from fastser.integrations.arrow import made_by

HOOKS = (
    Hook(na.Array, "nanoarrow.array.Array", ArrowData.from_producer, made_by(na.Array), False),
    Hook(na.Schema, "nanoarrow.schema.Schema", ArrowData.from_producer, made_by(na.Schema), False),
    Hook(type(na.c_array([0], na.int8())), "nanoarrow._array.CArray", ArrowData.from_producer, made_by(na.c_array), False),
    Hook(type(na.c_schema(na.int8())), "nanoarrow._schema.CSchema", ArrowData.from_producer, made_by(na.c_schema), False),
)
