"""pyarrow's arrays, tables, schemas and scalars: their buffers are referenced, and rebuilt as views of the frame."""

from typing import Any

import pyarrow as pa

from fastser._core.arrow.data import ArrowData
from fastser.hooks import Hook
from fastser.integrations.arrow import checked, made_by


def _array(array: pa.Array) -> Any:
    return ArrowData.from_producer(array) if _is_known(array.type) else NotImplemented


def _chunked(chunked: pa.ChunkedArray) -> Any:
    return ArrowData.from_producer(chunked) if _is_known(chunked.type) else NotImplemented


def _batch(batch: pa.RecordBatch) -> Any:
    return ArrowData.from_producer(batch, kind="array") if _schema_is_known(batch.schema) else NotImplemented


def _table(table: pa.Table) -> Any:
    if not _schema_is_known(table.schema):
        return NotImplemented
    columns = table.columns
    lengths = {tuple(map(len, column.chunks)) for column in columns}
    if len(lengths) == 1 and all(*lengths):
        return ArrowData.from_producer(table)
    # A stream would cut all columns wherever one of them is cut, and leave out chunks of no rows.
    return ArrowData.from_producer(table.schema), table.num_rows, [ArrowData.from_producer(column) for column in columns]


def _table_again(payload: Any) -> pa.Table:
    if type(payload) is not tuple:
        return pa.table(checked(payload))
    schema, rows, columns = payload
    schema = pa.schema(checked(schema))
    if not columns:  # pyarrow makes no table of rows without columns, but can leave them out
        return pa.table([pa.nulls(rows)], schema=pa.schema([("", pa.null())], schema.metadata)).select([])
    return pa.Table.from_arrays([pa.chunked_array(checked(column)) for column in columns], schema=schema)


def _schema(schema: pa.Schema) -> Any:
    return ArrowData.from_producer(schema) if _schema_is_known(schema) else NotImplemented


def _field(field: pa.Field) -> Any:
    return ArrowData.from_producer(field) if _schema_is_known(pa.schema([field])) else NotImplemented


def _scalar(scalar: pa.Scalar) -> Any:
    return _array(pa.repeat(scalar, 1))


def _is_known(type: pa.DataType) -> bool:
    """Whether the interface carries all of a type: it drops what makes an extension type that is not registered."""
    if pa.types.is_primitive(type):
        return True
    return _schema_is_known(pa.schema([pa.field("", type)]))


def _schema_is_known(schema: pa.Schema) -> bool:
    return bool(pa.schema(ArrowData.from_producer(schema)).equals(schema, check_metadata=True))


HOOKS = (
    Hook(pa.Array, "pyarrow.lib.Array", _array, made_by(pa.array), True),
    Hook(pa.ChunkedArray, "pyarrow.lib.ChunkedArray", _chunked, made_by(pa.chunked_array), False),
    Hook(pa.RecordBatch, "pyarrow.lib.RecordBatch", _batch, made_by(pa.record_batch), False),
    Hook(pa.Table, "pyarrow.lib.Table", _table, _table_again, False),
    Hook(pa.Schema, "pyarrow.lib.Schema", _schema, made_by(pa.schema), False),
    Hook(pa.Field, "pyarrow.lib.Field", _field, made_by(pa.field), False),
    Hook(pa.Scalar, "pyarrow.lib.Scalar", _scalar, made_by(lambda data: pa.array(data)[0]), True),
)
